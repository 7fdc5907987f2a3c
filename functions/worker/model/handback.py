"""What else an assistant's message holds, put together from its pieces so that it goes back as it came.

Gemini wants its ``thought_signature`` back with the tool call it signed, DeepSeek the ``reasoning_content`` of a turn
with tool calls, Anthropic's models behind gateways their ``thinking_blocks`` or ``reasoning_details``. Nothing of
that is understood here: texts are joined, lists are continued, and the rest stands as it was said last.
"""

import json
from typing import Any

JOINED = frozenset({"text", "summary", "thinking", "content", "reasoning", "reasoning_content", "data", "arguments"})
"""Keys whose texts come in pieces; any other text (a signature, a type, a format) is whole."""


def clean(value: Any) -> Any:
    """Return a value that can be stored: without half characters and without NaN, which JSON does not know."""
    encoded = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
    return json.loads(encoded, parse_constant=lambda _: None)


def merge(old: Any, new: Any, key: str = "reasoning") -> Any:
    """Return what stood so far, continued by a piece."""
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
