"""What the limits that Valkey keeps have in common: their ceilings, their clock, and how a script is called.

The clock is the Valkey server's, so that environments need not agree on one.
"""

import itertools
import logging
from collections.abc import Callable, Sequence
from typing import Any

from shared import valkey
from shared.limits import names
from shared.limits.scripts import OnValkey, script
from shared.limits.tiers import Limits
from shared.settings import Settings, settings
from shared.valkey import RedisError

CHECK_S = 300
"""First look of the sweeper at an open entry after its admission, s."""
FRESH_S = 300
"""Spending is loaded again from its durable record when older, so that no lost update lasts longer, s."""
KEEP_MARGIN_S = 86_400

_log = logging.getLogger(__name__)


class Scripted(OnValkey):
    """Limits of this environment's Valkey. Thread-safe; make one per environment."""

    def __init__(
        self,
        load_spend: Callable[[str, str], tuple[int, int]],
        *,
        config: Settings | None = None,
        on: Any = None,
        now_us: Callable[[], int] | None = None,
    ) -> None:
        """``load_spend(user, day)`` reads the durable (tokens, micro-USD) of a day, user ``*`` meaning all together."""
        super().__init__(on=on, now_us=now_us)
        self._load = load_spend
        self._sent: set[str] = set()
        """Scripts that the server knows."""
        self._config = config or settings()
        self._keep_s = int(self._config.task_ttl_days * 86_400) + KEEP_MARGIN_S
        self._tokens_all = self._config.global_tokens_per_day
        self._micro_all = round(self._config.global_usd_per_day * 1_000_000)

    def _with_spend(self, name: str, keys: list[str], args: list[Any], user: str, day: str) -> list[Any]:
        reply: list[Any] = script(name)(keys, [*args, *[""] * 6], on=self._on)
        if reply[0] != "need":
            return reply
        whose = (user, "*", names.key_name(user))
        loaded = [self._load(who, day) if need else ("", "") for who, need in zip(whose, reply[1:], strict=True)]
        return script(name)(keys, [*args, *itertools.chain(*loaded)], on=self._on)  # type: ignore[no-any-return]

    def _quietly(self, name: str, keys: list[str], args: list[Any]) -> Any:
        """Run a script whose effect repairs itself later if Valkey is away."""
        try:
            return script(name)(keys, args, on=self._on)
        except RedisError as error:
            _log.warning("%s left to the sweeper: %s", name, error)
            return None

    def _quietly_each(self, name: str, calls: Sequence[tuple[list[str], list[Any]]]) -> list[Any]:
        """Do that with several keys and arguments, in one round trip; the first time in two: one sends the script."""
        alone = 0 if name in self._sent else 1
        found = [self._quietly(name, *one) for one in calls[:alone]]
        if found and found[0] is not None:
            self._sent.add(name)
        rest = calls[alone:]
        if len(rest) > 1 and self._on is None:
            sha = script(name).sha
            try:
                trip = valkey.in_one_trip([("EVALSHA", sha, str(len(keys)), *keys, *args) for keys, args in rest])
            except RedisError:  # each finds out by itself; a repeat does no harm
                self._sent.discard(name)
            else:
                return [*found, *trip]
        return [*found, *(self._quietly(name, *one) for one in rest)]

    def _caps(self, limits: Limits) -> list[int]:
        service = (limits.key_tokens_per_day, limits.key_micro_usd_per_day)
        return [limits.tokens_per_day, limits.micro_usd_per_day, self._tokens_all, self._micro_all, *service]


def spends(user: str, day: str) -> tuple[str, str, str]:
    """Return the keys of a day's use: the user's, everybody's, and that of the service which the user belongs to."""
    return names.spend_key(user, day), names.spend_all_key(day), names.spend_key(names.key_name(user), day)
