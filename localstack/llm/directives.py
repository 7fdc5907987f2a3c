"""Directives: what one call shall do, written into the last user message.

A directive is ``[[sim name=value flag ...]]`` anywhere in the text; several are merged, the later one wins.
Values run to the next white space; a value that starts with ``"``, ``{`` or ``[`` is JSON and may hold
spaces.

======================  =================================================================================
``key=abc``             who is counted: ``times``, ``skip`` and the statistics go by it
                        (default: a hash of the conversation)
``latency=S``           seconds from the request to the last byte; ``latency=LO-HI`` draws it evenly,
                        the same for the same key and conversation
``ttft=S``              seconds to the first token of a stream (default: a quarter of the latency)
``quick=N``             the first N calls of the key take no time
``words=N``             length of the reply in words (= tokens)
``fail=F`` or ``F,G``   the fault (`localstack.llm.faults`), or several taken in turn; ``fail=none``
                        shields the call from random faults and from those of its model name
``times=N``             the first N calls of the key fail, then it succeeds (default: it fails for ever)
``skip=N``              the first N calls of the key succeed before the faults begin
``retry_after=S``       a refusal carries ``Retry-After`` (whole seconds, rounded up)
``retry_after_ms=N``    a refusal carries ``retry-after-ms``
``hang=S``              how long a hang or stall lasts until the connection is closed (implies fail=hang)
``echo``                the reply is the message without its directives
``recall``              the reply repeats the earlier user messages of the conversation, joined by " | "
``say="some text"``     the reply is this text
``nonce``               the reply begins with the number of the call, so it differs from call to call
``tool=NAME``           first ask for this tool, answer from its result; ``tools=A,B`` one after the other
``args={...}``          the tool's arguments, or a list of them, one per tool (default: made from its schema)
``rounds=N``            so many rounds of tool calls before the answer (default: one per named tool)
``parallel=N``          so many tool calls in each round
``habit=NAME``          the way of some real provider (`localstack.llm.habits`), as often as ``times`` and ``skip`` say
======================  =================================================================================
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from localstack.llm import faults, habits

_OPENING = re.compile(r"\[\[sim(?=\s|\]\])")
_NAME = re.compile(r"[a-z_]+")
_DECODER = json.JSONDecoder()

Span = tuple[float, float]


class DirectiveError(ValueError):
    """A directive that cannot be understood; the message says what is wrong."""


@dataclass(frozen=True, slots=True)
class Directives:
    """What the directives of one message ask for; ``None`` where they say nothing. Times are seconds."""

    text: str = ""
    key: str | None = None
    latency: Span | None = None
    ttft: float | None = None
    quick: int = 0
    words: int | None = None
    fail: tuple[str, ...] = ()
    times: int | None = None
    skip: int = 0
    retry_after: float | None = None
    retry_after_ms: float | None = None
    hang: float | None = None
    echo: bool = False
    recall: bool = False
    say: str | None = None
    nonce: bool = False
    tools: tuple[str, ...] = ()
    args: tuple[Mapping[str, Any], ...] = ()
    rounds: int | None = None
    parallel: int = 1
    habit: str | None = None
    given: frozenset[str] = field(default_factory=frozenset)


def number(value: object, low: float, high: float) -> float:
    """Reads a finite number between two bounds.

    Raises:
        ValueError: it is none, or out of bounds.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("expected a number")
    result = float(value)
    if not math.isfinite(result) or not low <= result <= high:
        raise ValueError(f"expected a number from {low:g} to {high:g}")
    return result


def span(value: object) -> Span:
    """Reads a latency: seconds, ``"LO-HI"`` or ``[LO, HI]``.

    Raises:
        ValueError: it is neither.
    """
    if isinstance(value, list) and len(value) == 2:
        low, high = (number(part, 0, 86_400) for part in value)
    elif isinstance(value, str) and "-" in value[1:]:
        low, high = (number(part, 0, 86_400) for part in value.split("-", 1))
    else:
        low = high = number(value, 0, 86_400)
    if low > high:
        raise ValueError("expected LO-HI with LO not above HI")
    return low, high


def whole(low: int, high: int) -> Callable[[object], int]:
    """A reader of integers between two bounds."""

    def read(value: object) -> int:
        result = number(value, low, high)
        if not result.is_integer():
            raise ValueError("expected a whole number")
        return int(result)

    return read


