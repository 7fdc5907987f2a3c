"""What a provider wants back with its messages makes the whole way over a chat client, which replays what it got."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

from shared.tasks import settle, store
from shared.tasks.model import Status
from tests.unit.api.test_openai import address, client, ended_soon, task_of
from tests.unit.api.test_response_stream import chunks, ended, step
from tests.unit.api.test_streamed_calls import COMPLETE, QUEUED, called, log, piece

__all__ = ["address", "client"]

CALL = {"id": "c1", "name": "lookup", "arguments": "{}"}
SIGNED = {"extra_content": {"google": {"thought_signature": "s2"}}}
EXTRA = {"reasoning_content": "Hm.", "thinking_blocks": [{"thinking": "Hm.", "signature": "s1"}], "odd": 1}
DATA: dict[str, Any] = {"reasoning": "Hm.", "extra": EXTRA, "tool_calls": [CALL | {"extra": SIGNED | {"odd": 1}}]}
TOOL: Any = {"type": "function", "function": {"name": "lookup", "parameters": {"type": "object"}}}
KEPT = {name: value for name, value in EXTRA.items() if name != "odd"}


def replayed(client: openai.OpenAI, message: dict[str, Any]) -> list[dict[str, Any]]:
    """Send a message back with the call's output, and return what the model is then told."""
    output = {"role": "tool", "tool_call_id": "c1", "content": "rain"}
    given: Any = [{"role": "user", "content": "x"}, message, output]
    with ended_soon(settle.Outcome(status=Status.COMPLETE, response="ok")):
        made = client.chat.completions.create(model="sim-small", messages=given, tools=[TOOL])
    messages: list[dict[str, Any]] = json.loads(store.message_of(store.get(made.id.removeprefix("chatcmpl-"))))
    return messages


def test_an_answer_that_is_replayed_brings_back_what_the_provider_wants(client: openai.OpenAI) -> None:
    with ended_soon(settle.Outcome(status=Status.COMPLETE, response="", data=DATA)):
        first = client.chat.completions.create(
            model="sim-small", messages=[{"role": "user", "content": "x"}], tools=[TOOL]
        )
    said = replayed(client, first.choices[0].message.to_dict())[1]
    call = {"id": "c1", "type": "function", "function": {"name": "lookup", "arguments": "{}"}, **SIGNED}
    assert said == {"role": "assistant", "content": None, "tool_calls": [call], **KEPT}


def test_other_fields_of_a_message_are_left_out(client: openai.OpenAI) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "lookup", "arguments": "{}"}, "index": 0}
    message = {"role": "assistant", "content": "", "tool_calls": [call], "audio": None, "odd": 1, "thinking_blocks": []}
    del call["index"]
    assert replayed(client, message)[1] == {"role": "assistant", "content": "", "tool_calls": [call]}
    user = {"role": "user", "content": "x", "reasoning_content": "mine"}
    with ended_soon(settle.Outcome(status=Status.COMPLETE, response="ok")):
        made = client.chat.completions.create(model="sim-small", messages=[user])  # type: ignore[list-item]
    told = json.loads(store.message_of(store.get(made.id.removeprefix("chatcmpl-"))))
    assert told == [{"role": "user", "content": "x"}]


def test_a_stream_brings_it_behind_what_was_streamed() -> None:
    events = log(QUEUED, piece("model-1.1", "{}"), step("model-1.1"), COMPLETE)
    found = chunks(events, ended("", DATA))
    assert called(found) == {0: CALL}
    deltas = [chunk["choices"][0]["delta"] for chunk in found]
    part = {"index": 0, "function": {"arguments": ""}, **SIGNED}
    assert deltas[-2] == {"thinking_blocks": EXTRA["thinking_blocks"], "tool_calls": [part]}
    assert deltas[-1] == {}


@pytest.mark.parametrize("name", ["responses", "chat"])
def test_how_long_a_prompt_is_cached_is_the_providers_affair(client: openai.OpenAI, name: str) -> None:
    how: Any = {"model": "sim-small", "extra_body": {"prompt_cache_retention": "24h"}}
    if name == "responses":
        made = client.responses.create(input="x", background=True, **how)
        assert made.to_dict()["prompt_cache_retention"] == "24h"
        task_id = task_of(made)
    else:
        with ended_soon(settle.Outcome(status=Status.COMPLETE, response="ok")):
            chat = client.chat.completions.create(messages=[{"role": "user", "content": "x"}], **how)
        task_id = chat.id.removeprefix("chatcmpl-")
    assert store.get(task_id).params["options"] == {"prompt_cache_retention": "24h"}


def test_the_address_of_an_image_may_be_asked_for(client: openai.OpenAI) -> None:
    made = client.responses.create(
        model="sim-small", input="x", include=["message.input_image.image_url"], background=True
    )
    assert made.status == "queued"
