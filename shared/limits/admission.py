"""Admission: may this task come in now? One Lua script, one round trip, all or nothing.

The clock is the Valkey server's, so that environments need not agree on one. The rolling window is exact: the
times of a user's last admissions are kept (at most ``quota`` of them), and a request at ``t`` counts those in
``(t - w, t]``. The ingress bucket is a token bucket in its arrival-time form (GCRA, ITU-T I.371): one number
instead of two.

What Valkey holds may be lost. Spending is durable elsewhere and loaded again through ``load_spend``; the
window and the queue sizes start afresh.
"""

from __future__ import annotations

import itertools
import logging
import time
from typing import TYPE_CHECKING, Any

from shared import valkey
from shared.errors import BudgetExhausted, DependencyDown
from shared.limits import names
from shared.limits.local import LocalGate
from shared.limits.scripts import script
from shared.limits.shares import owner_of
from shared.limits.thresholds import THRESHOLDS
from shared.limits.tiers import Limits
from shared.limits.usage import usage as _usage
from shared.limits.verdict import BUDGETS, Ask, Verdict, Window, verdict_of
from shared.settings import settings
from shared.valkey import RedisError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shared.settings import Settings

__all__ = ["BUDGETS", "Ask", "Gate", "Limits", "Verdict", "Window"]

_log = logging.getLogger(__name__)

QUEUED_SLOT_S = 3600
"""A slot taken at submit lasts so long in the queue; the worker then renews it by its lease."""
CHECK_S = 300
"""First look of the sweeper at an open entry after its admission, s."""
CHECK_AFTER_S = 30
"""First look of the sweeper at a settled task that is not done with, s."""
CHECK_AGAIN_S = 600
"""Every further look, s."""
FRESH_S = 300
"""Spending is loaded again from its durable record when older, so that no lost update lasts longer, s."""
BUSY_S = 5
"""Hint for a full queue, whose next free place nobody knows, s."""
DONE_S = 600
"""How long a settled task is remembered, against reservations and slots of a late worker, s."""
KEEP_MARGIN_S = 86_400
type Caps = tuple[int, int, int, int]
"""Ceilings of a day, 0 for none: tokens and micro-USD of a user, and of the service that they belong to."""
NO_CAPS: Caps = (0, 0, 0, 0)


