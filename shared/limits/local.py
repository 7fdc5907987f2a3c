"""Admission without Redis: windows in this environment's memory, stricter than the shared ones."""

import threading
from collections import OrderedDict, deque

from shared.limits.verdict import Ask, Verdict, Window

SHARE = 10
"""Each environment gives out a tenth of the limits: up to ten API environments together keep within them, as far as a
limit is 10 or more."""
USERS = 10_000
"""Windows kept; the longest unused goes first."""


class LocalGate:
    """The times of each user's last admissions, as in the shared window, and one token bucket for all."""

    def __init__(self, ingress_rate: float, ingress_burst: int) -> None:
        """Take the global ingress limits; a rate of 0 means no limit."""
        self._rate = ingress_rate / SHARE
        self._burst = max(1.0, ingress_burst / SHARE)
        self._lock = threading.Lock()
        self._users: OrderedDict[str, deque[float]] = OrderedDict()
        self._all = (self._burst, 0.0)  # level, when

    def admit(self, ask: Ask, now: float) -> Verdict:
        """Decide at ``now`` (seconds of any steady clock). Only requests and ingress are limited here."""
        quota, window_s = ask.limits.requests, ask.limits.window_s
        share = max(1, quota // SHARE)
        with self._lock:
            log = self._users.get(ask.user) or deque()
            counted = [at for at in log if at > now - window_s]
            shared = min(self._burst, self._all[0] + max(0.0, now - self._all[1]) * self._rate)
            waits = []
            if quota > 0 and len(counted) >= share:
                waits.append((counted[-share] + window_s - now, "requests"))
            if self._rate > 0 and shared < 1:
                waits.append(((1 - shared) / self._rate, "ingress"))
            if not waits:
                self._all = (shared - 1, now)
                if quota > 0:
                    counted.append(now)
                    self._keep(ask.user, log, share, now)
        windows: tuple[Window, ...] = ()
        if quota > 0:
            next_s, full_s = (at + window_s - now for at in (counted[0], counted[-1])) if counted else (0.0, 0.0)
            windows = (Window("requests", share, window_s, max(0, share - len(counted)), next_s, full_s),)
        if waits:
            wait, limit = max(waits)
            return Verdict(False, limit, wait, slot=False, windows=windows, degraded=True)
        return Verdict(True, windows=windows, degraded=True, precharge=ask.limits.budgeted)

    def _keep(self, user: str, log: deque[float], share: int, now: float) -> None:
        """Note an admission. A user's keys may have different quotas: the largest met decides how many are kept."""
        kept = deque(log, maxlen=max(share, log.maxlen or 0))
        kept.append(now)
        self._users[user] = kept
        self._users.move_to_end(user)
        if len(self._users) > USERS:
            self._users.popitem(last=False)
