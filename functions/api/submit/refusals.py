"""Refused submits: what they are answered, and their counts by limit and minute, for the dashboard.

Counted in memory and written to Valkey together, once a second at most, so that a flood of refusals costs no extra
round trips. What a frozen environment still holds is lost: these are figures to look at, not to bill by.
"""

import threading
import time
from collections import Counter

from redis.exceptions import RedisClusterException

from functions.api.contract.problem import Problem
from functions.api.door.gate import gate
from shared import metrics, valkey
from shared.clock import now
from shared.limits.admission import BUDGETS, Ask, Verdict
from shared.logs import get_logger

FLUSH_S = 1.0
KEEP_S = 7200
AWAY = (valkey.RedisError, RedisClusterException)
"""What redis-py raises when no server answers; the second is no kind of the first."""


def _key(minute: int) -> str:
    return f"{{sluice:refused}}:{minute}"


class Refusals:
    """The counts that this environment holds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: Counter[tuple[int, str]] = Counter()
        self._flushed = 0.0

    def count(self, limit: str) -> None:
        """Count one refusal."""
        with self._lock:
            self._waiting[int(now() // 60), limit] += 1
            if time.monotonic() - self._flushed < FLUSH_S:
                return
            self._flushed = time.monotonic()
        self._flush()

    def forget(self) -> None:
        """Drop what was counted and not yet written (between tests)."""
        with self._lock:
            self._waiting.clear()
            self._flushed = 0.0

    def _flush(self) -> None:
        """Write down what was counted; kept for the next time when Valkey is away."""
        with self._lock:
            counted = dict(self._waiting)
            self._waiting.clear()
        if not counted:
            return
        try:
            pipe = valkey.client().pipeline(transaction=False)
            for (minute, limit), times in counted.items():
                pipe.hincrby(_key(minute), limit, times)
                pipe.expire(_key(minute), KEEP_S)
            pipe.execute()
        except AWAY as error:
            get_logger("api").warning("refusals not written", extra={"cause": str(error)})
            with self._lock:
                self._waiting.update({at: times for at, times in counted.items() if at[0] > now() // 60 - 60})

    def minutes(self, last: int) -> list[dict[str, object]]:
        """Return everybody's refusals of the last minutes, the present one last.

        Raises:
            RedisError, RedisClusterException: Valkey is away.
        """
        self._flush()
        present = int(now() // 60)
        wanted = range(present - last + 1, present + 1)
        pipe = valkey.client().pipeline(transaction=False)
        for minute in wanted:
            pipe.hgetall(_key(minute))
        return [
            {"minute": minute * 60, "refused": {name: int(times) for name, times in found.items()}}
            for minute, found in zip(wanted, pipe.execute(), strict=True)
        ]


refusals = Refusals()
"""This environment's."""


def refuse(verdict: Verdict, ask: Ask, headers: dict[str, str]) -> Problem:
    """Count a refusal, and return what it is answered: 402 where a budget is spent, else 429."""
    limit = verdict.limit or ""
    refusals.count(limit)
    metrics.count("Refused", limit=limit or "unknown")
    if limit in BUDGETS:
        return spent(limit, ask, headers)
    message = f"the limit {limit} is reached; try again in {headers['Retry-After']} s"
    return Problem(429, "rate_limit_exceeded", message, limit=limit, headers=headers)


def spent(limit: str, ask: Ask, headers: dict[str, str]) -> Problem:
    """Return what a submit is answered that a budget does not cover."""
    message = f"the budget {limit} does not cover this request"
    if gate().never_fits(limit, ask):  # no use in coming back
        headers = {name: value for name, value in headers.items() if name != "Retry-After"}
        message = f"this request's worst case is more than the budget {limit} of a whole day"
    elif "Retry-After" in headers:
        message += f"; it is renewed in {headers['Retry-After']} s"
    return Problem(402, "insufficient_quota", message, limit=limit, headers=headers)
