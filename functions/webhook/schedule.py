"""When a failed delivery is tried again: exponential back-off for a day."""

from collections.abc import Callable

GIVE_UP_SECONDS = 86_400.0
"""How long after the first try the last one is made."""
FIRST_DELAY_SECONDS = 5.0
MAX_DELAY_SECONDS = 14_400.0
"""The delays double up to this: 5 s, 10 s … 2.8 h, then every 4 h. About 18 tries in all."""
MOST_ASKED_SECONDS = 900.0
"""Longest ``Retry-After`` that counts: a receiver that asks for a day would have one more try, its last."""
JITTER = 0.2
"""Share of a delay that is added at random, so that what failed together does not come back together."""


def next_try(attempt: int, first: float, at: float, asked_s: float | None, random: Callable[[], float]) -> float | None:
    """Return when to try again after try number ``attempt`` failed at ``at``, or None to give up (epoch seconds).

    A receiver's ``Retry-After`` (``asked_s``) counts if it is longer, up to ``MOST_ASKED_SECONDS``. The last try is at
    the end of the day.
    """
    last = first + GIVE_UP_SECONDS
    if at >= last:
        return None
    delay = min(FIRST_DELAY_SECONDS * 2.0 ** min(attempt - 1, 30), MAX_DELAY_SECONDS) * (1 + JITTER * random())
    return min(at + max(delay, min(asked_s or 0.0, MOST_ASKED_SECONDS)), last)
