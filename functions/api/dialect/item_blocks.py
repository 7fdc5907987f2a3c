"""Items of a streamed response, and the events that each of them gives: it is announced, goes on, and ends once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from functions.api.dialect.response import call_item, message_item, refusal_part, text_part

if TYPE_CHECKING:
    from functions.api.dialect.called import Shown

    type Block = dict[str, Any]


@dataclass(slots=True)
class MessageItem:
    """An item of text, or of a refusal, at its place in the output."""

    id: str
    place: int
    refused: bool = False
    text: str = ""
    ended: bool = False

    @property
    def _at(self) -> Block:
        return {"item_id": self.id, "output_index": self.place, "content_index": 0}

    def begin(self) -> list[Block]:
        """Announce it."""
        item = message_item(self.id, "in_progress", [])
        return [
            {"type": "response.output_item.added", "output_index": self.place, "item": item},
            {"type": "response.content_part.added", **self._at, "part": self._part("")},
        ]

    def _part(self, text: str) -> Block:
        return refusal_part(text) if self.refused else text_part(text)

    def go_on(self, text: str) -> Block:
        """Add some text."""
        self.text += text
        if self.refused:
            return {"type": "response.refusal.delta", **self._at, "delta": text}
        return {"type": "response.output_text.delta", **self._at, "delta": text, "logprobs": []}

    def end(self, status: str, logprobs: Sequence[Any]) -> list[Block]:
        """End it; nothing if it has ended."""
        if self.ended:
            return []
        self.ended = True
        at, part = self._at, self._part(self.text)
        if self.refused:
            done = {"type": "response.refusal.done", **at, "refusal": self.text}
        else:
            part["logprobs"] = list(logprobs)
            done = {"type": "response.output_text.done", **at, "text": self.text, "logprobs": part["logprobs"]}
        item = message_item(self.id, status, [part])
        return [
            done,
            {"type": "response.content_part.done", **at, "part": part},
            {"type": "response.output_item.done", "output_index": self.place, "item": item},
        ]


@dataclass(frozen=True, slots=True)
class CallItem:
    """An item of a tool call at its place in the output."""

    id: str
    place: int

    @property
    def _at(self) -> Block:
        return {"item_id": self.id, "output_index": self.place}

    def begin(self, call: Shown) -> Block:
        """Announce it."""
        item = call_item(self.id, {"id": call.id, "name": call.name, "arguments": ""}, "in_progress")
        return {"type": "response.output_item.added", "output_index": self.place, "item": item}

    def go_on(self, arguments: str) -> Block:
        """Add some of its arguments."""
        return {"type": "response.function_call_arguments.delta", **self._at, "delta": arguments}

    def end(self, call: Shown, status: str) -> list[Block]:
        """End it."""
        item = call_item(self.id, {"id": call.id, "name": call.name, "arguments": call.text}, status)
        done = "response.function_call_arguments.done"
        return [
            {"type": done, **self._at, "name": call.name, "arguments": call.text},
            {"type": "response.output_item.done", "output_index": self.place, "item": item},
        ]
