"""Durable spending: one item per user and UTC day, written in the transaction that settles a run.

Valkey holds the working copy (used + reserved); this is what it is rebuilt from. The total of all users is spread over
eight items, since every settled run adds to it. A user's item also says what the money went to, see
`shared.tasks.costs`.
"""

import random
import secrets
from typing import Any

from shared import clock
from shared.limits import names
from shared.settings import settings
from shared.tasks import costs, days, events, table
from shared.tasks.items import item, row_key, values_of
from shared.tasks.model import Task, Usage

EVERYONE = "*"
SHARDS = 8
CAPS = ("cap_tokens", "cap_micro_usd")
"""Attributes of a user's day, or a service's, that name its ceilings as its newest run had them (`shared.alerts`)."""


def has_global_ceiling() -> bool:
    """Whether the total of all users is bounded and therefore recorded."""
    return bool(settings().global_tokens_per_day or settings().global_usd_per_day)


def _has_key_ceiling(task: Task) -> bool:
    """Whether what all users of its service spend together is bounded and therefore recorded."""
    return bool(task.cap_key_tokens or task.cap_key_micro_usd)


def add_ops(task: Task, *, ended: bool = True) -> list[dict[str, Any]]:
    """Make the Updates that charge a run's use to its user's days (and to the total), less what was charged before.

    A run counts, on the day of its last call, when it ends and has used anything.
    """
    estimate = {days.submitted(task): (task.precharged_tokens, task.precharged_micro_usd)}
    before = {day: (used[0], used[1]) for day, used in (task.charged or estimate).items()}
    spent, models = days.by_day(task), days.by_model(task)
    ops = []
    for day in sorted(spent.keys() | before.keys()):
        (tokens, money), (tokens_before, money_before) = spent.get(day, (0, 0)), before.get(day, (0, 0))
        runs = int(ended and day == task.day and bool(task.usage.tokens or task.micro_usd))
        if tokens != tokens_before or money != money_before or runs:
            more = _less(models.get(day, {}), days.charged_by_model(task, day))
            adds = {"tokens": tokens - tokens_before, "micro_usd": money - money_before - days.paid_by_user(more)}
            of = costs.adds(task, day, more, runs)
            ops += _adds(task, day, adds | ({"runs": runs} if runs else {}), of)
    return ops


def _less(spent: dict[str, tuple[int, int]], before: dict[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
    """Return what is left of use by models when what was charged before is taken off."""
    found = {}
    for model in spent.keys() | before.keys():
        (tokens, money), (tokens_before, money_before) = spent.get(model, (0, 0)), before.get(model, (0, 0))
        found[model] = tokens - tokens_before, money - money_before
    return found


def lost(task: Task, use: Usage, *, name: str = "") -> None:
    """Charge a user's day for a call of a run that is another worker's by now.

    Who has the run does not know of the call, and writes the run's own figures; so it stands beside these. Who tries
    again gives the call a random ``name``: what was written, and only the answer was lost, is not charged twice.

    Raises:
        Contended, DependencyDown: try again.
    """
    day = use.day or task.day
    model = use.model or task.model
    adds = {"tokens": use.tokens, "micro_usd": use.micro_usd - days.paid_by_user({model: (0, use.micro_usd)})}
    ops = _adds(task, day, adds, costs.adds(task, day, {model: (use.tokens, use.micro_usd)}, 0))
    used = {"input_tokens": use.input_tokens, "output_tokens": use.output_tokens, "micro_usd": use.micro_usd}
    row = table.update_op(
        row_key(task.task_id),
        adds={f"lost_{name}": value for name, value in used.items()},
        condition="attribute_exists(#pk)",
    )
    values = {**used, "day": day, "model": model, "ttl": int(events.expires(clock.now()))}
    key = row_key(task.task_id, f"{LOST}{name or secrets.token_hex(8)}")
    note = table.put_op(key | item(values), condition="attribute_not_exists(pk)")
    try:
        table.transact([row, note, *ops])
    except table.ConditionFailed as refusal:
        if 0 in refusal.items:  # it was erased meanwhile; the day's total stays
            table.transact(ops)


LOST = "USED#"
"""How the keys of items begin that tell of such calls; behind ``TASK``, for a reader of events ends there."""


def _adds(task: Task, day: str, adds: dict[str, int], of: dict[str, int]) -> list[dict[str, Any]]:
    """Make the Updates of a day; ``of`` tells what it went to, and stands with the user's own only."""
    users: list[tuple[str, dict[str, int]]] = []
    if _has_key_ceiling(task):
        users.append((names.key_name(task.user), _caps(task.cap_key_tokens, task.cap_key_micro_usd)))
    if has_global_ceiling():
        users.append((f"{EVERYONE}{random.randrange(SHARDS)}", {}))  # noqa: S311 - spreads writes, hides nothing
    ttl = {"ttl": costs.kept_until(day)}  # runs that end together add up in one write only if they agree
    caps = _caps(task.cap_tokens, task.cap_micro_usd)
    own = table.update_op(costs.key(task.user, day), adds=adds | of, sets=ttl | caps | costs.listed(task.user, day))
    return [own, *(table.update_op(costs.key(user, day), adds=adds, sets=ttl | caps) for user, caps in users)]


def caps_of(task: Task) -> tuple[int, int, int, int]:
    """Return the day's ceilings that a task was admitted under, as `Gate.settled` takes them."""
    return task.cap_tokens, task.cap_micro_usd, task.cap_key_tokens, task.cap_key_micro_usd


def _caps(tokens: int, micro_usd: int) -> dict[str, int]:
    return {name: ceiling for name, ceiling in zip(CAPS, (tokens, micro_usd), strict=True) if ceiling}


def precharge_ops(task: Task) -> list[dict[str, Any]]:
    """Make the Updates that charge a run's estimate ahead, used while Valkey cannot hold reservations.

    Their conditions fail when a day's ceiling would be passed: its user's, or that of its user's service.
    """
    ops = [_precharge_op(task, task.user, task.cap_tokens, task.cap_micro_usd)]
    if _has_key_ceiling(task):
        service = names.key_name(task.user)
        ops.append(_precharge_op(task, service, task.cap_key_tokens, task.cap_key_micro_usd))
    return ops


def _precharge_op(task: Task, user: str, tokens_per_day: int, micro_usd_per_day: int) -> dict[str, Any]:
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
        costs.key(user, task.day),
        adds={"tokens": task.precharged_tokens, "micro_usd": task.precharged_micro_usd},
        sets={"ttl": costs.kept_until(task.day)},
        condition=" OR ".join(conditions),
        values=values,
    )


def load(user: str, day: str) -> tuple[int, int]:
    """Return (tokens, micro-USD) recorded for a user's day; user ``*`` is everyone."""
    users = [f"{EVERYONE}{n}" for n in range(SHARDS)] if user == EVERYONE else [user]
    tokens = money = 0
    for name in users:
        row = values_of(table.get(costs.key(name, day)) or {})
        tokens += row.get("tokens", 0)
        money += row.get("micro_usd", 0)
    return tokens, money