class Gate:
    """The limits of this environment's Valkey. Thread-safe; make one per environment."""

    def __init__(
        self,
        load_spend: Callable[[str, str], tuple[int, int]],
        *,
        config: Settings | None = None,
        on: Any = None,
        now_us: Callable[[], int] | None = None,
    ) -> None:
        """Wire it up.

        ``load_spend(user, day)`` reads the durable (tokens, micro-USD) of a day, user ``*`` meaning all users
        together. ``on`` is another Valkey client and ``now_us`` another clock than the environment's (tests).
        """
        self._load = load_spend
        self._config = config or settings()
        self._on = on
        self._now_us = now_us
        self._local = LocalGate(self._config.ingress_rate, self._config.ingress_burst)
        self._keep_s = int(self._config.task_ttl_days * 86_400) + KEEP_MARGIN_S
        self._tokens_all = self._config.global_tokens_per_day
        self._micro_all = round(self._config.global_usd_per_day * 1_000_000)
        rate = self._config.ingress_rate
        # rounded up: never faster than the rate
        self._interval_us = -int(-1_000_000 // rate) if rate > 0 else 0

    def admit(self, ask: Ask) -> Verdict:
        """Count the task against every limit, or say which limit refuses and for how long.

        Raises:
            DependencyDown: Valkey is away and ``REDIS_DOWN`` is ``refuse``, or a global ceiling is set, which
            only
                Valkey can keep; or the durable spending cannot be read.
        """
        limits, user = ask.limits, names.user_keys(ask.user)
        keys = [names.INGRESS, names.OPEN, user.log, user.entries, user.slots, *_spends(ask.user, ask.day)]
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
        keys = [names.INGRESS, names.OPEN, user.log, user.entries, user.slots, *_spends(ask.user, ask.day)]
        keys += [names.OWNERS, names.INGRESS_OWNERS, names.DEADLINES, *names.LANES]
        member = names.member(ask.user, ask.task_id, ask.day)
        self._quietly("undo", keys, [ask.task_id, member, self._interval_us])

    def take_slot(
        self, user: str, task_id: str, running: int, ttl_s: float, *, lane: str = "", starts: bool = False
    ) -> bool:
        """Take a running slot, or renew the one the task holds; ``running`` is the cap, 0 for none.

        With it goes that the task ``starts``, or that it waits in its ``lane`` with a message.
        True without Valkey: the cap then rests on the number of workers.
        """
        args = [self._now(), task_id, running, round(ttl_s * 1_000_000), lane, owner_of(user)]
        keys = [names.user_keys(user).slots, *names.LANES]
        return bool(self._quietly("take_slot", keys, [*args, "start" if starts else "wait"]) != 0)

    def renew(self, holders: Sequence[tuple[str, str]], ttl_s: float) -> None:
        """Extend the slots of (user, task_id) pairs, in one round trip; a task that was settled gets none back."""
        if holders:
            keys = [names.user_keys(user).slots for user, _ in holders]
            keys += [names.done_key(task_id) for _, task_id in holders]
            args = [self._now(), round(ttl_s * 1_000_000), len(holders), *(task_id for _, task_id in holders)]
            self._quietly("renew", [*keys, *names.LANES], args)

    def release_slot(self, user: str, task_id: str) -> None:
        """Free the task's slot; without Valkey it lapses by itself."""
        self._quietly("release_slot", [names.user_keys(user).slots, *names.LANES], [task_id])

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
            DependencyDown: as in `reserve`.
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

    def settle(self, user: str, task_id: str, day: str, tokens: int, micro_usd: int) -> bool:
        """Record a task's final use: drop its open entry, slot and reservation. A repeat changes nothing.

        Returns whether the user may have parked tasks, whose turn it is now (True when nobody can say).
        Without Valkey the entry stays, comes up in `overdue`, and the sweeper settles it.
        """
        return self.settled(user, task_id, day, tokens, micro_usd)[0]

    def settled(
        self, user: str, task_id: str, day: str, tokens: int, micro_usd: int, caps: Caps = NO_CAPS
    ) -> tuple[bool, list[tuple[str, int]]]:
        """Do the same; returns also whose day has come to a threshold of its ceiling, and when that was noted (µs)."""
        return self._leave(user, task_id, day, tokens, micro_usd, DONE_S, caps)

    def rest(self, user: str, task_id: str, day: str, tokens: int, micro_usd: int, caps: Caps = NO_CAPS) -> bool:
        """Do the same for a task that waits: it counts nowhere until it is `adopt`-ed again.

        The sweeper sees to the thresholds that the day has come to.
        """
        return self._leave(user, task_id, day, tokens, micro_usd, 0, caps)[0]

    def _leave(
        self, user: str, task_id: str, day: str, tokens: int, micro_usd: int, done_s: int, caps: Caps
    ) -> tuple[bool, list[tuple[str, int]]]:
        keys = names.user_keys(user)
        spend, spend_all, spend_service = _spends(user, day)
        args = [self._now(), task_id, names.member(user, task_id, day), tokens, micro_usd, done_s]
        used = [names.OPEN, keys.entries, keys.slots, spend, spend_all, names.done_key(task_id), spend_service]
        used += [names.OWNERS, names.DEADLINES, names.ALERTS, *names.LANES]
        args += [user, *caps[:2], "*", self._tokens_all, self._micro_all, names.key_name(user), *caps[2:], *THRESHOLDS]
        reply = self._quietly("settle", used, args)
        if reply is None:
            return True, []
        return reply[0] != 0, [(str(whose), int(reply[1])) for whose in reply[2:]]

    def look_again(self, user: str, task_id: str, day: str) -> None:
        """Have the sweeper look at a task that was settled, but after whose end something is left to do.

        Raises:
            RedisError: Valkey is away.
        """
        at = self._now_us() if self._now_us else round(time.time() * 1_000_000)
        server = self._on if self._on is not None else valkey.client()
        server.zadd(names.OPEN, {names.member(user, task_id, day): at + CHECK_AFTER_S * 1_000_000})

    def overdue(self, limit: int) -> list[tuple[str, str, str]]:
        """Return up to ``limit`` open entries that are due for a check, as (user, task_id, day).

        Their next check is put off. The sweeper looks at each task's row: ended or missing, it settles it
        here.
        """
        found = self._quietly("overdue", [names.OPEN], [self._now(), limit, CHECK_AGAIN_S * 1_000_000])
        return [names.parse_member(member) for member in found or []]

    def usage(self, user: str, limits: Limits) -> dict[str, dict[str, Any]]:
        """Return every limit of a user with what is used and left; see `shared.limits.usage`.

        Raises:
            DependencyDown: the durable spending cannot be read.
        """
        return _usage(user, limits, load=self._load, on=self._on, now=self._now(), fresh_us=FRESH_S * 1_000_000)

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
        spend, spend_all, spend_service = _spends(user, day)
        keys = [names.OPEN, names.user_keys(user).entries, spend, spend_all, names.done_key(task_id), spend_service]
        keys.append(names.OWNERS)
        args = [self._now(), task_id, names.member(user, task_id, day), int(adopt), tokens, micro_usd, *caps]
        args += [CHECK_S * 1_000_000, self._keep_s, FRESH_S * 1_000_000]
        try:
            reply = self._with_spend("reserve", keys, args, user, day)
        except RedisError as error:
            raise DependencyDown("redis") from error
        return None if reply[0] == "ok" else str(reply[1])

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

    def _caps(self, limits: Limits) -> list[int]:
        service = (limits.key_tokens_per_day, limits.key_micro_usd_per_day)
        return [limits.tokens_per_day, limits.micro_usd_per_day, self._tokens_all, self._micro_all, *service]

    def _now(self) -> int | str:
        return self._now_us() if self._now_us else ""


def _spends(user: str, day: str) -> tuple[str, str, str]:
    """Return the keys of a day's use: the user's, everybody's, and that of the service which the user belongs to."""
    return names.spend_key(user, day), names.spend_all_key(day), names.spend_key(names.key_name(user), day)
