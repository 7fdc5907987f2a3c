"""Requests that are held open (long polls, foreground responses, streams), counted per owner as leases in Valkey.

A held request keeps one of a function's concurrent executions and does nothing. However many are wanted, a part of the
function stays free for requests that are answered at once: see `room`. What is left is shared max-min fairly among
owners (`shares`): an owner alone may hold all of it; when another wants one, whoever has more than its share is told so
with its next `Holds.renew`, and answers.

    hold = holds.Holds("api", capacity=holds.room(concurrency))
    if hold.take(owner, request_id, ttl_s=5): ...     # every second or so: hold.renew(...), at last: hold.release(...)
"""

import logging
import math
from collections.abc import Callable
from typing import Any

from shared.limits import names
from shared.limits.scripts import OnValkey, script
from shared.valkey import RedisError

FREE_SHARE = 0.4
"""Share of a function's concurrency that held requests leave to all others."""
RETRY_AFTER_S = 1
"""When somebody whose request could not be held may come again: whoever owes a place gives it back by then."""
WANT_S = 3
"""How long a place is kept in mind for an owner that was refused one."""

_log = logging.getLogger(__name__)


def room(concurrency: int) -> int:
    """Return how many requests may be held at once by a function of this concurrency: all but two fifths, rounded up.

    0 for a function that can do one thing at a time: it holds nothing.
    """
    return max(0, concurrency - max(1, math.ceil(concurrency * FREE_SHARE)))


class Holds(OnValkey):
    """The held requests of one function, ``place``. Thread-safe. Without Valkey every hold is granted."""

    def __init__(self, place: str, capacity: int, *, on: Any = None, now_us: Callable[[], int] | None = None) -> None:
        """Name the function and say how many it may hold."""
        super().__init__(on=on, now_us=now_us)
        self._keys = list(names.hold_keys(place))
        self._capacity = capacity

    def take(self, owner: str, hold_id: str, *, ttl_s: float) -> bool:
        """Begin to hold a request, for ``ttl_s`` at first; a repeat keeps it. False: answer at once, or refuse."""
        return self._ask("take", owner, hold_id, ttl_s)

    def renew(self, owner: str, hold_id: str, *, ttl_s: float) -> bool:
        """Go on holding for ``ttl_s``. False: the place is owed to another owner, and is given back by this call."""
        return self._ask("renew", owner, hold_id, ttl_s)

    def release(self, owner: str, hold_id: str) -> None:
        """Stop holding; a second time is harmless, and without Valkey the lease lapses."""
        self._ask("release", owner, hold_id, 0)

    def _ask(self, word: str, owner: str, hold_id: str, ttl_s: float) -> bool:
        args = [self._now(), word, owner, hold_id, round(ttl_s * 1_000_000), self._capacity, WANT_S * 1_000_000]
        try:
            return bool(script("hold")(self._keys, args, on=self._on) == 1)
        except RedisError as error:
            _log.warning("holds not counted: %s", error)
            return True
