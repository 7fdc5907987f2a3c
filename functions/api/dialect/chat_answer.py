"""A task as a chat completion, whole or as a stream of chunks."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from functions.api.contract import openai_problem
from functions.api.contract.problem import Problem
from functions.api.dialect import called, ids
from functions.api.dialect.called import Called
from functions.api.dialect.ends import problem_of
from functions.api.dialect.handed import handed_out, signed
from functions.api.dialect.response import addresses_of, calls_of, is_cut, is_refused, most_calls, usage_of
from functions.api.dialect.segments import Begin, Delta, End, Operation, Segments
from functions.api.dialect.stream import VOIDING
from functions.api.read import show
from shared.tasks import settle
from shared.tasks.events import TERMINAL_EVENTS, Event, is_written
from shared.tasks.model import Task, dumps_line

type Chunk = dict[str, Any]

BETWEEN = "\n\n"
"""What parts the texts of several model calls of one run in a stream."""


def encode(chunk: Chunk) -> str:
    """Write a chunk as server-sent event."""
    return f"data: {dumps_line(chunk)}\n\n"


def completion_id(task: Task) -> str:
    """Return the id of a task's completion."""
    return f"{ids.CHAT_PREFIX}{task.task_id}"


def completion_of(task: Task) -> dict[str, Any]:
    """Return a complete task as a chat completion."""
    return completion_with(task, show.result(task) or {"response": ""})


def completion_with(task: Task, result: dict[str, Any]) -> dict[str, Any]:
    """Return the same of a result that was read."""
    data = result.get("data") or {}
    calls = calls_of(task, result)
    text = result["response"] or ""
    message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None, "annotations": []}
    if is_refused(result):
        message |= {"content": None, "refusal": text}
    if calls:
        message["content"] = message["content"] or None
        message["tool_calls"] = [_call(call) for call in calls]
    if data.get("reasoning"):
        message["reasoning_content"] = data["reasoning"]
    message |= {name: held for name, held in handed_out(data).items() if name not in message}
    logprobs = {"content": data["logprobs"], "refusal": None} if data.get("logprobs") else None
    choice = {"index": 0, "message": message, "logprobs": logprobs, "finish_reason": _finish(task, result)}
    return {
        **_frame(task, "chat.completion"),
        "choices": [choice],
        "usage": _usage(task, result),
        **addresses_of(result),
    }


def _frame(task: Task, object_: str) -> dict[str, Any]:
    return {
        "id": completion_id(task),
        "object": object_,
        "created": int(task.created),
        "model": task.model_used or task.model,
        "service_tier": (task.params.get("options") or {}).get("service_tier", "default"),
        "system_fingerprint": None,
    }


def _call(call: dict[str, Any]) -> dict[str, Any]:
    function = {"name": call["name"], "arguments": call["arguments"]}
    return {"id": call["id"], "type": "function", "function": function, **signed(call)}


def _finish(task: Task, result: dict[str, Any]) -> str:
    if is_cut(result) or addresses_of(result):
        return "length"
    return "tool_calls" if calls_of(task, result) else "stop"


def _usage(task: Task, result: dict[str, Any]) -> dict[str, Any]:
    used = usage_of(task, result)
    return {
        "prompt_tokens": used["input_tokens"],
        "completion_tokens": used["output_tokens"],
        "total_tokens": used["total_tokens"],
        "prompt_tokens_details": used["input_tokens_details"],
        "completion_tokens_details": used["output_tokens_details"],
    }


