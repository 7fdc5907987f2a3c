"""Tool calls of the client come while they are written, and what a client has of them equals the log, whatever dies."""

from __future__ import annotations

import itertools
import json
import random
from typing import Any

import pytest

from functions.api.dialect import ids
from functions.api.dialect.called import Called
from functions.api.dialect.response import response_of
from functions.api.dialect.stream import after
from shared.tasks.events import Event
from shared.tasks.model import Task
from tests.examples import examples

from .test_response_stream import (
    COMPLETE,
    QUEUED,
    STARTED,
    chunks,
    content,
    ended,
    failed,
    log,
    said,
    step,
    stream,
    token,
    types,
)

ARGUMENTS = '{"word": "a", "n": 12}'
CALL = {"id": "c1", "name": "lookup", "arguments": ARGUMENTS}

type Entry = tuple[str, dict[str, Any]]


def piece(call: str, text: str, n: int = 0, id_: str = "c1", tool: str = "lookup") -> Entry:
    return "tool_arguments", {"call": call, "n": n, "id": id_, "tool": tool, "text": text}


LIVE = log(
    QUEUED,
    STARTED,
    piece("model-1.1", '{"word": '),
    piece("model-1.1", '"a", "n": 12'),
    piece("model-1.1", "}"),
    step("model-1.1"),
    COMPLETE,
)


def arguments(blocks: list[dict[str, Any]]) -> dict[str, str]:
    """Return the arguments of each item, as its deltas make them."""
    found: dict[str, str] = {}
    for block in blocks:
        if block["type"] == "response.function_call_arguments.delta":
            found[block["item_id"]] = found.get(block["item_id"], "") + block["delta"]
    return found


def called(found: list[dict[str, Any]]) -> dict[int, dict[str, str]]:
    """Put the calls of a chat stream together, as clients do: by index."""
    calls: dict[int, dict[str, str]] = {}
    for chunk in found:
        for choice in chunk.get("choices", ()):
            for part in choice["delta"].get("tool_calls", ()):
                call = calls.setdefault(part["index"], {"id": "", "name": "", "arguments": ""})
                call["id"] += part.get("id", "")
                call["name"] += part["function"].get("name", "")
                call["arguments"] += part["function"].get("arguments", "")
    return calls


def test_arguments_come_as_they_are_written_and_not_twice() -> None:
    blocks = stream(LIVE, ended("", {"tool_calls": [CALL]}))
    assert types(blocks) == [
        "created",
        "in_progress",
        "output_item.added",
        *["function_call_arguments.delta"] * 3,
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ]
    added, last = blocks[2]["item"], blocks[-1]["response"]["output"]
    assert (added["status"], added["call_id"], added["name"], added["arguments"]) == ("in_progress", "c1", "lookup", "")
    assert list(arguments(blocks).values()) == [ARGUMENTS]
    assert (blocks[-3]["arguments"], blocks[-3]["name"]) == (ARGUMENTS, "lookup")
    assert [blocks[-2]["item"]] == last
    assert added["id"] == last[0]["id"]
    assert [block["sequence_number"] for block in blocks] == list(range(len(blocks)))


def test_the_item_has_the_same_id_when_the_response_is_retrieved() -> None:
    end = ended("", {"tool_calls": [CALL, CALL | {"id": "c2"}]})
    shown = [item["id"] for item in stream(LIVE, end)[-1]["response"]["output"]]
    assert shown == [item["id"] for item in response_of(end)["output"]]
    assert len(set(shown)) == 2
    assert {ids.item_of(item_id)[:2] for item_id in shown} == {("fc", "task_1")}


def test_a_text_before_a_call_ends_before_it_begins() -> None:
    events = log(QUEUED, token("model-1.1", "Let me see."), piece("model-1.1", ARGUMENTS), step("model-1.1"), COMPLETE)
    blocks = stream(events, ended("Let me see.", {"tool_calls": [CALL]}))
    assert types(blocks)[1:] == [
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ]
    done = [block["item"] for block in blocks if block["type"] == "response.output_item.done"]
    assert done == blocks[-1]["response"]["output"]


