"""A span, as `tree` makes it and `encode` sends it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

type Value = str | bool | int | float | Sequence[str]


@dataclass(frozen=True, slots=True)
class Note:
    """Something that happened within a span; ``at`` is epoch seconds."""

    name: str
    at: float
    attributes: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A part of a run. Times are epoch seconds; ids are hexadecimal, 16 digits, and 32 of a trace."""

    trace_id: str
    span_id: str
    parent: str = ""
    name: str
    start: float
    end: float
    client: bool = False
    """Whether it is a request to another service."""
    attributes: Mapping[str, Value] = field(default_factory=dict)
    error: str | None = None
    """What went wrong; None: nothing did."""
    notes: Sequence[Note] = ()
    links: Sequence[tuple[str, str]] = ()
    """Spans of other traces that it has to do with: trace, span."""
