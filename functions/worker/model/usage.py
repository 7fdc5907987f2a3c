"""Reads how many tokens a provider says that a call used, under the names that providers have for it."""

from __future__ import annotations

from typing import Any, NamedTuple

MAX_TOKENS = 10_000_000
"""A provider that reports more tokens than this for one call is not believed: no model has a larger context."""
MOST_BYTES = 16
"""Bytes per token above which what was seen belies the provider's count."""

_PROMPT = (
    "prompt_tokens",
    "input_tokens",
    "promptTokenCount",
    "promptTokens",
    "inputTokenCount",
    "inputTokens",
    "prompt_eval_count",
    "prompt_n",
)
_CACHED = ("cache_read_input_tokens", "cache_creation_input_tokens")
"""Anthropic counts them beside the others."""
_OUTPUT = (
    "completion_tokens", "output_tokens", "candidatesTokenCount", "outputTokenCount", "outputTokens",
    "completionTokens", "eval_count", "predicted_n", "generated_tokens",
)  # fmt: skip
_TOTAL = ("total_tokens", "totalTokenCount", "totalTokens")


_DETAILS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "cached_tokens": (
        ("prompt_tokens_details", "input_tokens_details"),
        (
            "cached_tokens", "cache_read_input_tokens", "cachedContentTokenCount", "prompt_cache_hit_tokens",
            "cacheReadInputTokens", "cacheReadInputTokenCount", "cache_n",
        ),
    ),
    "cache_write_tokens": (
        ("prompt_tokens_details", "input_tokens_details"),
        ("cache_write_tokens", "cache_creation_input_tokens", "cacheWriteInputTokens", "cacheWriteInputTokenCount"),
    ),
    "reasoning_tokens": (
        ("completion_tokens_details", "output_tokens_details"),
        ("reasoning_tokens", "thoughtsTokenCount"),
    ),
}  # fmt: skip
"""What of a call's tokens is said to be of a kind: the objects that tell of it, and its names there and beside them."""

type Details = dict[str, int]
"""By our name of a kind (a key of ``_DETAILS``): how many of the tokens read or written were of it."""


class Count(NamedTuple):
    """Tokens read and written; None where the provider says nothing that can be believed."""

    read: int | None = None
    written: int | None = None
    total: int | None = None
    """Of both together, where that is all that is said."""

    def within(self, most: int) -> Count:
        """Return this without what is more than can be."""
        return Count(*(None if one is not None and one > most else one for one in self))

    def later(self, other: Count) -> Count:
        """Return the later of two counts of one call: some count on in every chunk, and end with zeros."""
        return Count(*(_most(one, two) for one, two in zip(self, other, strict=True)))


def found(chunk: dict[str, Any]) -> Count:
    """Return what a chunk, or a whole answer, says."""
    count = Count()
    for place in places(chunk):
        count = count.later(_read(place))
    return count


def details(chunk: dict[str, Any]) -> Details:
    """Return what a chunk, or a whole answer, says of the kinds of its tokens; nothing of a kind that has none."""
    told: Details = {}
    for usage in places(chunk):
        for kind, (objects, names) in _DETAILS.items():
            for place in (*(usage.get(name) for name in objects), usage):
                number = _first(place, names) if isinstance(place, dict) else None
                if number:
                    told[kind] = max(told.get(kind, 0), number)
                    break
    return told


def believed(told: Details, read: int, written: int) -> Details:
    """Return details of a call that read and wrote so many tokens: no kind can have more than there are."""
    return {kind: min(number, written if kind == "reasoning_tokens" else read) for kind, number in told.items()}


_PLACES = frozenset(
    {
        "usage",
        "usageMetadata",
        "usage_metadata",
        "timings",
        "x_groq",
        "amazon-bedrock-invocationMetrics",
        "eval_count",
        "token_usage",
    }
)
"""What a chunk has some of that tells a usage, unless one of its choices does."""


def places(chunk: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what of a chunk, or a whole answer, tells a usage."""
    choices = chunk.get("choices")
    if _PLACES.isdisjoint(chunk):  # nearly all chunks of a stream
        return _of_choices(choices)
    groq = chunk.get("x_groq")
    places = [chunk.get("usage"), chunk.get("usageMetadata"), chunk.get("usage_metadata"), chunk.get("timings")]
    places.append(groq.get("usage") if isinstance(groq, dict) else None)
    places.append(chunk.get("amazon-bedrock-invocationMetrics"))
    if "eval_count" in chunk:
        places.append(chunk)
    places.append(chunk.get("token_usage"))
    if isinstance(listed := chunk.get("usage"), list):
        places += listed
    if isinstance(usage := chunk.get("usage"), dict):  # Cohere's own: of all tokens, and of those that are billed
        places += [usage.get("tokens"), usage.get("billed_units")]
    return [place for place in places if isinstance(place, dict)] + _of_choices(choices)


def _of_choices(choices: Any) -> list[dict[str, Any]]:
    told: list[Any] = []
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict):
            inner = choice.get("delta") or choice.get("message")
            told += [choice.get("usage"), inner.get("usage") if isinstance(inner, dict) else None]
    return [usage for usage in told if isinstance(usage, dict) and usage]


def _read(usage: dict[str, Any]) -> Count:
    read, written, total = (_first(usage, names) for names in (_PROMPT, _OUTPUT, _TOTAL))
    if not read and total is not None and written is not None and total > written:
        read = None  # what it says to be nothing is what the total holds besides
    elif read is not None:  # Gemini counts what its own tools read beside the prompt
        read += number(usage.get("toolUsePromptTokenCount")) or 0
    if read is not None:
        beside = sum(number(usage.get(name)) or 0 for name in _CACHED)
        # Some gateways have OpenAI's names and Anthropic's sums: what is more than all cannot be a part of it.
        if beside > read or ("input_tokens" in usage and "prompt_tokens" not in usage):
            read += beside
    details = usage.get("completion_tokens_details") or usage.get("output_tokens_details")
    thought = number((details if isinstance(details, dict) else usage).get("reasoning_tokens"))
    thinks = number(usage.get("thoughtsTokenCount"))
    if total is None and thinks is not None:
        written = (written or 0) + thinks
    elif thought is not None and thought > max(written or 0, (total or 0) - (read or 0)):
        written = (written or 0) + thought  # more than all of it cannot be a part of it
    if total is not None and read is not None:
        written = max(written or 0, total - read)  # with reasoning that only the total holds
    elif total is not None and written is not None:
        read = max(0, total - written)
    return Count(read, written, total if read is None else None)


def _first(usage: dict[str, Any], names: tuple[str, ...]) -> int | None:
    for name in names:
        if (value := number(usage.get(name))) is not None:
            return value
    return None


def number(value: Any) -> int | None:
    """Read a count of tokens, or of anything else; None if it is none that can be believed."""
    if isinstance(value, str) and value.isascii() and len(value) < 12 and value.removesuffix(".0").isdigit():
        value = int(value.removesuffix(".0"))
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 <= value <= MAX_TOKENS else None


def _most(one: int | None, other: int | None) -> int | None:
    return other if one is None else one if other is None else max(one, other)
