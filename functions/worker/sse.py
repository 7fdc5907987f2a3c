"""Puts a streamed chat completion together from its server-sent events.

Plain dictionaries instead of the client's models: a run reads a hundred chunks and needs four fields of each.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from functions.worker.types import ModelReply, ToolCall
from shared.retry import ModelError
from shared.tasks.model import Usage

if TYPE_CHECKING:
    from collections.abc import Callable

REPLY_CHARACTERS = 4_000_000
"""Longest reply taken; far above any model's output limit."""


class Assembler:
    """Collects the chunks of one reply."""

    def __init__(self, model: str, on_delta: Callable[[str], None]) -> None:
        """Start empty; ``on_delta`` is told each piece of text."""
        self._model = model
        self._on_delta = on_delta
        self._text: list[str] = []
        self._size = 0
        self._tools: dict[int, list[str]] = {}
        self._usage: dict[str, Any] | None = None
        self._finish: str | None = None
        self.done = False

    def line(self, line: str) -> None:
        """Take one line of the event stream.

        Raises:
            ModelError: it is no chunk, or the provider reports an error in the middle.
        """
        if not line.startswith("data:"):
            return
        data = line[5:].strip()
        if data == "[DONE]":
            self.done = True
            return
        try:
            chunk = json.loads(data)
            if "error" in chunk:
                error = chunk["error"] or {}
                raise ModelError(str(error.get("message", "error in the stream")), status=200, code=error.get("code"))
            self._take(chunk)
        except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
            raise ModelError(f"the provider sent a malformed chunk: {type(error).__name__}", status=200) from error

    def _take(self, chunk: dict[str, Any]) -> None:
        self._model = chunk.get("model") or self._model
        self._usage = chunk.get("usage") or self._usage
        for choice in chunk["choices"]:
            self._finish = choice.get("finish_reason") or self._finish
            delta = choice.get("delta") or {}
            text = delta.get("content")
            if text:
                self._size += len(text)
                if self._size > REPLY_CHARACTERS:
                    raise ModelError("the reply is too long", status=400, code="reply_too_long")
                self._text.append(text)
                self._on_delta(text)
            for call in delta.get("tool_calls") or ():
                parts = self._tools.setdefault(call["index"], ["", "", ""])
                function = call.get("function") or {}
                parts[0] += call.get("id") or ""
                parts[1] += function.get("name") or ""
                parts[2] += function.get("arguments") or ""

    def reply(self, prompt_bytes: int) -> ModelReply:
        """Return the whole reply.

        Raises:
            ModelError: the stream ended early, or a content filter ended it.
        """
        if self._finish is None:
            raise ModelError("the reply was cut off", status=200, code="truncated_reply")
        if self._finish == "content_filter":
            raise ModelError("the provider's content filter ended the reply", status=200, code="content_filter")
        text = "".join(self._text)
        calls = [ToolCall(*parts) for _, parts in sorted(self._tools.items())]
        return ModelReply(text, calls, self._used(prompt_bytes, text, calls), self._model, self._finish)

    def _used(self, prompt_bytes: int, text: str, calls: list[ToolCall]) -> Usage:
        if self._usage is not None:
            return Usage(int(self._usage["prompt_tokens"]), int(self._usage["completion_tokens"]))
        # A provider that reports no usage is charged by size, about four bytes a token.
        written = len(text.encode()) + sum(len(call.arguments) for call in calls)
        return Usage(-(-prompt_bytes // 4), -(-written // 4))
