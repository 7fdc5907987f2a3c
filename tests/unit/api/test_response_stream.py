"""A run's log becomes one stream, and the same one however often and from wherever it is read."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from functions.api.contract.problem import Problem
from functions.api.dialect import chat_answer, runs
from functions.api.dialect import stream as dialect
from functions.api.dialect.chat_answer import ChatStream
from functions.api.dialect.stream import ResponseStream, after
from functions.api.live import sse
from shared.tasks.events import Event
from shared.tasks.model import Status, Task

CALL = {"id": "c1", "name": "lookup", "arguments": '{"word": "a"}'}


def task(status: Status = Status.QUEUED, **more: Any) -> Task:
    return Task(task_id="task_1", user="u", lane="normal", agent="chat", model="m", created=1.0, day="d", **more)


def ended(response: str, data: dict[str, Any] | None = None) -> Task:
    made = task(result={"response": response, "tokens": 3, "session_id": "", **({"data": data} if data else {})})
    made.status, made.ended_at = Status.COMPLETE, 2.0
    return made


def failed(code: str = "model_refused") -> Task:
    made = task(error={"code": code, "message": "no", "type": "model_error"})
    made.status, made.ended_at = Status.FAILED, 2.0
    return made


def log(*events: tuple[str, dict[str, Any]]) -> list[Event]:
    return [Event(type_, 1.0, data, n) for n, (type_, data) in enumerate(events, 1)]


def token(call: str, text: str) -> tuple[str, dict[str, Any]]:
    return "token", {"call": call, "text": text}


def step(call: str) -> tuple[str, dict[str, Any]]:
    return "step", {"step": "model", "n": 1, "call": call}


QUEUED: tuple[str, dict[str, Any]] = ("queued", {"lane": "normal"})
STARTED: tuple[str, dict[str, Any]] = ("started", {"agent": "chat"})
COMPLETE: tuple[str, dict[str, Any]] = ("complete", {})


def stream(events: list[Event], end: Task, **params: Any) -> list[dict[str, Any]]:
    end.params = end.params | params
    made = ResponseStream(task(params=end.params), lambda: end)
    return [block for event in events for block in made.take(event)]


def types(blocks: list[dict[str, Any]]) -> list[str]:
    return [block["type"].removeprefix("response.") for block in blocks]


def said(blocks: list[dict[str, Any]]) -> dict[str, str]:
    """Return the text of each item, as its deltas make it."""
    texts: dict[str, str] = {}
    for block in blocks:
        if block["type"] == "response.output_text.delta":
            texts[block["item_id"]] = texts.get(block["item_id"], "") + block["delta"]
    return texts


PLAIN = log(QUEUED, STARTED, token("model-1.1", "Hel"), token("model-1.1", "lo"), step("model-1.1"), COMPLETE)


def test_a_text_comes_in_the_order_that_every_client_reads() -> None:
    blocks = stream(PLAIN, ended("Hello"))
    assert types(blocks) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert [block["sequence_number"] for block in blocks] == list(range(len(blocks)))
    assert said(blocks) == {"msg_task_1": "Hello"}
    done = blocks[-1]["response"]
    assert (done["status"], done["output"][0]["id"], done["output"][0]["content"][0]["text"]) == (
        "completed",
        "msg_task_1",
        "Hello",
    )
    assert blocks[-2]["item"] == done["output"][0]


def test_calls_of_the_clients_tools_follow_the_text() -> None:
    blocks = stream(PLAIN, ended("Hello", {"tool_calls": [CALL]}))
    assert types(blocks)[-5:] == [
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ]
    added, delta, done, item, last = blocks[-5:]
    assert {block["output_index"] for block in (added, delta, done, item)} == {1}
    assert (added["item"]["arguments"], delta["delta"], done["arguments"]) == ("", CALL["arguments"], CALL["arguments"])
    assert item["item"] == last["response"]["output"][1]


def test_only_calls_make_no_message() -> None:
    blocks = stream(log(QUEUED, STARTED, step("model-1.1"), COMPLETE), ended("", {"tool_calls": [CALL]}))
    assert "output_text.delta" not in types(blocks)
    assert blocks[2]["item"]["type"] == "function_call"


def test_an_answer_without_pieces_comes_whole() -> None:
    assert said(stream(log(QUEUED, STARTED, COMPLETE), ended("Hello"))) == {"msg_task_1": "Hello"}
    empty = stream(log(QUEUED, STARTED, COMPLETE), ended(""))
    assert types(empty)[-4:] == ["output_text.done", "content_part.done", "output_item.done", "completed"]


def test_a_call_that_is_made_again_and_says_the_same_goes_on_where_it_was() -> None:
    blocks = stream(
        log(
            QUEUED,
            STARTED,
            token("model-1.1", "Hello wo"),
            ("resumed", {"void": ["model-1.1"]}),
            token("model-1.2", "Hello"),
            token("model-1.2", " world"),
            step("model-1.2"),
            COMPLETE,
        ),
        ended("Hello world"),
    )
    assert said(blocks) == {"msg_task_1": "Hello world"}
    assert types(blocks).count("output_item.added") == 1


@pytest.mark.parametrize("again", ["Goodbye", "Hel"])
def test_a_call_that_is_made_again_and_says_something_else_is_another_message(again: str) -> None:
    blocks = stream(
        log(
            QUEUED,
            STARTED,
            token("model-1.1", "Hello"),
            ("retry", {"void": ["model-1.1"]}),
            token("model-1.2", again),
            step("model-1.2"),
            COMPLETE,
        ),
        ended(again),
    )
    assert said(blocks) == {"msg_task_1": "Hello", "msg_task_1.1": again}
    items = [block["item"] for block in blocks if block["type"] == "response.output_item.done"]
    assert [item["status"] for item in items] == ["incomplete", "completed"]
    assert [item["content"][0]["text"] for item in items] == ["Hello", again]
    assert blocks[-1]["response"]["output"] == [items[1]]


def test_each_call_of_an_agent_is_a_message_and_the_last_one_the_answer() -> None:
    events = log(
        QUEUED,
        STARTED,
        token("model-1.1", "Let me see."),
        step("model-1.1"),
        ("tool_call", {"tool": "x"}),
        token("model-2.1", "Four."),
        step("model-2.1"),
        COMPLETE,
    )
    blocks = stream(events, ended("Four."))
    assert list(said(blocks).values()) == ["Let me see.", "Four."]
    indexes = [block["output_index"] for block in blocks if block["type"] == "response.output_item.added"]
    assert indexes == [0, 1]


def test_reasoning_is_an_item_of_its_own() -> None:
    events = log(
        QUEUED,
        STARTED,
        ("reasoning", {"call": "model-1.1", "text": "Hm"}),
        ("reasoning", {"call": "model-1.1", "text": "m."}),
        token("model-1.1", "Hello"),
        step("model-1.1"),
        COMPLETE,
    )
    blocks = stream(events, ended("Hello", {"reasoning": "Hmm."}))
    assert types(blocks)[2:7] == [
        "output_item.added",
        "reasoning_text.delta",
        "reasoning_text.delta",
        "reasoning_text.done",
        "output_item.done",
    ]
    thought, answer = blocks[-1]["response"]["output"]
    assert blocks[6]["item"] == thought
    assert (thought["content"], answer["content"][0]["text"]) == ([{"type": "reasoning_text", "text": "Hmm."}], "Hello")


def test_a_run_that_fails_breaks_its_message_off_and_says_so() -> None:
    events = log(QUEUED, STARTED, token("model-1.1", "Hel"), ("failed", {}))
    blocks = stream(events, failed())
    assert types(blocks)[-3:] == ["output_item.done", "failed", "error"]
    assert blocks[-3]["item"]["status"] == "incomplete"
    assert blocks[-2]["response"]["error"]["message"] == "no"
    assert blocks[-1]["error"]["message"] == "no"


def test_a_reply_that_was_cut_is_incomplete() -> None:
    blocks = stream(PLAIN, ended("Hello", {"finish_reason": "length"}))
    assert types(blocks)[-1] == "incomplete"
    assert blocks[-2]["item"]["status"] == "incomplete"


def any_log(rng: random.Random) -> tuple[list[Event], Task]:
    """Make a run up: calls, crashes at any place, what is said again the same or not."""
    events: list[tuple[str, dict[str, Any]]] = [QUEUED, STARTED]
    answer, lease = "", 1
    for n in range(1, rng.randint(2, 4)):
        text = "".join(rng.choice("ab ") for _ in range(rng.randint(1, 12)))
        while rng.random() < 0.4:
            cut = rng.randint(0, len(text))
            events += [token(f"model-{n}.{lease}", char) for char in text[:cut]]
            void = [f"model-{n}.{lease}"] if cut else []
            lease += 1
            events.append((rng.choice(("resumed", "retry", "deferred")), {"void": void}))
            if rng.random() < 0.5:
                text = "".join(rng.choice("ab ") for _ in range(rng.randint(1, 12)))
        pieces = sorted({0, len(text), *(rng.randint(0, len(text)) for _ in range(3))})
        events += [token(f"model-{n}.{lease}", text[a:b]) for a, b in itertools.pairwise(pieces)]
        events.append(step(f"model-{n}.{lease}"))
        answer = text
    events.append(COMPLETE)
    return log(*events), ended(answer)


def test_whoever_comes_back_after_any_number_has_the_whole_stream_once() -> None:
    rng = random.Random(7)
    for _ in range(300):
        events, end = any_log(rng)
        whole = stream(events, end)
        assert [block["sequence_number"] for block in whole] == list(range(len(whole)))
        had: list[dict[str, Any]] = []
        while len(had) < len(whole):  # cut at random, taken up again by a reader that begins anew
            number = had[-1]["sequence_number"] if had else None
            rest = after(stream(events, end), number)
            had += rest[: rng.randint(1, len(rest))]
        assert had == whole
        last = [block for block in whole if block["type"] == "response.output_text.done"][-1]
        assert said(whole)[last["item_id"]] == last["text"]
        (final,) = whole[-1]["response"]["output"]
        assert final in [block["item"] for block in whole if block["type"] == "response.output_item.done"]
        assert final["content"][0]["text"] in said(whole).values()
        opened: dict[str, int] = {}
        for block in whole:  # every item is announced before its deltas, and ends once
            if block["type"] == "response.output_item.added":
                opened[block["item"]["id"]] = 1
            elif block["type"] == "response.output_item.done":
                opened[block["item"]["id"]] += 1
            elif "item_id" in block:
                assert opened[block["item_id"]] == 1
        assert set(opened.values()) == {2}


def chunks(events: list[Event], end: Task, *, include_usage: bool = False) -> list[dict[str, Any]]:
    made = ChatStream(task(), lambda: end, include_usage=include_usage)
    return [chunk for event in events for chunk in made.take(event)]


def content(found: list[dict[str, Any]]) -> str:
    return "".join(c["choices"][0]["delta"].get("content") or "" for c in found if c.get("choices"))


def test_chunks_of_a_text() -> None:
    found = chunks(PLAIN, ended("Hello"), include_usage=True)
    assert found[0]["choices"][0]["delta"]["role"] == "assistant"
    assert content(found) == "Hello"
    assert found[-2]["choices"][0]["finish_reason"] == "stop"
    assert found[-1]["choices"] == []
    assert set(found[-1]["usage"]) >= {"prompt_tokens", "completion_tokens", "total_tokens"}
    assert {chunk["usage"] for chunk in found[:-1]} == {None}
    assert "usage" not in chunks(PLAIN, ended("Hello"))[-1]


def test_chunks_of_calls() -> None:
    found = chunks(log(QUEUED, STARTED, COMPLETE), ended("", {"tool_calls": [CALL, CALL | {"id": "c2"}]}))
    calls = [call for chunk in found for call in chunk["choices"][0]["delta"].get("tool_calls", ())]
    assert [(call["index"], call["id"], call["function"]["name"]) for call in calls] == [
        (0, "c1", "lookup"),
        (1, "c2", "lookup"),
    ]
    assert found[-1]["choices"][0]["finish_reason"] == "tool_calls"


def test_a_chat_stream_says_the_same_once_or_ends_with_an_error() -> None:
    def taken_over(again: str) -> list[dict[str, Any]]:
        events = log(
            QUEUED,
            token("model-1.1", "Hello"),
            ("resumed", {"void": ["model-1.1"]}),
            token("model-1.2", again),
            step("model-1.2"),
            COMPLETE,
        )
        return chunks(events, ended(again))

    assert content(taken_over("Hello world")) == "Hello world"
    broken = taken_over("Goodbye")
    assert content(broken) == "Hello"
    assert broken[-1]["error"]["code"] == "stream_interrupted"
    assert "task_1" in broken[-1]["error"]["message"]


def test_a_failed_run_is_an_error_in_the_chat_stream() -> None:
    assert chunks(log(QUEUED, ("failed", {})), failed())[-1]["error"]["message"].startswith("no")


BREAKS = "".join(mark for mark in map(chr, range(0x3000)) if len(f"a{mark}b".splitlines()) > 1)
"""All characters that some readers of lines (httpx's `iter_lines`) end one at."""


@pytest.mark.parametrize(
    "encode",
    [
        dialect.encode,
        chat_answer.encode,
        lambda block: sse.block(block).decode(),
        lambda block: runs._error(Problem(500, "code", block["text"])).decode(),
    ],
    ids=["responses", "chat", "result", "error"],
)
def test_an_event_is_whole_for_every_reader_of_lines(encode: Callable[[dict[str, Any]], str]) -> None:
    assert "\u2028" in BREAKS
    *before, data, end = encode({"type": "t", "text": f"é{BREAKS}é"}).splitlines()
    assert (end, [line.partition(":")[0] for line in before]) in (("", []), ("", ["event"]))
    read = json.loads(data.removeprefix("data: "))
    assert f"é{BREAKS}é" in (read.get("text"), read.get("error", {}).get("message"))
