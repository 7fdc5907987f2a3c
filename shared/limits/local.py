"""Admission without Redis: token buckets in this environment's memory, stricter than the shared window."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from shared.limits.verdict import Verdict, Window

if TYPE_CHECKING:
    from shared.limits.verdict import Ask

SHARE = 10
"""Each environment gives out a tenth of the limits: up to ten API environments together keep within them."""
USERS = 10_000
"""Buckets kept; the longest unused goes first."""


class LocalGate:
    """One bucket per user and one for all, refilled continuously. Holds at most ``USERS`` buckets."""

    def __init__(self, ingress_rate: float, ingress_burst: int) -> None:
        """Take the global ingress limits; a rate of 0 means no limit."""
        self._rate = ingress_rate / SHARE
        self._burst = max(1.0, ingress_burst / SHARE)
        self._lock = threading.Lock()
        self._users: OrderedDict[str, tuple[float, float]] = OrderedDict()  # user -> (level, when)
        self._all = (self._burst, 0.0)

    def admit(self, ask: Ask, now: float) -> Verdict:
        """Decide at ``now`` (seconds of any steady clock). Only requests and ingress are limited here."""
        quota, window_s = ask.limits.requests, ask.limits.window_s
        size = max(1, quota // SHARE)
        rate = size / window_s
        with self._lock:
            level, when = self._users.get(ask.user, (float(size), now))
            level = min(float(size), level + max(0.0, now - when) * rate)
            shared = min(self._burst, self._all[0] + max(0.0, now - self._all[1]) * self._rate)
            waits = []
            if quota > 0 and level < 1:
                waits.append(((1 - level) / rate, "requests"))
            if self._rate > 0 and shared < 1:
                waits.append(((1 - shared) / self._rate, "ingress"))
            if not waits:
                level, shared = level - 1, shared - 1
                self._all = (shared, now)
                if quota > 0:
                    self._users[ask.user] = (level, now)
                    self._users.move_to_end(ask.user)
                    if len(self._users) > USERS:
                        self._users.popitem(last=False)
        windows: tuple[Window, ...] = ()
        if quota > 0:
            next_s = (1 - level % 1) / rate if level < size else 0.0
            windows = (Window("requests", size, window_s, int(level), next_s, (size - level) / rate),)
        if waits:
            wait, limit = max(waits)
            return Verdict(False, limit, wait, slot=False, windows=windows, degraded=True)
        return Verdict(True, windows=windows, degraded=True, precharge=ask.limits.budgeted)
