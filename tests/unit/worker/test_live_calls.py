"""Arguments of the client's tool calls reach its watchers while the model writes them, and equal the log."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

from functions.api.dialect.chat_answer import ChatStream
from functions.api.dialect.stream import ResponseStream
from functions.api.live.following import LogEvent
from functions.worker.model.telling import CallPiece, ShownCall
from functions.worker.model.toolcalls import ToolCalls
from functions.worker.run.voided import shown_calls
from shared.tasks import events, settle, store
from shared.tasks.events import Event
from shared.tasks.model import Status

from .conftest import Install, World
from .test_live import Client, _own_listener, beside, hurrying, logged, watch

__all__ = ["_own_listener"]

LOOKUP = {"type": "function", "function": {"name": "lookup", "parameters": {"type": "object"}}}
TOOLS: dict[str, Any] = {"params": {"tools": [LOOKUP], "dialect": "chat"}}
LONG = json.dumps({"text": "words of a long argument " * 12})


def calling(more: str = "", args: str = LONG) -> str:
    return f"[[sim tool=lookup ttft=0.05 {more} args={args}]] hello"


def texts(log: list[Event]) -> dict[str, str]:
    """Return the arguments that stand in a log, by id of the tool call."""
    found: dict[tuple[str, str], str] = {}
    for event in log:
        if event.type == "tool_arguments":
            key = event.data["call"], event.data["id"]
            found[key] = found.get(key, "") + event.data["text"]
        for void in event.data.get("void", ()):
            found = {key: text for key, text in found.items() if key[0] != void}
    return {call_id: text for (_, call_id), text in found.items()}


def calls_of(task_id: str) -> list[dict[str, Any]]:
    result = settle.result_of(store.get(task_id))
    assert result is not None
    return list(result["data"]["tool_calls"])


def read(task_id: str) -> list[Event]:
    return events.read(task_id, 0).events


def test_arguments_come_before_they_are_stored_and_equal_the_log(world: World) -> None:
    client = hurrying(world, lambda client: client.pieces > 3)
    task = world.submit(calling("key=live latency=15"), **TOOLS)
    beside(world, lambda: watch(task.task_id, client))
    assert client.log == logged(task.task_id)
    assert client.pieces > 3
    assert texts(read(task.task_id)) == {call["id"]: call["arguments"] for call in calls_of(task.task_id)}


@pytest.mark.parametrize("more", ["", "nonce"])  # by which the model gives its calls other ids each time
@pytest.mark.parametrize("fault", ["drop", "truncate", "error_event"])
def test_a_call_that_is_written_once_more_keeps_its_id(world: World, fault: str, more: str) -> None:
    asked = calling(f"latency=1 parallel=2 fail={fault} times=1 {more}", f"[{LONG}, {LONG}]")
    task, client = world.submit(asked, **TOOLS), Client()
    beside(world, lambda: watch(task.task_id, client))
    log = read(task.task_id)
    first = [event for event in log if event.type == "tool_arguments" and event.data["call"] == "model-1.1"]
    calls = calls_of(task.task_id)
    assert first[0].data["id"] == calls[0]["id"]
    assert len({call["id"] for call in calls}) == 2
    assert texts(log) == {call["id"]: call["arguments"] for call in calls}
    assert client.log == logged(task.task_id)
    end = store.get(task.task_id)
    made = ResponseStream(end, lambda: end)
    blocks = [block for event in log for block in made.take(event)]
    shown = [block["item"] for block in blocks if block["type"] == "response.output_item.done"]
    assert shown == blocks[-1]["response"]["output"]  # each once, and none was broken off
    chat = ChatStream(end, lambda: end, include_usage=False)
    chunks = [chunk for event in log for chunk in chat.take(event)]
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


def test_a_call_of_another_wording_has_another_id(world: World) -> None:
    asked = '[[sim tool=lookup fail=drop times=1 ttft=0.05 latency=0.5 args={"x": "one two three four"}]] hello'
    task = world.submit(asked, **TOOLS)
    world.work()
    log = read(task.task_id)
    (first,) = {event.data["id"] for event in log if event.type == "tool_arguments"}
    shown = shown_calls([*log, Event("tool_arguments", 0, log_piece("model-1.1", first, " and five"), 99)])
    kept: list[CallPiece] = []
    written = ToolCalls(lambda _: None, kept.append, shown["model-1"])
    written.take({"index": 0, "id": first, "function": {"name": "lookup", "arguments": '{"y": 2}'}})
    (call,) = written.calls()
    assert call.id != first
    assert [piece.id for piece in kept] == [call.id]


def log_piece(call: str, id_: str, text: str) -> dict[str, Any]:
    return {"call": call, "n": 0, "id": id_, "tool": "lookup", "text": text}


def test_only_what_the_client_is_to_call_is_shown(world: World, install: Install) -> None:
    task = world.submit(calling(args='{"x": 1}'))  # the agent's own tool: no tools of the client
    other = {"type": "function", "function": {"name": "other", "parameters": {"type": "object"}}}

    async def run(ctx: Any) -> Any:
        from sluice import AgentResult

        reply = await ctx.model(ctx.asked(), tools=[LOOKUP, *ctx.tools])
        return AgentResult(reply.content or "called")

    install(run)
    world.work()
    assert store.get(task.task_id).status is Status.COMPLETE
    mixed = world.submit(calling("tools=lookup,other parallel=2", '{"x": 1}'), params={"tools": [other]})
    world.work()
    assert store.get(mixed.task_id).status is Status.COMPLETE
    assert not [event for event in read(task.task_id) if event.type == "tool_arguments"]
    shown = [event.data for event in read(mixed.task_id) if event.type == "tool_arguments"]
    assert [(data["tool"], data["n"]) for data in shown] == [("other", 1)]


def pieces_of(rng: random.Random, calls: list[tuple[str, str, str]]) -> Iterator[dict[str, Any]]:
    """Write calls (id, name, arguments) as one of many providers does."""
    habit = rng.choice(("plain", "mixed", "whole", "twice", "late id", "no id", "placeholder"))
    streams: list[list[dict[str, Any]]] = []
    for index, (id_, name, arguments) in enumerate(calls):
        cuts = sorted({0, len(arguments), *(rng.randint(0, len(arguments)) for _ in range(3))})
        texts = [arguments[a:b] for a, b in itertools.pairwise(cuts)]
        if habit == "whole":
            texts = [arguments]
        if habit == "placeholder":
            texts = ["{}", arguments]
        named = {"name": name, "arguments": ""}
        parts: list[dict[str, Any]] = [{"index": index, "id": id_, "function": named}]
        parts += [{"index": index, "function": {"arguments": text}} for text in texts]
        if habit == "no id":
            parts[0].pop("id")
        if habit == "late id":
            parts[0].pop("id")
            parts[-1]["id"] = id_
        if habit == "twice":
            parts.append({"index": index, "id": id_, "function": {"name": name, "arguments": arguments}})
        streams.append(parts)
    if habit != "mixed":
        yield from (part for parts in streams for part in parts)
        return
    yield from [parts.pop(0) for parts in streams]
    while any(streams):
        yield rng.choice([parts for parts in streams if parts]).pop(0)


def test_what_is_told_is_what_is_recorded_whatever_the_provider_does() -> None:
    rng = random.Random(3)
    for _ in range(1500):
        calls = [
            (f"id{n}", f"tool{rng.randint(0, 2)}", json.dumps({"a": "x" * rng.randint(0, 5), "n": n}))
            for n in range(rng.randint(1, 4))
        ]
        before: dict[int, ShownCall] = {}
        if rng.random() < 0.5:  # an attempt that died, and showed some of it
            shown = rng.choice([calls, [(f"old{n}", name, text) for n, (_, name, text) in enumerate(calls)]])
            before = {
                n: ShownCall(id_, name, text[: rng.randint(0, len(text))] + rng.choice(("", "", "!")))
                for n, (id_, name, text) in enumerate(shown[: rng.randint(0, len(shown))])
            }
        told: list[CallPiece] = []
        written = ToolCalls(lambda _: None, told.append, before)
        for piece in pieces_of(rng, calls):
            written.take(piece)
        made = written.calls()
        assert [(one.name, one.arguments) for one in made] == [(name, text) for _, name, text in calls]
        assert len({one.id for one in made}) == len(made)
        assert [piece.n for piece in told] == sorted(piece.n for piece in told)  # one after the other
        for n, one in enumerate(made):
            parts = [piece for piece in told if piece.n == n]
            assert {(piece.id, piece.name) for piece in parts} == {(one.id, one.name)}
            assert "".join(piece.text for piece in parts) == one.arguments
            again = before.get(n)
            if again is not None and again.name == one.name:
                assert (one.id == again.id) == one.arguments.startswith(again.text)


def test_arguments_are_told_as_they_come() -> None:
    told: list[CallPiece] = []
    written = ToolCalls(lambda _: None, told.append)
    written.take({"index": 0, "id": "c1", "function": {"name": "f", "arguments": ""}})
    assert told == []
    written.take({"index": 0, "function": {"arguments": '{"a"'}})
    assert told == [CallPiece(0, "c1", "f", '{"a"')]
    written.take({"index": 0, "function": {"arguments": ": 1}"}})
    written.take({"index": 1, "id": "c2", "function": {"name": "g", "arguments": '{"b"'}})
    assert told[1:] == [CallPiece(0, "c1", "f", ": 1}"), CallPiece(1, "c2", "g", '{"b"')]


def test_who_says_other_arguments_in_the_end_is_recorded_by_another_id() -> None:
    told: list[CallPiece] = []
    written = ToolCalls(lambda _: None, told.append)
    written.take({"index": 0, "id": "c1", "function": {"name": "f", "arguments": '{"a": 1}'}})
    written.take({"index": 0, "id": "c1", "function": {"name": "f", "arguments": '{"a": 2}'}})
    (call,) = written.calls()
    assert (told, call.arguments) == ([CallPiece(0, "c1", "f", '{"a": 1}')], '{"a": 2}')
    assert call.id != "c1"


def test_a_call_tells_that_its_provider_wants_something_back() -> None:
    told: list[CallPiece] = []
    written = ToolCalls(lambda _: None, told.append)
    function = {"name": "f", "arguments": "{}"}
    written.take(
        {"index": 0, "id": "c1", "function": function, "extra_content": {"google": {"thought_signature": "s"}}}
    )
    written.take({"index": 1, "id": "c2", "function": function})
    written.calls()
    assert [(piece.id, piece.signed) for piece in told] == [("c1", True), ("c2", False)]


def test_a_piece_goes_on_live_from_any_place() -> None:
    from functions.api.live.following import Cursor, Place

    cursor = Cursor(Place(4))
    seen = cursor.take_piece(Event("tool_arguments", 0, log_piece("m-1.1", "c1", '{"a'), 5))
    assert isinstance(seen, LogEvent)
    assert (seen.event.data["text"], seen.event.data["tool"], str(seen.place)) == ('{"a', "lookup", "4.3")
    rest = cursor.take(Event("tool_arguments", 0, log_piece("m-1.1", "c1", '{"a": 1}'), 5))
    assert rest is not None
    assert (rest.event.data["text"], rest.event.data["id"]) == ('": 1}', "c1")
