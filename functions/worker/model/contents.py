"""Reads what an assistant's message holds: its text, a string or a list of parts, what was thought, and all else."""

import json
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


JOINED = frozenset({"text", "summary", "thinking", "content", "reasoning", "reasoning_content", "data", "arguments"})
"""Keys whose texts come in pieces; any other text (a signature, a type, a format) is whole."""


def clean(value: Any) -> Any:
    """Return a value that can be stored: without half characters and without NaN, which JSON does not know."""
    encoded = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
    return json.loads(encoded, parse_constant=lambda _: None)


def merge(old: Any, new: Any, key: str = "reasoning") -> Any:
    """Return what stood so far, continued by a piece, so that it goes back to its provider as it came.

    Gemini wants its ``thought_signature`` back with the tool call it signed, DeepSeek the ``reasoning_content`` of a
    turn with tool calls, Anthropic's models behind gateways their ``thinking_blocks`` or ``reasoning_details``. Nothing
    of that is understood here: texts are joined, lists are continued, and the rest stands as it was said last.
    """
    if old is None:
        return new
    if isinstance(old, str) and isinstance(new, str):
        return old + new if key in JOINED or key.startswith("reasoning") else new
    if isinstance(old, dict) and isinstance(new, dict):
        return {**old, **{name: merge(old.get(name), value, name) for name, value in new.items() if value is not None}}
    if isinstance(old, list) and isinstance(new, list):
        return _continued(old, new)
    return new


def _continued(old: list[Any], new: list[Any]) -> list[Any]:
    """Append the items of a piece; one that has the number and kind of the last one continues it."""
    items = [*old]
    for item in new:
        last = items[-1] if items else None
        if isinstance(item, dict) and isinstance(last, dict) and _same(last, item):
            items[-1] = merge(last, item)
        else:
            items.append(item)
    return items


def _same(last: dict[str, Any], item: dict[str, Any]) -> bool:
    if "index" not in item or "encrypted" in str(item.get("type", "")):
        return False
    return all(last.get(name) == item.get(name) for name in ("index", "type") if name in item)
