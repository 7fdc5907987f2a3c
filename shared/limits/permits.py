"""Words of the circuit breaker: outcomes, permits, states."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """What a call's end says about the provider."""

    SUCCESS = "success"
    FAILURE = "failure"
    """The provider is ailing: 5xx, no answer, a broken one."""
    FATAL = "fatal"
    """No call can succeed until somebody acts: the key is refused or the account is out of money."""
    NEUTRAL = "neutral"
    """Says nothing: our own mistake, our own full pool, a cancelled run, a rate limit."""


@dataclass(frozen=True, slots=True)
class Permit:
    """Leave to make one call, to be handed back with its outcome; or how long to stay away."""

    allowed: bool
    retry_after_s: float
    probe: bool
    name: str
    started_us: int = 0
    id: str = ""
    local: bool = False
    """Given by this environment's own breaker, Valkey being away."""
    failures: int = 0
    """Calls that failed in a row until now; the breaker is still closed."""


@dataclass(frozen=True, slots=True)
class State:
    """A breaker as ``/health`` and the metrics show it."""

    name: str
    state: str
    """``closed``, ``open`` or ``half_open``."""
    failures: int
    retry_after_s: float
    half_open_s: float = 0.0
    """How long it has been half-open, and nobody has probed it with success."""


def outcome_of(status: int | None, code: str | None = None) -> Outcome:
    """Classify a call by its HTTP status and the provider's error code; None: no (whole) answer came.

    A timeout while waiting for a free connection of our own pool is not a call at all: report
    `Outcome.NEUTRAL`.
    """
    if code == "insufficient_quota" or status == 401:
        return Outcome.FATAL
    if status is None or status >= 500:
        return Outcome.FAILURE
    return Outcome.SUCCESS if status < 400 else Outcome.NEUTRAL