def test_a_text_with_log_probabilities_ends_with_the_answer_that_has_them() -> None:
    one = {"token": "Hm", "logprob": -0.1, "bytes": None, "top_logprobs": []}
    end = ended("Hm", {"tool_calls": [CALL], "logprobs": [one]})
    events = log(QUEUED, token("model-1.1", "Hm"), piece("model-1.1", ARGUMENTS), step("model-1.1"), COMPLETE)
    made = stream(events, end, options={"logprobs": True})
    done = [block["item"] for block in made if block["type"] == "response.output_item.done"]
    assert done == made[-1]["response"]["output"]
    assert done[0]["content"][0]["logprobs"][0]["token"] == "Hm"


def test_text_behind_a_call_is_another_message_and_nothing_is_said_twice() -> None:
    events = log(
        QUEUED, token("model-1.1", "One. "), piece("model-1.1", ARGUMENTS), token("model-1.1", "Two."),
        step("model-1.1"), COMPLETE,
    )  # fmt: skip
    blocks = stream(events, ended("One. Two.", {"tool_calls": [CALL]}))
    assert list(said(blocks).values()) == ["One. ", "Two."]
    every_item_is_announced_and_ends_once(blocks)


def test_a_call_that_is_written_again_the_same_goes_on_where_it_was() -> None:
    events = log(
        QUEUED,
        piece("model-1.1", '{"word": '),
        ("resumed", {"void": ["model-1.1"]}),
        piece("model-1.2", '{"word'),
        piece("model-1.2", '": "a", "n": 12}'),
        step("model-1.2"),
        COMPLETE,
    )
    end = ended("", {"tool_calls": [CALL]})
    blocks = stream(events, end)
    assert types(blocks).count("output_item.added") == 1
    assert list(arguments(blocks).values()) == [ARGUMENTS]
    assert called(chunks(events, end)) == {0: CALL}


@pytest.mark.parametrize("id_", ["c2", "c1"])
def test_a_call_that_is_written_otherwise_is_another_item_and_the_first_never_ends(id_: str) -> None:
    other = CALL | {"id": id_, "arguments": '{"word": "b"}'}
    events = log(
        QUEUED,
        piece("model-1.1", '{"word": "a'),
        ("retry", {"void": ["model-1.1"]}),
        piece("model-1.2", '{"word": "b"}', id_=id_),
        step("model-1.2"),
        COMPLETE,
    )
    end = ended("", {"tool_calls": [other]})
    blocks = stream(events, end)
    items = [block["item"] for block in blocks if block["type"] == "response.output_item.done"]
    assert [(item["status"], item["arguments"]) for item in items] == [("completed", '{"word": "b"}')]
    assert [*arguments(blocks).values()] == ['{"word": "a', '{"word": "b"}']
    every_item_is_announced_and_ends_once(blocks)
    told = chunks(events, end)
    assert told[-1]["error"]["code"] == "stream_interrupted"
    assert called(told) == {0: CALL | {"arguments": '{"word": "a'}}


def test_a_call_that_the_next_attempt_does_not_make_never_ends() -> None:
    events = log(
        QUEUED,
        piece("model-1.1", '{"word": "a'),
        ("resumed", {"void": ["model-1.1"]}),
        token("model-1.2", "No need."),
        step("model-1.2"),
        COMPLETE,
    )
    blocks = stream(events, ended("No need."))
    items = [block["item"] for block in blocks if block["type"] == "response.output_item.done"]
    assert [(item["type"], item["status"]) for item in items] == [("message", "completed")]
    assert chunks(events, ended("No need."))[-1]["error"]["code"] == "stream_interrupted"


def test_a_run_that_fails_breaks_its_calls_off() -> None:
    events = log(QUEUED, piece("model-1.1", '{"wo'), ("failed", {}))
    blocks = stream(events, failed())
    assert types(blocks)[-3:] == ["function_call_arguments.delta", "failed", "error"]


def test_arguments_that_the_limit_cut_are_incomplete() -> None:
    events = log(QUEUED, piece("model-1.1", '{"wo'), step("model-1.1"), COMPLETE)
    end = ended("", {"tool_calls": [CALL | {"arguments": '{"wo'}], "finish_reason": "length"})
    blocks = stream(events, end)
    assert blocks[-2]["item"] == blocks[-1]["response"]["output"][0]
    assert (blocks[-2]["item"]["status"], types(blocks)[-1]) == ("incomplete", "incomplete")


