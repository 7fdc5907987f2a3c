"""How the simulator counts tokens: one token for each run of characters that are not white space.

A real tokenizer would need a vocabulary file and give other numbers for each model. Words are
deterministic, can be checked by eye, and concatenate back to the very text, which is what streaming needs.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

_PIECE = re.compile(r"\s*\S+")


def split(text: str) -> list[str]:
    """Cuts a text into its tokens; their concatenation is the text."""
    pieces = _PIECE.findall(text)
    if not pieces:
        return [text] if text else []
    tail = text[sum(map(len, pieces)) :]
    if tail:
        pieces[-1] += tail
    return pieces


def count(text: str) -> int:
    """Number of tokens of a text."""
    return len(text.split())


def text_of(content: object) -> str:
    """The text of a message's ``content``, which is a string, a list of parts, or null."""
    if isinstance(content, str):
        return content
    if isinstance(content, Sequence):
        parts = [part["text"] for part in content if isinstance(part, Mapping) and isinstance(part.get("text"), str)]
        return "\n".join(parts)
    return ""


def count_prompt(messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]) -> int:
    """Tokens of a request: words of its messages, of their tool calls, of the offered tools as JSON."""
    total = 0
    for message in messages:
        total += count(text_of(message.get("content")))
        for call in message.get("tool_calls") or ():
            total += 1 + count(call["function"]["arguments"])
    for tool in tools:
        total += count(json.dumps(tool))
    return max(total, 1)
