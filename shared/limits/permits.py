"""Words of the circuit breaker: signs, permits, states."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shared.retry import Failure


class Sign(StrEnum):
    """What a call's end says about the provider, and about whom."""

    SUCCESS = "success"
    FAILURE = "failure"
    """The provider failed in a way that a prompt may have caused: 5xx, no answer in time, a connection closed."""
    UNREACHABLE = "unreachable"
    """It could not even be asked: connection refused, no such host. No prompt can cause that."""
    FATAL = "fatal"
    """No call can succeed until somebody acts: the key is refused or the account is out of money."""
    NEUTRAL = "neutral"
    """Says nothing: our own mistake or limit, our own full pool, a malformed reply, a cancelled run, a rate limit."""


NONE, OWN, ALL = 0, 1, 2
"""Which breaker: none, the owner's own, the one for all owners."""


@dataclass(frozen=True, slots=True)
class Permit:
    """Leave to make one call, to be handed back with its sign; or how long to stay away."""

    allowed: bool
    retry_after_s: float
    scope: int
    """Of which breaker it is the probe; of a refusal, which one refuses."""
    name: str
    started_us: int = 0
    id: str = ""
    local: bool = False
    """Given by this environment's own breaker, Valkey being away."""
    failures: int = 0
    """Calls that failed in a row until now, as far as they concern this owner; the breaker is still closed."""
    owner: str = ""

    @property
    def probe(self) -> bool:
        """Whether a breaker learns from this call whether it may close."""
        return self.allowed and self.scope != NONE

    @property
    def for_all(self) -> bool:
        """Whether it probes, or is refused, on behalf of all owners, and not for its own's sake."""
        return self.scope == ALL


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
    owner: str = ""
    """Whose own it is; empty: the one for all."""


def sign_of(failure: Failure, *, asked: bool) -> Sign:
    """Say what a failed call says about the provider; ``asked``: whether a request began to be sent to it.

    A timeout while waiting for a free connection of our own pool is not a call at all: `Sign.NEUTRAL`.
    """
    if failure.opens_breaker:
        return Sign.FATAL
    if not failure.counts_for_breaker:
        return Sign.NEUTRAL
    return Sign.FAILURE if asked else Sign.UNREACHABLE
