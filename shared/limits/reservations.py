"""Reservations: what open tasks may still spend of the day's ceilings, raised before each of their calls."""

from shared.errors import BudgetExhausted, DependencyDown
from shared.limits import names
from shared.limits.scripted import CHECK_S, FRESH_S, Scripted, spends
from shared.limits.tiers import Limits
from shared.valkey import RedisError


class Reservations(Scripted):
    """The reservations of all open tasks."""

    def reserve(self, user: str, task_id: str, day: str, tokens: int, micro_usd: int, limits: Limits) -> bool:
        """Raise the task's reservation to these amounts; False when a daily ceiling would be passed or it has ended.

        A repeat changes nothing.

        Raises:
            DependencyDown: Valkey is away: the caller reserves durably (see `Verdict.precharge`) or tries
            later.
        """
        return self._reserve(user, task_id, day, tokens, micro_usd, limits) is None

    def bounded(self, limits: Limits) -> bool:
        """Tell whether any ceiling of the day holds, so that there is something to reserve."""
        return any(self._caps(limits))

    def must_reserve(self, user: str, task_id: str, day: str, tokens: int, micro_usd: int, limits: Limits) -> None:
        """Do the same, naming the ceiling that refuses.

        Raises:
            BudgetExhausted: with the limit's name (``ended`` for a task that was settled).
        """
        refusing = self._reserve(user, task_id, day, tokens, micro_usd, limits)
        if refusing is not None:
            raise BudgetExhausted(refusing)

    def adopt(self, user: str, task_id: str, day: str, tokens: int, micro_usd: int, limits: Limits) -> None:
        """Put back the open entry of a live task that Valkey does not know.

        It lost its data, or was away at the submit. ``tokens`` and ``micro_usd`` are what its row holds
        reserved. An entry that exists is left alone, and a task that was settled is not put back.

        Raises:
            DependencyDown: Valkey is away, or the durable spending cannot be read.
        """
        self._reserve(user, task_id, day, tokens, micro_usd, limits, adopt=True)

    def _reserve(
        self,
        user: str,
        task_id: str,
        day: str,
        tokens: int,
        micro_usd: int,
        limits: Limits,
        *,
        adopt: bool = False,
    ) -> str | None:
        caps = self._caps(limits)
        if not any(caps) and not adopt:
            return None  # nothing is limited by the day: no round trip
        spend, spend_all, spend_service = spends(user, day)
        keys = [names.OPEN, names.user_keys(user).entries, spend, spend_all, names.done_key(task_id), spend_service]
        keys.append(names.OWNERS)
        args = [self._now(), task_id, names.member(user, task_id, day), int(adopt), tokens, micro_usd, *caps]
        args += [CHECK_S * 1_000_000, self._keep_s, FRESH_S * 1_000_000]
        try:
            reply = self._with_spend("reserve", keys, args, user, day)
        except RedisError as error:
            raise DependencyDown("redis") from error
        return None if reply[0] == "ok" else str(reply[1])
