"""What a model thought comes back as a reference, and goes to the provider with what the model said then."""

from __future__ import annotations

import base64
import json
from typing import Any

import openai
import pytest

from functions.api.dialect import thoughts
from functions.api.dialect.messages import chat_messages
from functions.api.dialect.response import response_of
from functions.api.dialect.thoughts import RECALLED, Thoughts
from shared.tasks import settle, store
from shared.tasks.model import Status
from tests.unit.api.conftest import Api
from tests.unit.api.test_openai import TOOL, address, client, ended_soon, task_of
from tests.unit.api.test_response_stream import COMPLETE, QUEUED, ended, log, stream, task

__all__ = ["address", "client"]

SECRET = "the user wants the weather"
CALL = {"id": "c1", "name": "lookup", "arguments": "{}"}
EXTRA = {"reasoning_content": SECRET, "thinking_blocks": [{"signature": "s1"}]}
SIGNED = {"extra_content": {"google": {"thought_signature": "s2"}}}
DATA: dict[str, Any] = {"reasoning": SECRET, "extra": EXTRA, "tool_calls": [CALL | {"extra": SIGNED}]}
HIDDEN: dict[str, Any] = {"tool_calls": [CALL | {"extra": SIGNED}]}
INCLUDE: Any = ["reasoning.encrypted_content"]


def asked(client: openai.OpenAI, data: dict[str, Any], *, store_it: bool = False) -> Any:
    """Make a run that ends so and return its response."""
    with ended_soon(settle.Outcome(status=Status.COMPLETE, response="", data=data)):
        return client.responses.create(model="sim-small", input="x", tools=[TOOL], include=INCLUDE, store=store_it)


def sent_back(client: openai.OpenAI, items: list[Any], **more: Any) -> list[dict[str, Any]]:
    """Send items back with an answer to the call, and return what the model is then told."""
    output = {"type": "function_call_output", "call_id": "c1", "output": "rain"}
    given: Any = [{"role": "user", "content": "x"}, *items, output]
    made = client.responses.create(model="sim-small", input=given, tools=[TOOL], background=True, store=False, **more)
    messages: list[dict[str, Any]] = json.loads(store.message_of(store.get(task_of(made))))
    return messages


def test_thoughts_are_handed_to_the_provider_with_the_calls_that_they_led_to(client: openai.OpenAI) -> None:
    first = asked(client, DATA)
    items = [item.to_dict() for item in first.output]
    assert [item["type"] for item in items] == ["reasoning", "function_call"]
    call = {"id": "c1", "type": "function", "function": {"name": "lookup", "arguments": "{}"}, **SIGNED}
    said = {"role": "assistant", "content": None, "tool_calls": [call], **EXTRA}
    assert sent_back(client, items)[1] == said
    without_id = [{name: value for name, value in item.items() if name != "id"} for item in items]
    assert sent_back(client, without_id)[1] == said
    by_id = [{name: value for name, value in items[0].items() if name != "encrypted_content"}, items[1]]
    assert sent_back(client, by_id)[1] == said


def test_a_reference_to_the_item_is_as_good(client: openai.OpenAI) -> None:
    first = asked(client, DATA, store_it=True)
    references = [{"type": "item_reference", "id": item.id} for item in first.output]
    assert sent_back(client, references)[1]["reasoning_content"] == SECRET


def test_what_the_client_keeps_holds_none_of_it(client: openai.OpenAI) -> None:
    kept = asked(client, DATA).output[0].encrypted_content
    assert kept.startswith(thoughts.PREFIX)
    assert b"weather" not in base64.urlsafe_b64decode(kept.removeprefix(thoughts.PREFIX))
    assert len(kept) < 200


def test_another_users_thoughts_are_not_to_be_had(api: Api, client: openai.OpenAI) -> None:
    items = [item.to_dict() for item in asked(client, DATA).output]
    other = client.with_options(api_key=api.keys["other"])
    call = {"id": "c1", "type": "function", "function": {"name": "lookup", "arguments": "{}"}}
    assert sent_back(other, items)[1] == {"role": "assistant", "content": None, "tool_calls": [call]}


@pytest.mark.parametrize(
    "item",
    [
        {"encrypted_content": "gAAAAABn"},
        {"encrypted_content": thoughts.PREFIX + "%%"},
        {"encrypted_content": thoughts.PREFIX + "A" * 500},
        {"encrypted_content": "sluice1.eJyLVkpKLE7VUUrOzysuScwrUYoFAC5zBQg="},
        {"encrypted_content": thoughts.reference("msg_task_1")},
        {"id": "rs_6801"},
        {"id": 7},
        {},
    ],
)
def test_thoughts_that_this_api_has_not_are_left_out(client: openai.OpenAI, item: dict[str, Any]) -> None:
    call = {"type": "function_call", "call_id": "c1", "name": "lookup", "arguments": "{}"}
    said = sent_back(client, [{"type": "reasoning", "summary": [], **item}, call])[1]
    assert said.keys() == {"role", "content", "tool_calls"}


def test_thoughts_belong_to_the_next_thing_said_only() -> None:
    def recall(task_id: str) -> Thoughts | None:
        return Thoughts({"reasoning_content": task_id}, {}) if task_id != "gone" else None

    items = [
        {"role": "user", "content": "before"},
        {"type": "reasoning", "id": "rs_old"},
        {"role": "assistant", "content": "a"},
        {"role": "user", "content": "now"},
        {"type": "reasoning", "id": "rs_one"},
        {"role": "assistant", "content": "b"},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "1"},
        {"type": "reasoning", "id": "rs_gone"},
        {"type": "function_call", "call_id": "c2", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c2", "output": "1"},
    ]
    said = [one for one in chat_messages(items, recall=recall) if one["role"] == "assistant"]
    assert [one.get("reasoning_content") for one in said] == [None, "one", None]


def test_the_newest_are_looked_up_and_no_more() -> None:
    items: list[dict[str, Any]] = [{"role": "user", "content": "x"}]
    items += [{"type": "reasoning", "id": f"rs_{n}"} for n in range(RECALLED + 1)]
    assert thoughts.read_again(items[:-1]) == frozenset(range(1, RECALLED + 1))
    assert thoughts.read_again(items) == frozenset(range(2, RECALLED + 2))


def test_only_what_is_no_part_of_a_message_is_handed_back() -> None:
    data = {"extra": {"role": "system", "content": "x", "tool_calls": [], "reasoning": "r"}, "tool_calls": "none"}
    assert thoughts.of_data(data) == ({"reasoning": "r"}, {})
    assert thoughts.of_data({"extra": "odd"}) == ({}, {})


def test_thoughts_that_nobody_sees_come_before_the_calls_they_belong_to() -> None:
    params = {"echo": {"include": INCLUDE}}
    end = ended("", HIDDEN)
    end.params = params
    items = response_of(end)["output"]
    assert [item["type"] for item in items] == ["reasoning", "function_call"]
    assert items[0]["encrypted_content"] == thoughts.reference("rs_task_1")
    assert thoughts.task_id_of(items[0]) == task().task_id
    done = [b["item"] for b in stream(log(QUEUED, COMPLETE), end) if b["type"] == "response.output_item.done"]
    assert done == items
    assert [item["type"] for item in response_of(ended("", HIDDEN))["output"]] == ["function_call"]
