"""Circuit breakers per provider and model, shared by all environments: one for all, and each owner's own.

Closed: calls pass; consecutive failures open it. Open: calls are refused for a while. Half-open: one call,
the probe, holds a lease; its success closes the breaker, its failure opens it again. The result of a call
that was started before the last change of state says nothing about the present and is dropped.

What a prompt can cause (5xx, no answer, a closed connection) counts for the owner of the run only: its own breaker
opens, and others go on. The breaker for all opens when several owners met such failures, or on what no prompt can
cause: connections refused, a refused key, an empty account. One owner's failed probe of it does not open it again,
unless another's fails, too; that owner waits, and the next one probes. An owner is a user, or a trusted service.
"""

import logging
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from shared.limits import names
from shared.limits.local_breaker import LocalBreaker
from shared.limits.permits import Permit, Sign, State, sign_of
from shared.limits.scripts import OnValkey, script
from shared.settings import Settings, settings
from shared.valkey import RedisError

__all__ = ["Breaker", "Permit", "Sign", "State", "breaker_name", "sign_of"]

_log = logging.getLogger(__name__)
KEEP_S = 86_400
"""A breaker without news for a day is forgotten."""
PROBE_MARGIN_S = 10.0


def breaker_name(base_url: str, model: str) -> str:
    """Name the breaker of a model at a provider: ``api.openai.com/gpt-4o-mini``."""
    return f"{urlsplit(base_url).netloc or 'api.openai.com'}/{model}"


class Breaker(OnValkey):
    """All breakers. Thread-safe; one per environment, which decides alone when Valkey is away."""

    def __init__(
        self, *, config: Settings | None = None, on: Any = None, now_us: Callable[[], int] | None = None
    ) -> None:
        super().__init__(on=on, now_us=now_us)
        config = config or settings()
        self._threshold = config.breaker_failures
        self._open_us = round(config.breaker_open_seconds * 1_000_000)
        self._lease_us = round((config.model_timeout_seconds + PROBE_MARGIN_S) * 1_000_000)
        self._local = LocalBreaker(self._threshold, self._open_us, self._lease_us)

    def before_call(self, name: str, owner: str) -> Permit:
        """Ask before each model call. An allowed permit goes back through `record`, whatever happens."""
        return self.before_calls([(name, owner)])[0]

    def before_calls(self, wanted: Sequence[tuple[str, str]]) -> list[Permit]:
        """Ask for several (name, owner) in one round trip."""
        ids = [uuid.uuid4().hex for _ in wanted]
        keys = [key for name, owner in wanted for key in (names.breaker_key(name), names.breaker_key(name, owner))]
        args = [self._now(), self._lease_us, self._open_us]
        args += [part for permit_id, (_, owner) in zip(ids, wanted, strict=True) for part in (permit_id, owner)]
        try:
            answers = script("breaker_before")(keys, args, on=self._on)
        except RedisError:
            now = self._local_now()
            asked = zip(wanted, ids, strict=True)
            return [self._local.before_call(name, owner, now, permit_id) for (name, owner), permit_id in asked]
        permits = []
        for (name, owner), permit_id, answer in zip(wanted, ids, answers, strict=True):
            allowed, wait_us, scope, started, failures = map(int, answer)
            permits.append(
                Permit(
                    bool(allowed),
                    wait_us / 1e6,
                    scope,
                    name,
                    started,
                    permit_id if allowed and scope else "",
                    failures=failures,
                    owner=owner,
                )
            )
        return permits

    def record(self, permit: Permit, sign: Sign) -> None:
        """Tell how the call ended. Never raises: a lost report costs a probe lease at most."""
        self.record_all([(permit, sign)])

    def record_all(self, ended: Sequence[tuple[Permit, Sign]]) -> None:
        """Tell how several calls ended, in one round trip. Never raises."""
        shared: list[tuple[Permit, Sign]] = []
        for permit, sign in ended:
            if permit.allowed and permit.local:
                self._local.record(permit, sign, self._local_now())
            elif permit.allowed:
                shared.append((permit, sign))
        if not shared:
            return
        keys = [names.BREAKER_INDEX, names.BREAKER_OWNERS]
        args: list[int | str] = [self._now(), self._threshold, self._open_us, KEEP_S]
        for permit, sign in shared:
            keys += [names.breaker_key(permit.name), names.breaker_key(permit.name, permit.owner)]
            args += [permit.name, permit.owner, sign.value, str(permit.started_us), permit.id]
        try:
            script("breaker_record")(keys, args, on=self._on)
        except RedisError as error:
            for permit, sign in shared:
                _log.warning("breaker %s missed %s: %s", permit.name, sign.value, error)

    def states(self) -> list[State]:
        """Return every breaker that has seen a failure within a day, for ``/health`` and the metrics.

        First those for all, then owners' own.
        """
        try:
            found = [(name, "") for name in self._named(names.BREAKER_INDEX)]
            for member in self._named(names.BREAKER_OWNERS):
                owner, _, name = member.partition(" ")
                found.append((name, owner))
            if not found:
                return []
            rows = script("breaker_states")([names.breaker_key(*one) for one in found], [self._now()], on=self._on)
        except RedisError:
            return self._local.states(self._local_now())
        return [
            State(name, word, failures, wait_us / 1e6, half_open_us / 1e6, owner)
            for (name, owner), (word, failures, wait_us, half_open_us) in zip(found, rows, strict=True)
        ]

    def _named(self, index: str) -> list[str]:
        return script("breaker_index")([index], [self._now(), KEEP_S], on=self._on)  # type: ignore[no-any-return]

    def _local_now(self) -> int:
        return self._now_us() if self._now_us else time.monotonic_ns() // 1000