def test_what_the_client_wants_no_more_of_is_never_shown() -> None:
    events = log(
        QUEUED, piece("model-1.1", "{}"), piece("model-1.1", "{}", 1, "c2"), step("model-1.1"), COMPLETE
    )  # fmt: skip
    first = CALL | {"arguments": "{}"}
    blocks = stream(events, ended("", {"tool_calls": [first, first | {"id": "c2"}]}), echo={"max_tool_calls": 1})
    assert list(arguments(blocks).values()) == ["{}"]
    assert [item["call_id"] for item in blocks[-1]["response"]["output"]] == ["c1"]


def test_thoughts_that_nobody_sees_come_before_the_call_that_is_signed_with_them() -> None:
    _, data = piece("model-1.1", ARGUMENTS)
    events = log(QUEUED, ("tool_arguments", data | {"signed": True}), step("model-1.1"), COMPLETE)
    signed = CALL | {"extra": {"extra_content": {"google": {"thought_signature": "s"}}}}
    blocks = stream(events, ended("", {"tool_calls": [signed]}), echo={"include": ["reasoning.encrypted_content"]})
    done = [block["item"] for block in blocks if block["type"] == "response.output_item.done"]
    assert [item["type"] for item in done] == ["reasoning", "function_call"]
    assert done == blocks[-1]["response"]["output"]
    assert types(stream(events, ended("", {"tool_calls": [signed]}))).count("output_item.added") == 1


def test_a_call_without_arguments_is_shown_too() -> None:
    events = log(QUEUED, piece("model-1.1", ""), step("model-1.1"), COMPLETE)
    end = ended("", {"tool_calls": [CALL | {"arguments": ""}]})
    assert types(stream(events, end))[1:4] == [
        "output_item.added", "function_call_arguments.done", "output_item.done",
    ]  # fmt: skip
    assert called(chunks(events, end)) == {0: CALL | {"arguments": ""}}


def test_chunks_name_a_call_first_and_bring_its_arguments_after_it() -> None:
    found = chunks(LIVE, ended("", {"tool_calls": [CALL]}))
    parts = [part for chunk in found for part in chunk["choices"][0]["delta"].get("tool_calls", ())]
    assert parts[0] == {"index": 0, "id": "c1", "type": "function", "function": {"name": "lookup", "arguments": ""}}
    assert [part["function"]["arguments"] for part in parts[1:]] == ['{"word": ', '"a", "n": 12', "}"]
    assert not any("id" in part or "name" in part["function"] for part in parts[1:])
    assert found[-1]["choices"][0]["finish_reason"] == "tool_calls"


def every_item_is_announced_and_ends_once(blocks: list[dict[str, Any]]) -> None:
    opened: dict[str, int] = {}
    places: dict[str, int] = {}
    for block in blocks:
        if block["type"] == "response.output_item.added":
            assert block["item"]["id"] not in opened
            opened[block["item"]["id"]] = 1
            assert block["output_index"] not in places.values()
            places[block["item"]["id"]] = block["output_index"]
        elif block["type"] == "response.output_item.done":
            opened[block["item"]["id"]] += 1
        elif "item_id" in block:
            assert opened[block["item_id"]] == 1
            assert places[block["item_id"]] == block["output_index"]
    for item_id, times in opened.items():  # a call that was broken off never ends: clients carry out what ends
        assert times == 2 or (times == 1 and item_id.startswith("fc_"))


def any_calls(rng: random.Random, mark: str) -> list[dict[str, str]]:
    return [
        {
            "id": f"call_{mark}_{n}" if rng.random() < 0.8 else f"call_{n}",
            "name": rng.choice(("lookup", "add")),
            "arguments": json.dumps({"a": "".join(rng.choice("xy") for _ in range(rng.randint(0, 6)))}),
        }
        for n in range(rng.randint(0, 3))
    ]


def in_pieces(rng: random.Random, text: str) -> list[str]:
    cuts = sorted({0, len(text), *(rng.randint(0, len(text)) for _ in range(3))})
    return [text[a:b] for a, b in itertools.pairwise(cuts)] or [""]


