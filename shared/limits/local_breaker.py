"""The circuit breaker in one environment's memory: the rules of ``lua/breaker_*.lua`` without Valkey."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from shared.limits.permits import Outcome, Permit, State

NAMES = 1_000
"""Breakers kept; when there are more, closed ones go."""


@dataclass(slots=True)
class _Breaker:
    failures: int = 0
    until: int | None = None
    """Open before, half-open from then on; None: closed."""
    changed: int = -1
    probe: str | None = None
    lease: int = 0


class LocalBreaker:
    """Breakers by name. Times are microseconds of one steady clock, given by the caller."""

    def __init__(self, failures: int, open_us: int, lease_us: int) -> None:
        """Set after how many failures it opens, for how long, and how long a probe may take."""
        self._threshold = failures
        self._open_us = open_us
        self._lease_us = lease_us
        self._lock = threading.Lock()
        self._breakers: dict[str, _Breaker] = {}

    def before_call(self, name: str, now: int, permit_id: str) -> Permit:
        """Give leave for one call, or refuse."""
        with self._lock:
            b = self._breakers.get(name)
            if b is None or b.until is None:
                return Permit(True, 0.0, False, name, now, local=True, failures=b.failures if b else 0)
            if b.until > now:
                return Permit(False, (b.until - now) / 1e6, False, name, local=True)
            if b.probe is not None and b.lease > now:
                return Permit(False, min(b.lease - now, self._open_us) / 1e6, False, name, local=True)
            b.probe, b.lease = permit_id, now + self._lease_us
            return Permit(True, 0.0, True, name, now, permit_id, local=True)

    def record(self, permit: Permit, outcome: Outcome, now: int) -> None:
        """Take in how a permitted call ended."""
        with self._lock:
            b = self._breakers.get(permit.name)
            if b is None:
                if outcome in (Outcome.SUCCESS, Outcome.NEUTRAL):
                    return
                self._make_room()
                b = self._breakers[permit.name] = _Breaker()
            if permit.probe:
                self._probed(b, permit, outcome, now)
            elif b.until is None and permit.started_us > b.changed:
                if outcome is Outcome.SUCCESS:
                    b.failures = 0
                elif outcome is not Outcome.NEUTRAL:
                    b.failures += 1
                    if outcome is Outcome.FATAL or b.failures >= self._threshold:
                        b.until, b.changed, b.failures = now + self._open_us, now, 0

    def states(self, now: int) -> list[State]:
        """Return all breakers that have seen a failure."""
        with self._lock:
            return [_state(name, b, now) for name, b in self._breakers.items()]

    def _probed(self, b: _Breaker, permit: Permit, outcome: Outcome, now: int) -> None:
        if b.probe != permit.id:
            return  # its lease lapsed and another call probes
        b.probe = None
        if outcome is Outcome.SUCCESS:
            b.until, b.changed, b.failures = None, now, 0
        elif outcome is not Outcome.NEUTRAL:
            b.until, b.changed = now + self._open_us, now

    def _make_room(self) -> None:
        if len(self._breakers) >= NAMES:
            kept = {name: b for name, b in self._breakers.items() if b.until is not None}
            self._breakers = kept if len(kept) < NAMES else {}


def _state(name: str, b: _Breaker, now: int) -> State:
    if b.until is None:
        return State(name, "closed", b.failures, 0.0)
    left = (b.until - now) / 1e6
    return State(name, "open" if left > 0 else "half_open", b.failures, max(0.0, left), max(0.0, -left))
