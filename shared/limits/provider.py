"""The provider's budget: requests and tokens per minute, shared by all environments.

Two token buckets in arrival-time form (GCRA). A bucket holds a tenth of the minute's budget and refills at
nine tenths a minute, so that no rolling minute starts more than the budget (a call larger than the token
bucket may pass it by its own size once). A place is taken at once for a moment in the near future, so waiters keep
their order; one that is further off is promised, and owners that wait take turns. Nothing here sleeps: the caller waits
as long as it is told, or defers and comes back for its place.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from shared import clock
from shared.limits import names
from shared.limits.scripts import OnValkey, script
from shared.settings import Settings, settings
from shared.valkey import RedisError

_log = logging.getLogger(__name__)
_MINUTE_US = 60_000_000
BURST = 0.1
"""Share of a minute's budget that may be used at once."""
WINDOW_KEEP_S = 3600
PROMISES = 2
"""How often a call is told to come back for its place; then it waits where it is."""


@dataclass(frozen=True, slots=True)
class Grant:
    """A place in the budget: call after ``wait_s`` (0: now). Not taken: one is promised for then, ask again."""

    taken: bool
    wait_s: float
    local: bool = False


@dataclass(frozen=True, slots=True)
class Minute:
    """Model calls of all environments in one epoch minute, and how many the provider throttled."""

    minute: int
    calls: int
    throttled: int


@dataclass(frozen=True, slots=True)
class _Bucket:
    each_us: float
    """Time that one unit takes to refill; 0: no limit."""
    room_us: int
    """The bucket's size in refill time."""

    @classmethod
    def of_calls(cls, budget: float) -> _Bucket:
        # A bucket of b and one more every T start at most b - 1 + ceil(60 s / T) in a rolling minute.
        if budget <= 0:
            return cls(0, 0)
        size = max(1, math.floor(budget * BURST))
        each = math.ceil(_MINUTE_US / (budget - size + 1))
        return cls(each, size * each)

    @classmethod
    def of_tokens(cls, budget: float) -> _Bucket:
        if budget <= 0:
            return cls(0, 0)
        each = _MINUTE_US / (budget * (1 - BURST))
        return cls(each, max(1, math.floor(budget * BURST * each)))

    def cost(self, units: int) -> int:
        return math.ceil(units * self.each_us)


