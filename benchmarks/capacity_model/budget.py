"""The provider as the workers see it: the shared budget they keep to, and the 429s of one that grants less."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from shared.limits.provider import BURST

if TYPE_CHECKING:
    from benchmarks.capacity_model.scenario import Provider


class Bucket:
    """A token bucket in arrival-time form, by the arithmetic of ``shared/limits/provider.py``, in seconds."""

    def __init__(self, per_minute: float, *, whole: bool) -> None:
        """Take the budget of a minute; ``whole`` counts calls, otherwise tokens. 0: no limit."""
        size = max(1, math.floor(per_minute * BURST)) if whole else per_minute * BURST
        refill = per_minute - size + 1 if whole else per_minute - size
        self.each = 60.0 / refill if per_minute > 0 else 0.0
        self.room = size * self.each
        self.at = 0.0

    def wait(self, now: float, units: float) -> float:
        """Return how long a caller would wait."""
        if not self.each:
            return 0.0
        cost = min(units * self.each, self.room)
        return max(0.0, max(self.at, now) + cost - self.room - now)

    def take(self, now: float, units: float) -> None:
        """Take a place."""
        if self.each:
            self.at = max(self.at, now) + units * self.each


class Upstream:
    """The budget, the provider's own limit, and the counts by minute that the scaler reads."""

    def __init__(self, provider: Provider, tokens: int) -> None:
        """Take the limits and what one call reserves."""
        self.calls = Bucket(provider.rpm, whole=True)
        self.tokens = Bucket(provider.tpm, whole=False)
        self.reserve = tokens
        self.max_wait = provider.max_wait_s
        self.true_rpm = provider.true_rpm
        self.limited = provider.rpm > 0 or provider.tpm > 0 or provider.true_rpm > 0
        self.seen: dict[int, list[int]] = {}

    def ask(self, now: float) -> tuple[bool, float]:
        """Take a place: (True, seconds to wait first) or (False, seconds after which to try again)."""
        wait = max(self.calls.wait(now, 1), self.tokens.wait(now, self.reserve))
        if wait > self.max_wait:
            return False, wait
        self.calls.take(now, 1)
        self.tokens.take(now, self.reserve)
        return True, wait

    def call(self, now: float) -> float:
        """Make a call: 0 if it is answered, else the ``Retry-After`` of its 429 (the rest of the minute)."""
        minute = int(now // 60)
        counts = self.seen.setdefault(minute, [0, 0])
        counts[0] += 1
        if self.true_rpm and counts[0] - counts[1] > self.true_rpm:
            counts[1] += 1
            return (minute + 1) * 60 - now
        return 0.0

    def last_minute(self, now: float) -> tuple[int, int]:
        """Return calls and 429s of the last whole minute and the present one, as the scaler does."""
        minute = int(now // 60)
        both = [self.seen.get(n, [0, 0]) for n in (minute - 1, minute)]
        return sum(one[0] for one in both), sum(one[1] for one in both)
