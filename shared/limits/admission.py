"""Admission: may this task come in now? One Lua script, one round trip, all or nothing.

The rolling window is exact: the times of a user's last admissions are kept (at most ``quota`` of them), and a request
at ``t`` counts those in ``(t - w, t]``. The ingress bucket is a token bucket in its arrival-time form (GCRA, ITU-T
I.371): one number instead of two.

What Valkey holds may be lost. Spending is durable elsewhere and loaded again through ``load_spend``; the window and the
queue sizes start afresh.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

from shared.errors import DependencyDown
from shared.limits import names
from shared.limits.local import LocalGate
from shared.limits.reservations import Reservations
from shared.limits.scripted import CHECK_S, FRESH_S, spends
from shared.limits.slots import Slots
from shared.limits.tiers import Limits
from shared.limits.usage import usage as _usage
from shared.limits.verdict import BUDGETS, THRESHOLDS, Ask, Verdict, Window, verdict_of
from shared.settings import Settings
from shared.valkey import RedisError

__all__ = ["BUDGETS", "Ask", "Gate", "Limits", "Verdict", "Window"]

QUEUED_SLOT_S = 3600
"""A slot taken at submit lasts so long in the queue; the worker then renews it by its lease."""
CHECK_AFTER_S = 30
"""First look of the sweeper at a settled task that is not done with, s."""
CHECK_AGAIN_S = 600
"""Every further look, s."""
UNSETTLED: tuple[bool, list[tuple[str, int]]] = (True, [])
"""What `Gate.settled_all` says of a task that Valkey was not told of."""
BUSY_S = 5
"""Hint for a full queue, whose next free place nobody knows, s."""
DONE_S = 600
"""How long a settled task is remembered, against reservations and slots of a late worker, s."""
type Caps = tuple[int, int, int, int]
"""Ceilings of a day, 0 for none: tokens and micro-USD of a user, and of the service that they belong to."""
NO_CAPS: Caps = (0, 0, 0, 0)
type Ended = tuple[str, str, str, int, int, Caps]
"""A task that has ended: its user, itself, its day, the tokens and micro-USD that it used, the day's ceilings."""