class ChatStream:
    """Turns the events of a run's log, given in order, into chunks.

    A chunk cannot be taken back: when a call is made again and does not say what it said before, the stream ends with
    an error that names the task, whose answer comes all the same.
    """

    def __init__(self, task: Task, reread: Callable[[], Task], *, include_usage: bool) -> None:
        """Start before the first event; ``reread`` is asked for the task as it stands once it has ended."""
        self._task = task
        self._reread = reread
        self._include_usage = include_usage
        self._segments = Segments()
        self._called = Called(most_calls(task))
        self._said = False
        self._field = "content"
        """Where what is said stands: a model's refusal has a field of its own."""
        self.ended = False

    def take(self, event: Event) -> list[Chunk]:
        """Return what an event of the log gives."""
        if self.ended:
            return []
        if event.type in TERMINAL_EVENTS:
            self.ended = True
            self._task = self._reread()
            return self._end()
        data = event.data
        if event.type == "queued":
            return [self._chunk({"role": "assistant", "content": "", "refusal": None})]
        if event.type == "reasoning":
            return [self._chunk({"reasoning_content": str(data.get("text", ""))})]
        if event.type == "token" and is_written(event):
            self._field = "refusal" if data.get("refusal") is True else "content"
            return self._carry_out(self._segments.token(str(data["call"]), str(data["text"])))
        if event.type == called.EVENT and is_written(event):
            return self._show_calls(self._called.take(data))
        if event.type == "step" and "call" in data:
            call = str(data["call"])
            chunks = self._carry_out(self._segments.recorded(call))
            return chunks if self.ended else [*chunks, *self._show_calls(self._called.recorded(call))]
        if event.type in VOIDING:
            void = [str(call) for call in data.get("void", ())]
            self._segments.void(void)
            self._called.void(void)
        return []

    def _chunk(self, delta: dict[str, Any], finish: str | None = None, logprobs: Any = None) -> Chunk:
        choice = {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        return {**_frame(self._task, "chat.completion.chunk"), "choices": [choice], **self._no_usage()}

    def _no_usage(self) -> dict[str, Any]:
        return {"usage": None} if self._include_usage else {}

    def _carry_out(self, operations: Iterable[Operation]) -> list[Chunk]:
        chunks: list[Chunk] = []
        for each in operations:
            match each:
                case Begin():
                    if self._said:
                        chunks.append(self._chunk({self._field: BETWEEN}))
                case Delta(_, text):
                    self._said = True
                    chunks.append(self._chunk({self._field: text}))
                case End(_, _, whole):
                    if not whole:
                        self.ended = True
                        return [*chunks, self._interrupted()]
        return chunks

    def _show_calls(self, operations: Iterable[called.Operation], *, whole: bool = False) -> list[Chunk]:
        """Write what becomes of tool calls; ``whole``: those that begin are written in one piece."""
        chunks: list[Chunk] = []
        begun: int | None = None
        for each in operations:
            match each:
                case called.Begin(call):
                    begun = call.n if whole else None
                    said = {"id": call.id, "name": call.name, "arguments": call.text if whole else ""}
                    chunks.append(self._chunk({"tool_calls": [{"index": call.n, **_call(said)}]}))
                case called.Delta(call, text) if call.n != begun:
                    chunks.append(self._chunk({"tool_calls": [{"index": call.n, "function": {"arguments": text}}]}))
                case called.End(_, stands):
                    if not stands:
                        self.ended = True
                        return [*chunks, self._interrupted()]
        return chunks

    def _handed_out(self, calls: Sequence[dict[str, Any]], result: dict[str, Any]) -> list[Chunk]:
        """Write what the provider wants back with what the model said: it is known whole only at the end."""
        empty = {"arguments": ""}  # some readers look for it in every piece
        parts = [{"index": n, "function": empty, **held} for n, call in enumerate(calls) if (held := signed(call))]
        held = handed_out(result.get("data") or {})
        held.pop("reasoning_content", None)  # streamed
        delta = held | ({"tool_calls": parts} if parts else {})
        return [self._chunk(delta)] if delta else []

    def _interrupted(self) -> Chunk:
        task_id = self._task.task_id
        message = f"The run was taken over and says something else now. Its answer will be that of task {task_id}."
        return openai_problem.body(Problem(500, "stream_interrupted", message))

    def _end(self) -> list[Chunk]:
        problem = problem_of(self._task, completion_id(self._task))
        if problem is not None:
            return [openai_problem.body(problem)]
        result = settle.result_of(self._task) or {"response": ""}
        self.ended = False
        self._field = "refusal" if is_refused(result) else "content"
        operations, piece = self._segments.answered(result["response"])
        chunks = self._carry_out(operations)
        if self.ended:  # broken off
            return chunks
        if piece is None and result["response"]:
            chunks += self._carry_out([Begin(0), Delta(0, result["response"])])
        calls = calls_of(self._task, result)
        chunks += self._show_calls(self._called.answered(calls), whole=True)
        if self.ended:
            return chunks
        self.ended = True
        chunks += self._handed_out(calls, result)
        logprobs = (result.get("data") or {}).get("logprobs")
        shown = {"content": logprobs, "refusal": None} if logprobs else None
        chunks.append(self._chunk({}, _finish(self._task, result), shown))
        if self._include_usage:
            usage = _usage(self._task, result)
            chunks.append({**_frame(self._task, "chat.completion.chunk"), "choices": [], "usage": usage})
        return chunks