def any_run(rng: random.Random) -> tuple[list[Event], Task]:
    """Make a run up: texts and calls, deaths at any place, what is written again the same or not."""
    entries: list[Entry] = [QUEUED, STARTED]
    lease = 1

    def attempt(step_: str, text: str, calls: list[dict[str, str]]) -> list[Entry]:
        call = f"{step_}.{lease}"
        found: list[Entry] = [token(call, part) for part in in_pieces(rng, text) if part]
        for n, one in enumerate(calls):
            found += [piece(call, part, n, one["id"], one["name"]) for part in in_pieces(rng, one["arguments"])]
        return found

    text, calls = "", list[dict[str, str]]()
    for n in range(1, rng.randint(2, 4)):
        text, calls = "ab"[: rng.randint(0, 2)], any_calls(rng, f"{n}")
        while rng.random() < 0.5:
            shown = attempt(f"model-{n}", text, calls)
            shown = shown[: rng.randint(0, len(shown))]
            entries += shown
            void = [f"model-{n}.{lease}"] if shown else []
            lease += 1
            entries.append((rng.choice(("resumed", "retry", "deferred")), {"void": void}))
            if rng.random() < 0.5:
                text, calls = "ab"[: rng.randint(0, 2)], any_calls(rng, f"{n}.{lease}")
        entries += attempt(f"model-{n}", text, calls)
        entries.append(step(f"model-{n}.{lease}"))
    entries.append(COMPLETE)
    return log(*entries), ended(text, {"tool_calls": calls} if calls else None)


def test_whoever_comes_back_after_any_number_has_every_call_once() -> None:
    rng = random.Random(11)
    for _ in range(examples(600, usual=200)):
        events, end = any_run(rng)
        whole = stream(events, end)
        assert [block["sequence_number"] for block in whole] == list(range(len(whole)))
        had: list[dict[str, Any]] = []
        while len(had) < len(whole):
            rest = after(stream(events, end), had[-1]["sequence_number"] if had else None)
            had += rest[: rng.randint(1, len(rest))]
        assert had == whole
        every_item_is_announced_and_ends_once(whole)
        told = arguments(whole)
        done = [block["item"] for block in whole if block["type"] == "response.output_item.done"]
        for item in done:  # what was told in pieces is what stands at the end of each item
            if item["type"] == "function_call":
                assert told.get(item["id"], "") == item["arguments"]
        stand = [item for item in done if item["type"] == "function_call"]
        final = [item for item in whole[-1]["response"]["output"] if item["type"] == "function_call"]
        assert sorted((item["call_id"], item["name"], item["arguments"]) for item in stand) == sorted(
            (item["call_id"], item["name"], item["arguments"]) for item in final
        )


def test_what_a_chat_client_puts_together_is_the_answer_or_it_is_told() -> None:
    rng = random.Random(12)
    whole = 0
    for _ in range(examples(600, usual=200)):
        events, end = any_run(rng)
        found = chunks(events, end)
        if "error" in found[-1]:
            assert found[-1]["error"]["code"] == "stream_interrupted"
            continue
        whole += 1
        assert end.result is not None
        made = sorted(called(found).values(), key=lambda call: call["id"])
        final = sorted((end.result.get("data") or {}).get("tool_calls", []), key=lambda call: call["id"])
        assert made == final
        assert content(found).endswith(end.result["response"])
    assert whole > examples(100, usual=33)


def test_the_fold_takes_events_in_pieces_of_any_size_alike() -> None:
    rng = random.Random(13)
    for _ in range(200):
        events, _ = any_run(rng)

        def shown(*, split: bool, events: list[Event] = events) -> list[tuple[str, str]]:
            made, texts, names = Called(), dict[int, str](), dict[int, str]()
            for event in events:
                if event.type == "tool_arguments":
                    parts = event.data["text"] if split and event.data["text"] else [event.data["text"]]
                    operations = [op for part in parts for op in made.take(event.data | {"text": part})]
                elif event.type == "step":
                    operations = made.recorded(event.data["call"])
                else:
                    made.void(event.data.get("void", ()))
                    continue
                for op in operations:
                    names[op.call.n] = op.call.name
                    texts[op.call.n] = op.call.text
            return [(names[n], texts[n]) for n in sorted(names)]

        assert shown(split=True) == shown(split=False)