class ProviderBudget(OnValkey):
    """The budget of this deployment's provider. Thread-safe; make one per environment.

    Without Valkey each environment keeps to its share: the budget divided by ``MAX_REPLICAS``.
    """

    def __init__(
        self,
        *,
        config: Settings | None = None,
        on: Any = None,
        now_us: Callable[[], int] | None = None,
        own: tuple[str, int] | None = None,
    ) -> None:
        """Take ``PROVIDER_RPM`` and ``PROVIDER_TPM`` from ``config``.

        ``own`` is the holder of a provider's key of their own, and how many requests a minute it may be used for.
        """
        super().__init__(on=on, now_us=now_us)
        self._config = config or settings()
        rpm, tpm = (own[1], 0) if own else (self._config.provider_rpm, self._config.provider_tpm)
        self._holder = own[0] if own else None
        self._calls = _Bucket.of_calls(rpm)
        self._tokens = _Bucket.of_tokens(tpm)
        self._local = _LocalBudget(rpm / self._config.max_replicas, tpm / self._config.max_replicas)

    def acquire(
        self, model: str, tokens: int, *, place: str = "", owner: str = "", max_wait_s: float | None = None
    ) -> Grant:
        """Take a place for one call, if it comes up within ``max_wait_s``; else have one promised.

        ``tokens`` are those of the prompt and the longest output. ``place`` is the call's own name: who comes back with
        it shortly before the time that it was told finds its place, and at the third time in any case. ``owner`` is
        whose call it is: owners that wait take turns. Without a ``place`` nothing is promised. ``max_wait_s`` defaults
        to ``PROVIDER_MAX_WAIT_SECONDS``. All models share the budget; ``model`` is for the log.
        """
        if not self.limited:
            return Grant(True, 0.0)
        longest = self._config.provider_max_wait_seconds if max_wait_s is None else max_wait_s
        args = [
            self._now(),
            self._calls.cost(1),
            self._calls.room_us,
            self._tokens.cost(tokens),
            self._tokens.room_us,
            round(longest * 1e6),
            owner,
            PROMISES,
        ]
        keys = [*self._names()]
        keys += [names.provider_place_key(place, self._holder)] if place else []
        try:
            taken, wait_us = script("provider_acquire")(keys, args, on=self._on)
        except RedisError:
            return self._local.acquire(tokens, longest)
        if not taken:
            _log.info("provider budget: %s waits %.1f s", model, wait_us / 1e6)
        return Grant(bool(taken), wait_us / 1e6)

    def give_back(self, model: str, tokens: int) -> None:
        """Return a place whose call was not made."""
        if self.limited:
            self._correct(model, self._calls.cost(1), self._tokens.cost(tokens), 0, 0)

    def adjust(self, model: str, reserved: int, actual: int, *, throttled: bool = False) -> None:
        """Report a finished call: ``actual`` tokens instead of ``reserved``.

        ``throttled``: the provider answered 429. Also counts the call for the scaler. Never raises.
        """
        back = self._tokens.cost(abs(reserved - actual)) * (1 if reserved > actual else -1)
        self._correct(model, 0, back, 1, int(throttled))

    def count(self, calls: int) -> None:
        """Count finished calls for the scaler where no budget is kept (see ``adjust``). Never raises."""
        self._correct("any model", 0, 0, calls, 0)

    def windows(self, minutes: int = 5) -> list[Minute]:
        """Return the counts of the last minutes, the current one last; empty without Valkey."""
        current = self._minute()
        wanted = range(current - minutes + 1, current + 1)
        try:
            rows = script("provider_windows")([names.provider_window_key(m) for m in wanted], [], on=self._on)
        except RedisError:
            return []
        return [Minute(m, calls, throttled) for m, (calls, throttled) in zip(wanted, rows, strict=True)]

    @property
    def limited(self) -> bool:
        """Whether there is any budget to keep to."""
        return self._calls.room_us > 0 or self._tokens.room_us > 0

    def _correct(self, model: str, call_us: int, tokens_us: int, calls: int, throttled: int) -> None:
        rpm, tpm, _ = self._names()
        keys = [rpm, tpm, f"{rpm}:window" if self._holder else names.provider_window_key(self._minute())]
        args = [self._now(), call_us, tokens_us, calls, throttled, WINDOW_KEEP_S]
        try:
            script("provider_adjust")(keys, args, on=self._on)
        except RedisError as error:
            _log.warning("provider budget missed a call of %s: %s", model, error)

    def _names(self) -> tuple[str, str, str]:
        if self._holder is None:
            return names.PROVIDER_RPM, names.PROVIDER_TPM, names.PROVIDER_WAITING
        return names.own_provider_keys(self._holder)

    def _minute(self) -> int:
        return int((self._now_us() / 1e6 if self._now_us else clock.now()) // 60)


class _LocalBudget:
    """One environment's share of the budget, by the same arithmetic."""

    def __init__(self, rpm: float, tpm: float) -> None:
        self._calls = _Bucket.of_calls(rpm)
        self._tokens = _Bucket.of_tokens(tpm)
        self._lock = threading.Lock()
        self._calls_at = self._tokens_at = 0

    def acquire(self, tokens: int, longest_s: float) -> Grant:
        now = time.monotonic_ns() // 1000
        cost = self._tokens.cost(tokens)
        with self._lock:
            calls_at, tokens_at = max(now, self._calls_at), max(now, self._tokens_at)
            wait = 0
            if self._calls.room_us:
                wait = max(wait, calls_at + self._calls.cost(1) - self._calls.room_us - now)
            if self._tokens.room_us:
                wait = max(wait, tokens_at + min(cost, self._tokens.room_us) - self._tokens.room_us - now)
            if wait > longest_s * 1e6:
                return Grant(False, wait / 1e6, local=True)
            self._calls_at, self._tokens_at = calls_at + self._calls.cost(1), tokens_at + cost
        return Grant(True, wait / 1e6, local=True)
