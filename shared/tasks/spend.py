"""Durable spending: one item per user and UTC day, written in the transaction that settles a run.

Valkey holds the working copy (used + reserved); this is what it is rebuilt from. The total of all users is spread over
eight items, since every settled run adds to it.
"""

from __future__ import annotations

import random
from typing import Any

from shared import clock
from shared.limits import names
from shared.settings import settings
from shared.tasks import days, events, table
from shared.tasks.items import Attributes, plain
from shared.tasks.model import Task, Usage

EVERYONE = "*"
SHARDS = 8


def _key(user: str, day: str) -> Attributes:
    return {"pk": {"S": f"SPEND#{user}#{day}"}, "sk": {"S": "SPEND"}}


def has_global_ceiling() -> bool:
    """Whether the total of all users is bounded and therefore recorded."""
    return bool(settings().global_tokens_per_day or settings().global_usd_per_day)


def _has_key_ceiling(task: Task) -> bool:
    """Whether what all users of its service spend together is bounded and therefore recorded."""
    return bool(task.cap_key_tokens or task.cap_key_micro_usd)


def add_ops(task: Task, *, expires: float, ended: bool = True) -> list[dict[str, Any]]:
    """Make the Updates that charge a run's use to its user's days (and to the total), less what was charged before."""
    before = task.charged or {days.submitted(task): (task.precharged_tokens, task.precharged_micro_usd)}
    spent = days.by_day(task)
    ops = []
    for day in sorted(spent.keys() | before.keys()):
        (tokens, money), (tokens_before, money_before) = spent.get(day, (0, 0)), before.get(day, (0, 0))
        if tokens != tokens_before or money != money_before:
            adds = {"tokens": tokens - tokens_before, "micro_usd": money - money_before}
            ops += _adds(task, day, adds | ({"runs": 1} if ended and day == task.day else {}), expires)
    return ops


def lost(task: Task, use: Usage) -> None:
    """Charge a user's day for a call of a run that is another worker's by now, so that its row will not tell of it.

    Raises:
        Contended, DependencyDown: nothing was written.
    """
    adds = {"tokens": use.tokens, "micro_usd": use.micro_usd}
    table.transact(_adds(task, use.day or task.day, adds, events.expires(clock.now())))


def _adds(task: Task, day: str, adds: dict[str, int], expires: float) -> list[dict[str, Any]]:
    users = [task.user]
    if _has_key_ceiling(task):
        users.append(names.key_name(task.user))
    if has_global_ceiling():
        users.append(f"{EVERYONE}{random.randrange(SHARDS)}")  # noqa: S311 - spreads writes, hides nothing
    whole_days = -(-int(expires) // 86_400) * 86_400  # runs that end together add up in one write only if they agree
    return [table.update_op(_key(user, day), adds=adds, sets={"ttl": whole_days}) for user in users]


def precharge_ops(task: Task, *, expires: float) -> list[dict[str, Any]]:
    """Make the Updates that charge a run's estimate ahead, used while Valkey cannot hold reservations.

    Their conditions fail when a day's ceiling would be passed: its user's, or that of its user's service.
    """
    ops = [_precharge_op(task, task.user, task.cap_tokens, task.cap_micro_usd, expires)]
    if _has_key_ceiling(task):
        service = names.key_name(task.user)
        ops.append(_precharge_op(task, service, task.cap_key_tokens, task.cap_key_micro_usd, expires))
    return ops


def _precharge_op(task: Task, user: str, tokens_per_day: int, micro_usd_per_day: int, expires: float) -> dict[str, Any]:
    conditions, values = ["attribute_not_exists(#pk)"], {}
    bounds = [
        (name, ceiling - estimate)
        for name, ceiling, estimate in (
            ("tokens", tokens_per_day, task.precharged_tokens),
            ("micro_usd", micro_usd_per_day, task.precharged_micro_usd),
        )
        if ceiling
    ]
    if any(left < 0 for _, left in bounds):
        conditions = ["attribute_exists(#pk) AND attribute_not_exists(#pk)"]  # over the ceiling by itself
    elif bounds:
        conditions.append("(" + " AND ".join(f"#{name} <= :{name}_left" for name, _ in bounds) + ")")
        values = {f"{name}_left": left for name, left in bounds}
    return table.update_op(
        _key(user, task.day),
        adds={"tokens": task.precharged_tokens, "micro_usd": task.precharged_micro_usd},
        sets={"ttl": int(expires)},
        condition=" OR ".join(conditions),
        values=values,
    )


def load(user: str, day: str) -> tuple[int, int]:
    """Return (tokens, micro-USD) recorded for a user's day; user ``*`` is everyone.

    Raises:
        DependencyDown: DynamoDB is away.
    """
    users = [f"{EVERYONE}{n}" for n in range(SHARDS)] if user == EVERYONE else [user]
    tokens = money = 0
    for name in users:
        row = table.get(_key(name, day))
        if row:
            tokens += plain(row.get("tokens", {"N": "0"}))
            money += plain(row.get("micro_usd", {"N": "0"}))
    return tokens, money
