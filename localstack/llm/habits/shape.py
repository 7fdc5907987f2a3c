"""What a habit is made of, and the pieces that its table is written with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class Habit:
    """One habit. ``source`` says where it was seen."""

    source: str
    status: int = 200
    body: Any = None
    """An answer in one piece: JSON, or text as it is."""
    events: Sequence[object] | None = None
    """A stream: each event's data, or its text as it is sent."""
    headers: Mapping[str, str] = field(default_factory=dict)
    when: str | None = None
    """Only requests that have this meet it; see `habits.answer`."""
    redirect: str | None = None
    """Where to; ``PATH`` stands for the path that was asked."""
    done: bool = True
    """Whether a stream ends with ``[DONE]``."""
    cut: bool = False
    """Whether the connection ends in the middle."""


def chunk(delta: Any = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    """Write a chunk of a stream."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "model": "m",
        "choices": [{"index": 0, "delta": delta or {}, "finish_reason": finish}],
        **more,
    }


def text(content: str = "Hello there.", **more: Any) -> dict[str, Any]:
    """Write a chunk with text."""
    return chunk({"content": content}, **more)


def call(name: str = "add", arguments: Any = '{"a": 1}', **more: Any) -> dict[str, Any]:
    """Write one entry of ``tool_calls``."""
    return {"type": "function", "function": {"name": name, "arguments": arguments}, **more}


def calls(*entries: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    """Write a chunk with tool calls."""
    return chunk({"tool_calls": list(entries)}, finish)


STOP = chunk({}, "stop")
TOOLS = chunk({}, "tool_calls")


def usage(read: int = 10, written: int = 4, **more: int) -> dict[str, Any]:
    """Write a chunk that holds the usage alone."""
    return {"id": "chatcmpl-1", "choices": [], "usage": {"prompt_tokens": read, "completion_tokens": written, **more}}
