"""Choices of a reply as providers number and pack them, and why one says that it has ended."""

from collections.abc import Callable
from typing import Any

from functions.worker.model import finish as ends
from functions.worker.model.toolcalls import ToolCalls


class Aside:
    """What calls tools in choices that are not the one which is read.

    Some split one reply into several choices: the text is in the first, the calls are in the next (Copilot's of
    Anthropic's models). They count only if the reply was to call a tool, and calls none.
    """

    def __init__(self, grow: Callable[[str], None]) -> None:
        """Start empty; ``grow`` is told each piece, as `ToolCalls` says."""
        self.calls = ToolCalls(grow)
        self.finish: str | None = None

    def take(self, choice: dict[str, Any]) -> None:
        """Take another choice of a chunk."""
        inner = choice.get("delta") or choice.get("message")
        for call in (inner.get("tool_calls") if isinstance(inner, dict) else None) or ():
            self.calls.take(call)
        self.finish = ends.known(reason_of(choice)) or self.finish


def reason_of(choice: dict[str, Any]) -> Any:
    """Return why a choice says that it has ended, wherever it does."""
    if reason := choice.get("finish_reason") or choice.get("finishReason"):
        return reason
    delta = choice.get("delta")
    if isinstance(delta, dict) and (reason := delta.get("finish_reason")):
        return reason
    if "finish_reason" not in choice and isinstance(stop := choice.get("stop_reason"), str):
        return stop if ends.known(stop) in ends.KINDS else None  # elsewhere it is the word that ended the reply
    return None


def unpacked(chunk: dict[str, Any]) -> dict[str, Any] | None:
    """Return the chunk, or the whole answer, that some gateways pack into an envelope of theirs."""
    inner = next((chunk[name] for name in ("data", "result", "response", "output") if name in chunk), None)
    return inner if isinstance(inner, dict) and "choices" in inner else None


_PLAIN = frozenset({"id", "object", "created", "model", "choices", "usage", "system_fingerprint", "service_tier"})
_PLAIN_CHOICE = frozenset({"index", "delta", "finish_reason", "logprobs"})


def plain_text(chunk: dict[str, Any]) -> str | None:
    """Return the text of a chunk that holds nothing else, as nearly all of a stream do; None: look at all of it."""
    choices = chunk.get("choices")
    if type(choices) is not list or len(choices) != 1 or chunk.get("usage") is not None or not _PLAIN.issuperset(chunk):
        return None
    choice = choices[0]
    if type(choice) is not dict or not _PLAIN_CHOICE.issuperset(choice) or chunk.get("object") == "error":
        return None
    if choice.get("finish_reason") or choice.get("index") or choice.get("logprobs"):
        return None
    delta = choice.get("delta")
    text = delta.get("content") if type(delta) is dict and len(delta) == 1 else None
    return text if type(text) is str and text else None
