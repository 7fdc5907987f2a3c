"""Reads the text of a message's content, which is a string or a list of parts, and what was thought beside it."""

from typing import Any

_THOUGHTS = ("reasoning_content", "reasoning", "reasoning_text", "thinking", "thought")
"""Where providers show what a model thinks aloud; the first of them in a chunk counts."""


def texts(content: Any) -> tuple[str, str]:
    """Return the text of a message's content and what was thought in it: a string, or a list of parts.

    Raises:
        TypeError: it is neither.
    """
    if content is None or content is False or isinstance(content, str):
        return content or "", ""
    parts = [content] if isinstance(content, dict) else content
    if not isinstance(parts, list):
        raise TypeError("content")
    text, thought = "", ""
    for part in parts:
        if isinstance(part, str):
            text += part
            continue
        if not isinstance(part, dict):
            raise TypeError("content part")
        kind = str(part.get("type", "text"))
        if kind in ("thinking", "reasoning", "reasoning_text"):
            inner = part.get("thinking") or part.get("reasoning") or part.get("text") or part.get("summary")
            thought += "".join(texts(inner))
        else:
            inner = part.get("text") or part.get("refusal") or part.get("content")
            text += texts(inner)[0] if isinstance(inner, str | list) else str((inner or {}).get("value", ""))
    return text, thought


def thoughts(delta: dict[str, Any]) -> list[str]:
    """Return what a chunk shows of a model's thoughts beside the content; none is empty."""
    for name in _THOUGHTS:
        if isinstance(thought := delta.get(name), str) and thought:
            return [thought]
    details = delta.get("reasoning_details")
    items = [item for item in details if isinstance(item, dict)] if isinstance(details, list) else []
    found = (item.get("text") or item.get("summary") for item in items)
    return [thought for thought in found if isinstance(thought, str) and thought]


class Halves:
    """Joins the halves of characters that a stream was cut between.

    JSON may name a character beyond the first 65,536 by two halves, and some gateways count these as characters.
    """

    def __init__(self) -> None:
        """Start with none."""
        self.left = ""
        """A half whose other one has not come."""

    def join(self, text: str) -> str:
        """Return the next piece of a text, which is not empty, with all halves in it joined; empty if it is but one."""
        if not self.left and not "\ud800" <= text[-1] <= "\udbff":
            return text
        text = self.left + text
        self.left = text[-1] if "\ud800" <= text[-1] <= "\udbff" else ""
        whole = text[: len(text) - len(self.left)]
        return whole.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