def _seconds(value: object) -> float:
    return number(value, 0, 86_400)


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("expected text")
    return value


def _flag(value: object) -> bool:
    if value in (True, "1", "true"):
        return True
    if value in (False, "0", "false"):
        return False
    raise ValueError("expected true or false")


def _names(value: object) -> tuple[str, ...]:
    if not isinstance(value, str) or not all(names := tuple(value.split(","))):
        raise ValueError("expected names separated by commas")
    return names


def _faults(value: object) -> tuple[str, ...]:
    names = _names(value)
    for name in names:
        if name != "none" and not faults.is_known(name):
            raise ValueError(f"unknown fault {name!r}")
    return names


def _args(value: object) -> tuple[Mapping[str, Any], ...]:
    items = value if isinstance(value, list) else [value]
    if not items or not all(isinstance(item, dict) for item in items):
        raise ValueError("expected a JSON object, or a list of them")
    return tuple(items)


def _habit(value: object) -> str:
    if not isinstance(value, str) or value not in habits.HABITS:
        raise ValueError(f"unknown habit {value!r}")
    return value


_READERS: Mapping[str, tuple[str, Callable[[object], object]]] = {
    "key": ("key", _text),
    "latency": ("latency", span),
    "ttft": ("ttft", _seconds),
    "quick": ("quick", whole(0, 1_000_000)),
    "words": ("words", whole(1, 100_000)),
    "fail": ("fail", _faults),
    "times": ("times", whole(0, 1_000_000)),
    "skip": ("skip", whole(0, 1_000_000)),
    "retry_after": ("retry_after", _seconds),
    "retry_after_ms": ("retry_after_ms", lambda value: number(value, 0, 86_400_000)),
    "hang": ("hang", _seconds),
    "echo": ("echo", _flag),
    "recall": ("recall", _flag),
    "say": ("say", _text),
    "nonce": ("nonce", _flag),
    "tool": ("tools", _names),
    "tools": ("tools", _names),
    "args": ("args", _args),
    "rounds": ("rounds", whole(1, 1_000)),
    "parallel": ("parallel", whole(1, 32)),
    "habit": ("habit", _habit),
}


def parse(text: str) -> Directives:
    """Reads the directives of a message; ``text`` of the answer is the message without them.

    Raises:
        DirectiveError: a directive is not closed, or has an unknown name or a bad value.
    """
    if "[[sim" not in text:
        return Directives(text=text)
    found: dict[str, Any] = {}
    kept: list[str] = []
    position = 0
    while opening := _OPENING.search(text, position):
        kept.append(text[position : opening.start()].rstrip(" "))
        position = _read_block(text, opening.end(), found)
    kept.append(text[position:])
    if "hang" in found and "fail" not in found:
        found["fail"] = ("hang",)
    return Directives(text="".join(kept).strip(), given=frozenset(found), **found)


def _read_block(text: str, position: int, found: dict[str, Any]) -> int:
    while True:
        while position < len(text) and text[position].isspace():
            position += 1
        if text.startswith("]]", position):
            return position + 2
        name = _NAME.match(text, position)
        if name is None:
            where = text[position : position + 20]
            raise DirectiveError(f"directive not closed by ]]{f', or no name at {where!r}' if where else ''}")
        field_and_reader = _READERS.get(name[0])
        if field_and_reader is None:
            raise DirectiveError(f"unknown directive {name[0]!r}")
        value: object = True
        position = name.end()
        if text.startswith("=", position):
            value, position = _read_value(text, position + 1, name[0])
        try:
            found[field_and_reader[0]] = field_and_reader[1](value)
        except ValueError as error:
            raise DirectiveError(f"directive {name[0]!r}: {error}") from None


def _read_value(text: str, position: int, name: str) -> tuple[object, int]:
    if text[position : position + 1] in ('"', "{", "["):
        try:
            return _DECODER.raw_decode(text, position)
        except (ValueError, RecursionError):
            raise DirectiveError(f"directive {name!r}: its JSON value cannot be read") from None
    end = position
    while end < len(text) and not text[end].isspace() and not text.startswith("]]", end):
        end += 1
    return text[position:end], end
