"""The circuit breaker in one environment's memory: the rules of ``lua/breaker_*.lua`` without Valkey."""

import threading
from dataclasses import dataclass, field

from shared.limits.permits import ALL, NONE, OWN, Permit, Sign, State

NAMES = 1_000
"""Breakers kept; when there are more, closed ones go."""


@dataclass(slots=True)
class _Breaker:
    fails: int = 0
    by_owner: dict[str, int] = field(default_factory=dict)
    """Failures that an owner's prompts may have caused; in the breaker for all only."""
    probed: str | None = None
    """Owner of the last failed probe."""
    until: int | None = None
    """Open before, half-open from then on; None: closed."""
    changed: int = -1
    probe: str | None = None
    lease: int = 0

    def look(self, now: int, open_us: int) -> tuple[int, bool]:
        """Return how long to wait, and whether the call would be the probe."""
        if self.until is None:
            return 0, False
        if self.until > now:
            return self.until - now, False
        if self.probe is not None and self.lease > now:
            return min(self.lease - now, open_us), False
        return 0, True

    def standing(self, started: int, permit_id: str) -> str | None:
        """Say whether a call says anything about the present: as ``probe``, as ``call``, or not."""
        if self.until is not None:
            return "probe" if permit_id and self.probe == permit_id else None
        return "call" if started > self.changed else None

    def forget(self) -> None:
        self.fails, self.by_owner, self.probed = 0, {}, None

    def open(self, now: int, open_us: int) -> None:
        self.forget()
        self.until, self.changed, self.probe = now + open_us, now, None

    def close(self, now: int) -> None:
        self.forget()
        self.until, self.changed, self.probe = None, now, None


class LocalBreaker:
    """Breakers by name and owner. Times are microseconds of one steady clock, given by the caller."""

    def __init__(self, failures: int, open_us: int, lease_us: int) -> None:
        """Set after how many failures it opens, for how long, and how long a probe may take."""
        self._threshold = failures
        self._most_of_one = -(-failures // 2)
        self._open_us = open_us
        self._lease_us = lease_us
        self._lock = threading.Lock()
        self._breakers: dict[tuple[str, str], _Breaker] = {}

    def before_call(self, name: str, owner: str, now: int, permit_id: str) -> Permit:
        """Give leave for one call, or refuse."""
        with self._lock:
            everybodys, own = self._get(name, ""), self._get(name, owner)
            (wait_all, probes_all), (wait_own, probes_own) = (
                breaker.look(now, self._open_us) for breaker in (everybodys, own)
            )
            wait = max(wait_all, wait_own)
            if wait > 0:
                scope = ALL if wait_all > 0 else OWN
                return Permit(False, wait / 1e6, scope, name, local=True, owner=owner)
            if not (probes_all or probes_own):
                others = sum(everybodys.by_owner.values()) if len(everybodys.by_owner) > 1 else 0
                failures = max(own.fails, others) + everybodys.fails
                return Permit(True, 0.0, NONE, name, now, local=True, failures=failures, owner=owner)
            for breaker, probes in ((everybodys, probes_all), (own, probes_own)):
                if probes:
                    breaker.probe, breaker.lease = permit_id, now + self._lease_us
            scope = ALL if probes_all and everybodys.probed != owner else OWN
            return Permit(True, 0.0, scope, name, now, permit_id, local=True, owner=owner)

    def record(self, permit: Permit, sign: Sign, now: int) -> None:
        """Take in how a permitted call ended."""
        with self._lock:
            everybodys, own = (self._keep(permit.name, owner, sign) for owner in ("", permit.owner))
            for_all, for_own = (one.standing(permit.started_us, permit.id) for one in (everybodys, own))
            for breaker, standing in ((everybodys, for_all), (own, for_own)):
                if standing == "probe":
                    breaker.probe = None
            if sign is Sign.SUCCESS:
                for breaker, standing in ((everybodys, for_all), (own, for_own)):
                    if standing == "probe":
                        breaker.close(now)
                    elif standing:
                        breaker.forget()
            elif sign is Sign.FAILURE:
                self._failed(everybodys, own, for_all, for_own, permit.owner, now)
            elif sign is not Sign.NEUTRAL and for_all:
                everybodys.fails += 1
                if for_all == "probe" or sign is Sign.FATAL or self._enough(everybodys):
                    everybodys.open(now, self._open_us)

    def states(self, now: int) -> list[State]:
        """Return all breakers that have seen a failure."""
        with self._lock:
            return [_state(name, owner, one, now) for (name, owner), one in self._breakers.items()]

    def _failed(
        self, everybodys: _Breaker, own: _Breaker, for_all: str | None, for_own: str | None, owner: str, now: int
    ) -> None:
        own_fails = own.fails + 1
        if "probe" in (for_own, for_all) or (for_own and own_fails >= self._threshold):
            own.open(now, self._open_us)
        elif for_own:
            own.fails = own_fails
        if for_all == "probe":
            if everybodys.probed not in (None, owner):
                everybodys.open(now, self._open_us)
            else:
                everybodys.probed = owner
        elif for_all:
            counted = everybodys.by_owner.get(owner, 0) + 1
            everybodys.by_owner[owner] = min(counted, self._most_of_one)
            if self._enough(everybodys):
                everybodys.open(now, self._open_us)

    def _enough(self, one: _Breaker) -> bool:
        several = len(one.by_owner) > 1 and one.fails + sum(one.by_owner.values()) >= self._threshold
        return one.fails >= self._threshold or several

    def _get(self, name: str, owner: str) -> _Breaker:
        return self._breakers.get((name, owner)) or _Breaker()

    def _keep(self, name: str, owner: str, sign: Sign) -> _Breaker:
        one = self._breakers.get((name, owner))
        # What cannot change a new breaker makes none.
        fails_for_all = sign in (Sign.UNREACHABLE, Sign.FATAL)
        if one is None and (sign is Sign.FAILURE or (fails_for_all and not owner)):
            self._make_room()
            one = self._breakers[name, owner] = _Breaker()
        return one or _Breaker()

    def _make_room(self) -> None:
        if len(self._breakers) >= NAMES:
            kept = {key: one for key, one in self._breakers.items() if one.until is not None}
            self._breakers = kept if len(kept) < NAMES else {}


def _state(name: str, owner: str, b: _Breaker, now: int) -> State:
    failures = b.fails + sum(b.by_owner.values())
    if b.until is None:
        return State(name, "closed", failures, 0.0, owner=owner)
    left = (b.until - now) / 1e6
    return State(name, "open" if left > 0 else "half_open", failures, max(0.0, left), max(0.0, -left), owner)
