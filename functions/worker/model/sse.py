"""Puts a chat completion together from the bytes of its server-sent events, or of its one JSON object.

Plain dictionaries instead of the client's models: a run reads a hundred chunks and needs four fields of each. Lines
end at a line feed only: readers of text lines also split at U+2028 and U+0085, which JSON may hold as they are.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from shared import storable
from shared.retry import ModelError
from shared.tasks.model import Usage
from sluice.types import ModelReply, ToolCall

if TYPE_CHECKING:
    from collections.abc import Callable

    from functions.worker.model.progress import Progress

REPLY_CHARACTERS = 4_000_000
"""Longest reply taken, text and tool arguments together; far above any model's output limit."""
LINE_BYTES = 4_000_000
"""Longest line of the stream."""
MAX_TOOL_CALLS = 128
"""Tool calls of one reply; OpenAI lets a request define as many tools."""
MAX_TOKENS = 100_000_000
"""A provider that reports more tokens than this for one call is not believed."""


class Ears(NamedTuple):
    """Who is told of the pieces of a reply as they come."""

    text: Callable[[str], None]
    reasoning: Callable[[str], None]
    tool: Callable[[str], None]


def _nothing(_: str) -> None:
    """Take no notice."""


DEAF = Ears(_nothing, _nothing, _nothing)
"""Nobody."""


class Assembler:
    """Collects the chunks of one reply."""

    _part = "delta"
    """Under which name a choice holds its text and tool calls."""
    _unseen = False
    """Whether a reply that cannot be read may have been written, and is billed, without anything of it being seen."""

    def __init__(self, model: str, ears: Ears, progress: Progress) -> None:
        """Start empty; ``progress`` is what is charged by if the provider reports no usage."""
        self._model = model
        self._ears = ears
        self._progress = progress
        self._rest = b""
        self._text: list[str] = []
        self._size = 0
        self._tools: dict[int, list[str]] = {}
        self._usage: Any = None
        self._finish: str | None = None
        self.done = False
        """The stream said that it is complete."""

    @property
    def finished(self) -> bool:
        """Whether the model has ended its reply, though the stream may not have."""
        return self._finish is not None

    def feed(self, data: bytes) -> None:
        """Take some bytes of the event stream.

        Raises:
            ModelError: they are no chunks, too many, or the provider reports an error in the middle.
        """
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._line(line)
        if len(self._rest) > LINE_BYTES:
            raise ModelError("the provider sent an endless line", status=200)

    def _line(self, line: bytes) -> None:
        if self.done or not line.startswith(b"data:"):
            return
        data = line[5:].strip()
        if data == b"[DONE]":
            self.done = True
            return
        self._read(data)

    def _read(self, data: bytes) -> None:
        try:
            chunk = json.loads(data)
            if error := chunk.get("error"):
                raise _reported(error)
            self._take(chunk)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            message = f"the provider sent a malformed chunk: {type(error).__name__}"
            raise ModelError(message, status=200, unseen=self._unseen) from error

    def _take(self, chunk: dict[str, Any]) -> None:
        if model := chunk.get("model"):
            self._model = storable.text(str(model))
        self._usage = chunk.get("usage") or self._usage
        for choice in chunk["choices"]:
            if finish := choice.get("finish_reason"):
                self._finish = storable.text(str(finish))
            delta = choice.get(self._part)
            if not delta:
                continue
            # A model that refuses says why in a field of its own; to the user it is the answer.
            text = delta.get("content") or delta.get("refusal")
            if text:
                text = storable.text(text)
                self._grow(len(text))
                self._text.append(text)
                self._ears.text(text)
            if thought := delta.get("reasoning_content") or delta.get("reasoning"):
                thought = storable.text(thought)
                self._grow(len(thought))
                self._ears.reasoning(thought)
            for call in delta.get("tool_calls") or ():
                self._take_call(call)

    def _take_call(self, call: dict[str, Any]) -> None:
        index = call.get("index")
        if not isinstance(index, int):  # some providers number nothing and send each call whole
            index = len(self._tools)
        parts = self._tools.setdefault(index, ["", "", ""])
        if len(self._tools) > MAX_TOOL_CALLS:
            message = "the reply calls too many tools"
            raise ModelError(message, status=200, code="reply_too_long", unseen=self._unseen)
        function = call.get("function") or {}
        for n, piece in enumerate((call.get("id"), function.get("name"), function.get("arguments"))):
            if piece:
                self._grow(len(piece))
                parts[n] += piece
                if n:
                    self._ears.tool(storable.text(piece))

    def _grow(self, characters: int) -> None:
        self._size += characters
        if self._size > REPLY_CHARACTERS:
            raise ModelError("the reply is too long", status=200, code="reply_too_long", unseen=self._unseen)

    def reply(self) -> ModelReply:
        """Return the whole reply.

        Raises:
            ModelError: the stream ended early, or a content filter ended it.
        """
        if self._rest:  # the last line may lack its end
            self._line(self._rest)
            self._rest = b""
        if self._finish is None:
            raise ModelError("the reply was cut off", status=200, code="truncated_reply", unseen=self._unseen)
        if self._finish == "content_filter":
            raise ModelError("the provider's content filter ended the reply", status=200, code="content_filter")
        text = "".join(self._text)
        calls = [
            ToolCall(storable.text(parts[0]), storable.text(parts[1]), storable.text(parts[2]))
            for _, parts in sorted(self._tools.items())
        ]
        usage = _reported_usage(self._usage)
        estimated = usage is None
        if usage is None:
            usage = Usage(self._progress.input_tokens, self._progress.output_tokens)
        return ModelReply(text, calls, usage, self._model, self._finish, estimated)


class WholeReply(Assembler):
    """Reads a reply that was not streamed: one JSON object, of ``LINE_BYTES`` at most."""

    _part = "message"
    _unseen = True

    @property
    def finished(self) -> bool:
        """Whether the object is whole."""
        try:
            json.loads(self._rest)
        except (ValueError, RecursionError):
            return False
        return True

    def feed(self, data: bytes) -> None:
        """Take some bytes of it.

        Raises:
            ModelError: they are too many.
        """
        self._rest += data
        if len(self._rest) > LINE_BYTES:
            raise ModelError("the reply is too long", status=200, code="reply_too_long", unseen=True)

    def reply(self) -> ModelReply:
        """Return the reply.

        Raises:
            ModelError: it is none, reports an error, or a content filter ended it.
        """
        data, self._rest = self._rest, b""
        if data:
            self._read(data)
        return super().reply()


def _reported(error: Any) -> ModelError:
    """Make an error event an error; some providers send only a text, or a number as the code."""
    if not isinstance(error, dict):
        return ModelError(str(error), status=200)
    code = error.get("code") or error.get("type")
    return ModelError(
        str(error.get("message") or "the provider reported an error in the stream"),
        status=200,
        code=str(code) if code else None,
    )


def _reported_usage(usage: Any) -> Usage | None:
    """Read the provider's token counts; None when they cannot be believed."""
    if not isinstance(usage, dict):
        return None
    read, written = usage.get("prompt_tokens", -1), usage.get("completion_tokens", -1)
    return Usage(read, written) if _believable(read) and _believable(written) else None


def _believable(count: Any) -> bool:
    return type(count) is int and 0 <= count <= MAX_TOKENS