class Gate(Slots, Reservations):
    """The limits of this environment's Valkey: who comes in, runs, spends, and leaves."""

    def __init__(
        self,
        load_spend: Callable[[str, str], tuple[int, int]],
        *,
        config: Settings | None = None,
        on: Any = None,
        now_us: Callable[[], int] | None = None,
    ) -> None:
        super().__init__(load_spend, config=config, on=on, now_us=now_us)
        rate = self._config.ingress_rate
        self._local = LocalGate(rate, self._config.ingress_burst)
        # rounded up: never faster than the rate
        self._interval_us = -int(-1_000_000 // rate) if rate > 0 else 0

    def admit(self, ask: Ask) -> Verdict:
        """Count the task against every limit, or say which limit refuses and for how long.

        Raises:
            DependencyDown: Valkey is away and ``REDIS_DOWN`` is ``refuse``, or a global ceiling is set, which only
                Valkey can keep; or the durable spending cannot be read.
        """
        limits, user = ask.limits, names.user_keys(ask.user)
        keys = [names.INGRESS, names.OPEN, user.log, user.entries, user.slots, *spends(ask.user, ask.day)]
        keys += [names.OWNERS, names.INGRESS_OWNERS, names.INGRESS_WANTS, names.DEADLINES, *names.LANES]
        member = names.member(ask.user, ask.task_id, ask.day)
        args = [self._now(), ask.task_id, member, limits.requests, limits.window_s * 1_000_000]
        args += [limits.queued, self._config.global_queue_limit, limits.running, QUEUED_SLOT_S * 1_000_000]
        args += [ask.tokens, ask.micro_usd, *self._caps(limits)]
        args += [self._interval_us, self._config.ingress_burst]
        args += [CHECK_S * 1_000_000, self._keep_s, FRESH_S * 1_000_000, BUSY_S * 1_000_000]
        args += [ask.lane, round(ask.deadline * 1_000_000), limits.key_queued]
        try:
            reply = self._with_spend("admit", keys, args, ask.user, ask.day)
        except RedisError as error:
            if self._config.redis_down == "refuse" or self._tokens_all or self._micro_all:
                raise DependencyDown("redis") from error
            return self._local.admit(ask, time.monotonic())
        return verdict_of(reply, limits, self._config)

    def never_fits(self, limit: str, ask: Ask) -> bool:
        """Tell whether a task's worst case alone is more than a day's ceiling allows, so that no waiting helps."""
        ceilings = {
            "tokens_per_day": (ask.tokens, ask.limits.tokens_per_day),
            "usd_per_day": (ask.micro_usd, ask.limits.micro_usd_per_day),
            "tokens_per_day_key": (ask.tokens, ask.limits.key_tokens_per_day),
            "usd_per_day_key": (ask.micro_usd, ask.limits.key_micro_usd_per_day),
            "tokens_per_day_global": (ask.tokens, self._tokens_all),
            "usd_per_day_global": (ask.micro_usd, self._micro_all),
        }
        wanted, ceiling = ceilings.get(limit, (0, 0))
        return wanted > ceiling

    def undo(self, ask: Ask) -> None:
        """Take an admission back, quota included: the row could not be written. A repeat changes nothing."""
        user = names.user_keys(ask.user)
        keys = [names.INGRESS, names.OPEN, user.log, user.entries, user.slots, *spends(ask.user, ask.day)]
        keys += [names.OWNERS, names.INGRESS_OWNERS, names.DEADLINES, *names.LANES]
        member = names.member(ask.user, ask.task_id, ask.day)
        self._quietly("undo", keys, [ask.task_id, member, self._interval_us])

    def settle(self, user: str, task_id: str, day: str, tokens: int, micro_usd: int) -> bool:
        """Record a task's final use: drop its open entry, slot and reservation. A repeat changes nothing.

        Returns whether the user may have parked tasks, whose turn it is now (True when nobody can say).
        Without Valkey the entry stays, comes up in `overdue`, and the sweeper settles it.
        """
        return self.settled_all([(user, task_id, day, tokens, micro_usd, NO_CAPS)])[0][0]

    def settled_all(self, ended: Sequence[Ended]) -> list[tuple[bool, list[tuple[str, int]]]]:
        """Do so for several tasks, in one round trip.

        Returns of each also whose day has come to a threshold of its ceiling, and when that was noted (µs).
        """
        replies = self._quietly_each("settle", [self._leaving(*one[:5], DONE_S, one[5]) for one in ended])
        return [_left(reply) for reply in replies]

    def rest(self, user: str, task_id: str, day: str, tokens: int, micro_usd: int, caps: Caps = NO_CAPS) -> bool:
        """Do the same for a task that waits: it counts nowhere until it is `adopt`-ed again.

        The sweeper sees to the thresholds that the day has come to.
        """
        return _left(self._quietly("settle", *self._leaving(user, task_id, day, tokens, micro_usd, 0, caps)))[0]

    def _leaving(
        self, user: str, task_id: str, day: str, tokens: int, micro_usd: int, done_s: int, caps: Caps
    ) -> tuple[list[str], list[Any]]:
        keys = names.user_keys(user)
        spend, spend_all, spend_service = spends(user, day)
        args = [self._now(), task_id, names.member(user, task_id, day), tokens, micro_usd, done_s]
        used = [names.OPEN, keys.entries, keys.slots, spend, spend_all, names.done_key(task_id), spend_service]
        used += [names.OWNERS, names.DEADLINES, names.ALERTS, *names.LANES]
        args += [user, *caps[:2], "*", self._tokens_all, self._micro_all, names.key_name(user), *caps[2:], *THRESHOLDS]
        return used, args

    def look_again(self, user: str, task_id: str, day: str) -> None:
        """Have the sweeper look at a task that was settled, but after whose end something is left to do.

        Raises:
            RedisError: Valkey is away.
        """
        at = self._now_us() if self._now_us else round(time.time() * 1_000_000)
        self._server().zadd(names.OPEN, {names.member(user, task_id, day): at + CHECK_AFTER_S * 1_000_000})

    def overdue(self, limit: int) -> list[tuple[str, str, str]]:
        """Return up to ``limit`` open entries that are due for a check, as (user, task_id, day).

        Their next check is put off. The sweeper looks at each task's row: ended or missing, it settles it here.
        """
        found = self._quietly("overdue", [names.OPEN], [self._now(), limit, CHECK_AGAIN_S * 1_000_000])
        return [names.parse_member(member) for member in found or []]

    def usage(self, user: str, limits: Limits) -> dict[str, dict[str, Any]]:
        """Return every limit of a user with what is used and left; see `shared.limits.usage`."""
        return _usage(user, limits, load=self._load, on=self._on, now=self._now(), fresh_us=FRESH_S * 1_000_000)


def _left(reply: Any) -> tuple[bool, list[tuple[str, int]]]:
    if reply is None:
        return UNSETTLED
    return reply[0] != 0, [(str(whose), int(reply[1])) for whose in reply[2:]]
