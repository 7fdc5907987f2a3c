"""A circuit breaker per provider and model, shared by all environments.

Closed: calls pass; consecutive failures open it. Open: calls are refused for a while. Half-open: one call,
the probe, holds a lease; its success closes the breaker, its failure opens it again. The result of a call
that was started before the last change of state says nothing about the present and is dropped.
"""

from __future__ import annotations

import logging
import time
import uuid
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from shared.limits import names
from shared.limits.local_breaker import LocalBreaker
from shared.limits.permits import Outcome, Permit, State, outcome_of
from shared.limits.scripts import script
from shared.settings import settings
from shared.valkey import RedisError

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.settings import Settings

__all__ = ["Breaker", "Outcome", "Permit", "State", "breaker_name", "outcome_of"]

_log = logging.getLogger(__name__)
KEEP_S = 86_400
"""A breaker without news for a day is forgotten."""
PROBE_MARGIN_S = 10.0


def breaker_name(base_url: str, model: str) -> str:
    """Name the breaker of a model at a provider: ``api.openai.com/gpt-4o-mini``."""
    return f"{urlsplit(base_url).netloc or 'api.openai.com'}/{model}"


class Breaker:
    """All breakers. Thread-safe; one per environment, which decides alone when Valkey is away."""

    def __init__(
        self, *, config: Settings | None = None, on: Any = None, now_us: Callable[[], int] | None = None
    ) -> None:
        """Take thresholds from ``config``; ``on`` and ``now_us`` are another client and clock (tests)."""
        config = config or settings()
        self._on = on
        self._now_us = now_us
        self._threshold = config.breaker_failures
        self._open_us = round(config.breaker_open_seconds * 1_000_000)
        self._lease_us = round((config.model_timeout_seconds + PROBE_MARGIN_S) * 1_000_000)
        self._local = LocalBreaker(self._threshold, self._open_us, self._lease_us)

    def before_call(self, name: str) -> Permit:
        """Ask before each model call. An allowed permit goes back through `record`, whatever happens."""
        permit_id = uuid.uuid4().hex
        args = [self._now(), permit_id, self._lease_us, self._open_us]
        try:
            answer = script("breaker_before")([names.breaker_key(name)], args, on=self._on)
        except RedisError:
            return self._local.before_call(name, self._local_now(), permit_id)
        allowed, wait_us, probe, started, failures = answer
        permit_id = permit_id if probe else ""
        return Permit(bool(allowed), wait_us / 1e6, bool(probe), name, int(started), permit_id, failures=int(failures))

    def record(self, permit: Permit, outcome: Outcome) -> None:
        """Tell how the call ended. Never raises: a lost report costs a probe lease at most."""
        if not permit.allowed:
            return
        if permit.local:
            self._local.record(permit, outcome, self._local_now())
            return
        keys = [names.breaker_key(permit.name), names.BREAKER_INDEX]
        args = [self._now(), permit.name, outcome.value, str(permit.started_us), permit.id]
        args += [self._threshold, self._open_us, KEEP_S]
        try:
            script("breaker_record")(keys, args, on=self._on)
        except RedisError as error:
            _log.warning("breaker %s missed %s: %s", permit.name, outcome.value, error)

    def states(self) -> list[State]:
        """Return every breaker that has seen a failure within a day, for ``/health`` and the metrics."""
        try:
            found: list[str] = script("breaker_index")([names.BREAKER_INDEX], [self._now(), KEEP_S], on=self._on)
            if not found:
                return []
            keys = [names.breaker_key(name) for name in found]
            rows = script("breaker_states")(keys, [self._now()], on=self._on)
        except RedisError:
            return self._local.states(self._local_now())
        return [
            State(name, word, failures, wait_us / 1e6, half_open_us / 1e6)
            for name, (word, failures, wait_us, half_open_us) in zip(found, rows, strict=True)
        ]

    def _now(self) -> int | str:
        return self._now_us() if self._now_us else ""

    def _local_now(self) -> int:
        return self._now_us() if self._now_us else time.monotonic_ns() // 1000
