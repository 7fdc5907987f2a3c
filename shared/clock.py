"""The clock that leases, deadlines and due times are written in.

Sluice uses the wall clock of the machine that writes (Lambda hosts are kept within milliseconds of UTC by NTP).
Correctness never rests on it: a late writer is fenced by ``lease_no``. A skew between two environments only has to
stay below lease minus heartbeat interval (40 s by default) for a live run not to be taken over.
"""

import time
from datetime import UTC, datetime

SKEW_SECONDS = 60.0
"""How far the clocks of two machines may differ before what comes after another looks as if it came before. Where that
matters, what is known to have come before counts, and this much is allowed for."""

_ahead = 0.0


def now() -> float:
    """Seconds since the Unix epoch."""
    return time.time() + _ahead


def set_ahead(seconds: float) -> None:
    """Let this process' clock be ahead of the machine's: tests pass hours so, instead of waiting for them."""
    global _ahead  # noqa: PLW0603 - there is one time
    _ahead = seconds


def iso(at: float) -> str:
    """Format epoch seconds as UTC, millisecond precision: ``2026-01-31T12:00:00.000Z``. Sorts as text."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def epoch(text: str) -> float:
    """Read back what ``iso`` made."""
    return datetime.fromisoformat(text).timestamp()


def day(at: float) -> str:
    """Return the UTC day of epoch seconds, ``YYYY-MM-DD``: the period of a daily budget."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d")
