"""Tells the chunks of a stream that hold a piece of text and nothing else: nearly all of them."""

from typing import Any

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
