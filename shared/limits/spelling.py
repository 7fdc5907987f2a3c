"""By which names a model may be known: its own, and what gateways put around it.

``openai/gpt-4o-mini``, ``azure/eu/gpt-4o``, ``models/gemini-2.5-flash``, ``claude-sonnet-4@20250514``,
``us.anthropic.claude-sonnet-4-5-20250929-v1:0``, ``deepseek/deepseek-chat:free``.
"""

import re
from collections.abc import Iterator
from functools import lru_cache

NAMES_KEPT = 1_000
"""Names that are remembered; clients may invent any number of them."""

_DATE = re.compile(r"-(?:\d{4}-\d{2}-\d{2}|\d{8}|\d{4}|latest|(?:preview|exp)-\d{2}-\d{2}|00\d|high)$")
_REGION = re.compile(r"^(?:us|eu|apac|ap|jp|au|ca|global|us-gov)\.(?=[a-z0-9-]+\.)")
_VENDOR = re.compile(r"^[a-z][a-z0-9-]*\.(?=[a-z])")
_VERSION = re.compile(r"-v\d+@\d{8}$|(?:-v\d+)?:\d+(?::[a-z0-9]+)?$|-v\d+$|@[a-z0-9-]+$|:[a-z][a-z0-9.-]*$")
_POINT = re.compile(r"(?<=\d)\.(?=\d)")


def undated(model: str) -> str:
    """Strip a snapshot's date: ``gpt-4o-mini-2024-07-18`` is ``gpt-4o-mini``, ``gpt-4-0613`` ``gpt-4``."""
    return _DATE.sub("", model)


@lru_cache(NAMES_KEPT)
def spellings(model: str) -> tuple[str, ...]:
    """Return the names that a model may be known by, in small letters, the most exact first."""
    return tuple(dict.fromkeys(_spelled(model.strip().lower())))


def _spelled(name: str) -> Iterator[str]:
    if name.startswith("ft:"):  # a fine-tuned model, ft:BASE:organization:name:id; it need not cost what its base does
        yield name
        base = ":".join(name.split(":")[:2])
        yield from (base, undated(base))
        return
    parts = name.split("/")
    yield from ("/".join(parts[n:]) for n in range(len(parts)))
    last = parts[-1]
    placed = _REGION.sub("", last)
    for tail in (last, placed, _VENDOR.sub("", placed)):
        plain = _VERSION.sub("", tail)
        for form in (tail, plain, undated(tail), undated(plain)):
            yield form
            yield _POINT.sub("-", form)
