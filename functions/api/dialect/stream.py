"""A run's log as the events of a streamed response: one series of numbers, the same whenever and wherever it is made.

Each event of the log gives so many events of the stream, whatever else has happened; what a client names as the last
one it has (``starting_after``) therefore means the same to every reader of the log.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from functions.api.dialect import called, ids
from functions.api.dialect.called import Called
from functions.api.dialect.item_blocks import CallItem, MessageItem
from functions.api.dialect.response import (
    calls_of,
    is_cut,
    is_refused,
    is_whole,
    most_calls,
    output_of,
    reasoning_item,
    shown,
    status_of,
    under_way,
    wants_encrypted,
)
from functions.api.dialect.segments import Begin, Delta, End, Operation, Segments
from shared.tasks import settle
from shared.tasks.events import TERMINAL_EVENTS, Event, is_written
from shared.tasks.model import Status, Task, dumps_line

type Block = dict[str, Any]

DONE = "data: [DONE]\n\n"
VOIDING = frozenset({"resumed", "retry", "deferred"})


def encode(block: Block) -> str:
    """Write an event of the stream as server-sent event, whole: some readers lose one that comes in two pieces."""
    return f"event: {block['type']}\ndata: {dumps_line(block)}\n\n"


class ResponseStream:
    """Turns the events of a run's log, given in order, into those of the stream."""

    def __init__(self, task: Task, reread: Callable[[], Task]) -> None:
        """Start before the first event; ``reread`` is asked for the task as it stands once it has ended."""
        self._task = task
        self._reread = reread
        self._number = 0
        self._index = 0
        self._segments = Segments()
        self._called = Called(most_calls(task))
        self._messages: dict[int, MessageItem] = {}
        """By piece of text: the newest item that shows it."""
        self._begun_messages = 0
        self._answer_id = ""
        self._refuses = False
        """Whether what begins now is a refusal."""
        self._calls: dict[int, CallItem] = {}
        """By tool call: its item."""
        self._thought: tuple[int, int, str] | None = None
        """Of the reasoning being written: its place, its number among its kind, its text."""
        self._thoughts = 0
        self.ended = False

    def take(self, event: Event) -> list[Block]:
        """Return what an event of the log gives."""
        if event.type in TERMINAL_EVENTS:
            return self._end(self._reread())
        blocks = self._before_the_end(event)
        return [self._numbered(block) for block in blocks]

    def past_the_end(self, number: int) -> Block | None:
        """Return what a client is told that has, as it says, an event behind the last one; None: there is such a one.

        It would wait for the end otherwise, and then have nothing, not even that.
        """
        if number < self._number:
            return None
        why = f"starting_after {number} is behind the last event, {self._number - 1}: nothing can follow on it"
        told = {"code": "invalid_request", "message": why, "param": "starting_after"}
        what = {"type": "error", "sequence_number": self._number, **told}
        return what | {"error": {"type": "invalid_request_error", **told}}

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
        if event.type == "token" and is_written(event):
            self._refuses = data.get("refusal") is True
            return [
                *self._think_no_more(),
                *self._carry_out(self._segments.token(str(data["call"]), str(data["text"]))),
            ]
        if event.type == called.EVENT and is_written(event):
            blocks = [*self._think_no_more(), *self._think_unseen(signed=data.get("signed") is True)]
            return [*blocks, *self._show_calls(self._called.take(data))]
        if event.type == "step" and "call" in data:
            call = str(data["call"])
            blocks = [*self._think_no_more(), *self._carry_out(self._segments.recorded(call))]
            return [*blocks, *self._show_calls(self._called.recorded(call))]
        if event.type in VOIDING:
            void = [str(call) for call in data.get("void", ())]
            self._segments.void(void)
            self._called.void(void)
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
                    blocks += self._go_on(n, text)
                case End(n, _, whole):
                    blocks += self._close(n, "completed" if whole else "incomplete")
        return blocks

    def _next_place(self) -> int:
        place, self._index = self._index, self._index + 1
        return place

    def _begin(self, n: int) -> list[Block]:
        number, self._begun_messages = self._begun_messages, self._begun_messages + 1
        self._messages[n] = MessageItem(
            ids.message_id(self._task.task_id, number), self._next_place(), refused=self._refuses
        )
        return self._messages[n].begin()

    def _go_on(self, n: int, text: str) -> list[Block]:
        # Where calls came in between, what follows them is another message, as with OpenAI.
        blocks = self._begin(n) if self._messages[n].ended else []
        return [*blocks, self._messages[n].go_on(text)]

    def _close(self, n: int, status: str, logprobs: Sequence[Any] = ()) -> list[Block]:
        return self._messages[n].end(status, logprobs)

    def _show_calls(self, operations: Iterable[called.Operation], *, cut: bool = False) -> list[Block]:
        """Write what becomes of tool calls; ``cut``: the reply that holds them ended at its limit."""
        blocks: list[Block] = []
        for each in operations:
            match each:
                case called.Begin(call):
                    blocks += [*self._close_texts(), self._begin_call(call)]
                case called.Delta(call, text):
                    blocks.append(self._calls[call.n].go_on(text))
                case called.End(call, whole=True):
                    status = "incomplete" if cut and not is_whole(call.text) else "completed"
                    blocks += self._calls[call.n].end(call, status)
                case called.End():  # broken off: it never ends, since some clients carry out whatever ends
                    continue
        return blocks

    def _close_texts(self) -> list[Block]:
        """End the messages before a call, as readers expect. Log probabilities come with the answer only."""
        if (self._task.params.get("options") or {}).get("logprobs"):
            return []
        return [block for n in self._segments.standing() for block in self._close(n, "completed")]

    def _begin_call(self, call: called.Shown) -> Block:
        item_id = ids.call_id(self._task.task_id, call.id)
        if any(item_id == other.id for other in self._calls.values()):
            item_id += f"_{call.n}"  # another one had the same id, and was broken off
        self._calls[call.n] = CallItem(item_id, self._next_place())
        return self._calls[call.n].begin(call)

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

    def _think_unseen(self, *, signed: bool) -> list[Block]:
        """Write, before the calls, the item of thoughts that nobody sees and that the provider wants back with them."""
        if not signed or self._thoughts or not wants_encrypted(self._task):
            return []
        self._thoughts += 1
        item = reasoning_item(ids.reasoning_id(self._task.task_id), "", encrypted=True)
        at = {"output_index": self._next_place(), "item": item}
        return [{"type": f"response.output_item.{kind}", **at} for kind in ("added", "done")]

    def _end(self, task: Task) -> list[Block]:
        self._task, self.ended = task, True
        result = settle.result_of(task) if task.status is Status.COMPLETE else None
        blocks = self._think_no_more()
        if result is None:
            blocks += self._carry_out(self._segments.broken())
            blocks += self._show_calls(self._called.broken())
        else:
            blocks += self._answer(task, result)
        status = status_of(task, result)
        response = shown(task, result, status)
        for item in response["output"]:
            if item["type"] == "message":  # of a run that was taken over it may be another than the first
                item["id"] = self._answer_id or item["id"]
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
        self._refuses = is_refused(result)
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
            self._answer_id = self._messages[n].id
            blocks += self._close(n, said["status"], said["content"][0].get("logprobs", ()))
        elif piece is not None:
            blocks += self._close(piece.n, "incomplete" if is_cut(result) else "completed")
        for item in items:
            if item["type"] == "reasoning" and "content" not in item:
                blocks += self._think_unseen(signed=True)
        return [*blocks, *self._show_calls(self._called.answered(calls_of(task, result)), cut=is_cut(result))]


def after(blocks: Sequence[Block], number: int | None) -> list[Block]:
    """Leave out the events that a client has: those up to ``number``."""
    return [block for block in blocks if number is None or block["sequence_number"] > number]
