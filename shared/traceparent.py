"""A run's place in a trace: W3C Trace Context in and out (https://www.w3.org/TR/trace-context/).

The ids of a run's spans follow from the run's own id, so that whoever tells of it twice tells of the same spans, and a
header that left hours ago fits the spans that are exported at the end (docs/traces.md).
"""

import hashlib
import re
from contextvars import ContextVar
from typing import NamedTuple

from shared.settings import settings
from shared.tasks.model import Task

HEADER = "traceparent"
RUN, STEP = "run", "step"
"""What a span is of: a whole run, or one of its steps, by name and number."""
SAMPLED = 1
"""The flag by which a caller says that the trace is recorded."""
_FORM = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")

INCOMING: ContextVar[str | None] = ContextVar("traceparent_in", default=None)
"""What came with the request that is being served; None: nothing that can be read."""
OUTGOING: ContextVar[str | None] = ContextVar("traceparent_out", default=None)
"""What goes out with requests that the present step of a run makes."""


class Place(NamedTuple):
    """Where spans stand."""

    trace_id: str
    """32 hexadecimal digits."""
    parent: str
    """Span that they belong below, 16 hexadecimal digits; empty: none."""
    sampled: bool
    """Whether the trace is recorded."""


def parse(text: str | None) -> Place | None:
    """Read a header; None where it is none: the standard wants a new trace begun then."""
    found = _FORM.fullmatch((text or "").strip())
    if found is None:
        return None
    version, trace_id, parent, flags, more = found.groups()
    if version == "ff" or (version == "00" and more) or not trace_id.strip("0") or not parent.strip("0"):
        return None
    return Place(trace_id, parent, bool(int(flags, 16) & SAMPLED))


def of_task(task: Task) -> Place:
    """Return where a run's span stands: below whoever submitted it, or at the top of a trace of its own."""
    given = parse(task.params.get(HEADER))
    return given if given is not None else Place(_digest("trace", task.task_id)[:32], "", True)


def span_id(task_id: str, kind: str, *which: str | int) -> str:
    """Return the id of a span of a run."""
    return _digest(kind, task_id, *map(str, which))[:16]


def outgoing(task: Task, kind: str = RUN, *which: str | int) -> str | None:
    """Return the header that names a span of a run as the parent; None where the run is part of no trace.

    Where nothing is exported the run is no part of the trace itself, and passes on what it was given.
    """
    given: str | None = task.params.get(HEADER)
    if not settings().otlp_endpoint:
        return given
    place = of_task(task)
    return f"00-{place.trace_id}-{span_id(task.task_id, kind, *which)}-{SAMPLED if place.sampled else 0:02x}"


def exported(task: Task) -> bool:
    """Tell whether an ended run is to be exported: there is a collector, and its caller records the trace."""
    return bool(settings().otlp_endpoint and settings().queue_url_webhook) and of_task(task).sampled


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode("utf-8", "replace")).hexdigest()
