"""A run's log as the events of a streamed response: one series of numbers, the same whenever and wherever it is made.

Each event of the log gives so many events of the stream, whatever else has happened; what a client names as the last
one it has (``starting_after``) therefore means the same to every reader of the log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from functions.api.dialect import ids
from functions.api.dialect.response import (
    call_item,
    is_cut,
    message_item,
    output_of,
    reasoning_item,
    shown,
    status_of,
    text_part,
    under_way,
    wants_encrypted,
)
from functions.api.dialect.segments import Begin, Delta, End, Segments
from shared.tasks import settle
from shared.tasks.events import TERMINAL_EVENTS
from shared.tasks.model import Status, dumps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from functions.api.dialect.segments import Operation
    from shared.tasks.events import Event
    from shared.tasks.model import Task

    type Block = dict[str, Any]

DONE = "data: [DONE]\n\n"
VOIDING = frozenset({"resumed", "retry", "deferred"})


def encode(block: Block) -> str:
    """Write an event of the stream as server-sent event, whole: some readers lose one that comes in two pieces."""
    return f"event: {block['type']}\ndata: {dumps(block)}\n\n"


class ResponseStream:
    """Turns the events of a run's log, given in order, into those of the stream."""

    def __init__(self, task: Task, reread: Callable[[], Task]) -> None:
        """Start before the first event; ``reread`` is asked for the task as it stands once it has ended."""
        self._task = task
        self._reread = reread
        self._number = 0
        self._index = 0
        self._segments = Segments()
        self._places: dict[int, int] = {}
        """By piece of text: its place in the output."""
        self._thought: tuple[int, int, str] | None = None
        """Of the reasoning being written: its place, its number among its kind, its text."""
        self._thoughts = 0
        self.ended = False

    def take(self, event: Event) -> list[Block]:
        """Return what an event of the log gives.

        Raises:
            DependencyDown: the end's result cannot be read right now.
        """
        if event.type in TERMINAL_EVENTS:
            return self._end(self._reread())
        blocks = self._before_the_end(event)
        return [self._numbered(block) for block in blocks]

    def _numbered(self, block: Block) -> Block:
        number, self._number = self._number, self._number + 1
        return {"type": block["type"], "sequence_number": number, **block}

    def _before_the_end(self, event: Event) -> list[Block]:
        data = event.data
        if event.type == "queued":
            status = "queued" if self._task.params.get("background") else "in_progress"
            return [self._whole("response.created", status)]
        if event.type == "started":
            return [self._whole("response.in_progress", "in_progress")]
        if event.type == "reasoning":
            return self._think(str(data.get("text", "")))
        if event.type == "token":
            return [
                *self._think_no_more(),
                *self._carry_out(self._segments.token(str(data["call"]), str(data["text"]))),
            ]
        if event.type == "step" and "call" in data:
            return [*self._think_no_more(), *self._carry_out(self._segments.recorded(str(data["call"])))]
        if event.type in VOIDING:
            self._segments.void(str(call) for call in data.get("void", ()))
            return self._think_no_more()
        return []

    def _whole(self, type_: str, status: str) -> Block:
        return {"type": type_, "response": under_way(self._task, status)}

    def _carry_out(self, operations: Iterable[Operation]) -> list[Block]:
        blocks: list[Block] = []
        for each in operations:
            match each:
                case Begin(n):
                    blocks += self._begin(n)
                case Delta(n, text):
                    blocks.append({"type": "response.output_text.delta", **self._at(n), "delta": text, "logprobs": []})
                case End(n, text, whole):
                    blocks += self._close(n, text_part(text), "completed" if whole else "incomplete")
        return blocks

    def _next_place(self) -> int:
        place, self._index = self._index, self._index + 1
        return place

    def _message_id(self, n: int) -> str:
        return ids.message_id(self._task.task_id, n)

    def _at(self, n: int) -> Block:
        return {"item_id": self._message_id(n), "output_index": self._places[n], "content_index": 0}

    def _begin(self, n: int) -> list[Block]:
        place = self._places[n] = self._next_place()
        item = message_item(self._message_id(n), "in_progress", [])
        return [
            {"type": "response.output_item.added", "output_index": place, "item": item},
            {"type": "response.content_part.added", **self._at(n), "part": text_part("")},
        ]

    def _close(self, n: int, part: Block, status: str) -> list[Block]:
        at = self._at(n)
        return [
            {"type": "response.output_text.done", **at, "text": part["text"], "logprobs": part["logprobs"]},
            {"type": "response.content_part.done", **at, "part": part},
            {
                "type": "response.output_item.done",
                "output_index": at["output_index"],
                "item": message_item(at["item_id"], status, [part]),
            },
        ]

    def _think(self, text: str) -> list[Block]:
        blocks: list[Block] = []
        if self._thought is None:
            number, self._thoughts = self._thoughts, self._thoughts + 1
            self._thought = self._next_place(), number, ""
            item = {"type": "reasoning", "id": ids.reasoning_id(self._task.task_id, number), "summary": []}
            blocks.append({"type": "response.output_item.added", "output_index": self._thought[0], "item": item})
        place, number, before = self._thought
        self._thought = place, number, before + text
        at = {"item_id": ids.reasoning_id(self._task.task_id, number), "output_index": place, "content_index": 0}
        return [*blocks, {"type": "response.reasoning_text.delta", **at, "delta": text}]

    def _think_no_more(self) -> list[Block]:
        if self._thought is None:
            return []
        (place, number, text), self._thought = self._thought, None
        item = reasoning_item(ids.reasoning_id(self._task.task_id, number), text, encrypted=wants_encrypted(self._task))
        at = {"item_id": item["id"], "output_index": place, "content_index": 0}
        return [
            {"type": "response.reasoning_text.done", **at, "text": text},
            {"type": "response.output_item.done", "output_index": place, "item": item},
        ]

    def _end(self, task: Task) -> list[Block]:
        self._task, self.ended = task, True
        result = settle.result_of(task) if task.status is Status.COMPLETE else None
        blocks = self._think_no_more()
        if result is None:
            blocks += self._carry_out(self._segments.broken())
        else:
            blocks += self._answer(task, result)
        status = status_of(task, result)
        response = shown(task, result, status)
        kind = status if status in ("completed", "incomplete") else "failed"
        error = response["error"] or {"code": "server_error", "message": "the response was cancelled", "type": status}
        if kind == "failed":
            response["error"] = error
        blocks.append({"type": f"response.{kind}", "response": response})
        if kind == "failed":  # `openai` raises at this one only
            told = {"code": error["code"], "message": error["message"], "param": None}
            what = {"type": error["type"] or "server_error", **told}
            blocks.append({"type": "error", **told, "error": what})
        return [self._numbered(block) for block in blocks]

    def _answer(self, task: Task, result: dict[str, Any]) -> list[Block]:
        items = output_of(task, result)
        said = next((item for item in items if item["type"] == "message"), None)
        operations, piece = self._segments.answered(result["response"])
        blocks = self._carry_out(operations)
        if piece is None and said is not None:
            n = self._segments.began
            self._segments.began += 1
            text = [Delta(n, result["response"])] if result["response"] else []
            blocks += self._carry_out([Begin(n), *text])
        elif piece is not None:
            n = piece.n
        if said is not None:
            blocks += self._close(n, said["content"][0], said["status"])
        elif piece is not None:
            blocks += self._close(piece.n, text_part(piece.text), "incomplete" if is_cut(result) else "completed")
        for item in items:
            if item["type"] == "function_call":
                blocks += self._call(item)
            elif item["type"] == "reasoning" and "content" not in item:
                at = {"output_index": self._next_place(), "item": item}
                blocks += [{"type": f"response.output_item.{kind}", **at} for kind in ("added", "done")]
        return blocks

    def _call(self, item: Block) -> list[Block]:
        at = {"item_id": item["id"], "output_index": self._next_place()}
        place = at["output_index"]
        begun = call_item(item["id"], {**item, "id": item["call_id"], "arguments": ""}, "in_progress")
        arguments = item["arguments"]
        return [
            {"type": "response.output_item.added", "output_index": place, "item": begun},
            {"type": "response.function_call_arguments.delta", **at, "delta": arguments},
            {"type": "response.function_call_arguments.done", **at, "name": item["name"], "arguments": arguments},
            {"type": "response.output_item.done", "output_index": place, "item": item},
        ]


def after(blocks: Sequence[Block], number: int | None) -> list[Block]:
    """Leave out the events that a client has: those up to ``number``."""
    return [block for block in blocks if number is None or block["sequence_number"] > number]
