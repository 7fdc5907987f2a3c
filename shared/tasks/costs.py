"""What a day's money of a user went to: by agent, model and API key, in the item that counts the day.

Attributes beside the day's totals, so that no further item is written: ``a:``, ``m:`` or ``k:``, the name, and ``:t``
(tokens), ``:u`` (micro-USD) or ``:n`` (runs). The index of a user's tasks lists under ``SPEND#day`` who spent on a day.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

from shared import clock
from shared.errors import DependencyDown
from shared.limits import models
from shared.settings import settings
from shared.tasks import table
from shared.tasks.items import Attributes, table_key, values_of
from shared.tasks.model import Task

KINDS = {"agent": "a", "model": "m", "key": "k"}
FIGURES = ("t", "u", "n")
MODEL_NAMES = 100
"""Models of a user and day that have a group of their own, besides those that the price table or the operator names:
a provider may answer to any name, and an item must not grow with what clients think of."""
NAME_CHARACTERS = 64
"""Longest name of a group; a longer one is cut."""
OTHER = "(other)"
"""The group of models beyond ``MODEL_NAMES``."""
NONE = "(none)"
"""The group of runs that name no key."""
UNKNOWN = "(unknown)"
"""The group of what was charged by a version that did not count by groups."""
_DAY_SECONDS = 86_400


class Cost(NamedTuple):
    """What something cost. A run counts when it has ended and used anything, on the day of its last call."""

    tokens: int = 0
    micro_usd: int = 0
    runs: int = 0

    def plus(self, other: Cost) -> Cost:
        """Return the sum."""
        return Cost(self.tokens + other.tokens, self.micro_usd + other.micro_usd, self.runs + other.runs)


def key(user: str, day: str) -> Attributes:
    """Return the key of a user's day."""
    return table_key(f"SPEND#{user}#{day}", "SPEND")


def listed(user: str, day: str) -> dict[str, str]:
    """Return what lists a user's day among all users'; it never changes, so only the first write pays for it."""
    return {"by_user": f"SPEND#{day}", "created": user}


def kept_until(day: str) -> int:
    """Return until when a day's counters are kept, epoch seconds."""
    return int(clock.epoch(f"{day}T00:00:00+00:00")) + (settings().cost_days + 1) * _DAY_SECONDS


def adds(task: Task, day: str, models: dict[str, tuple[int, int]], runs: int) -> dict[str, int]:
    """Return what is added to a day's groups for a run that used so many tokens and micro-USD of models.

    The run counts for the model that was asked for, whichever answered.
    """
    found: Counter[str] = Counter()

    def count(kind: str, name: str, cost: Cost) -> None:
        for figure, value in zip(FIGURES, cost, strict=True):
            if value:
                found[f"{KINDS[kind]}:{name}:{figure}"] += value

    total = Cost(sum(used[0] for used in models.values()), sum(used[1] for used in models.values()), runs)
    count("agent", _cut(task.agent), total)
    count("key", task.key_id or NONE, total)
    for model, used in models.items():
        if any(used):
            count("model", model_group(task.user, day, model), Cost(*used))
    if runs:
        count("model", model_group(task.user, day, task.model), Cost(runs=runs))
    return {name: found[name] for name in sorted(found)}


def _cut(name: str) -> str:
    return name[:NAME_CHARACTERS] or NONE


def model_group(user: str, day: str, model: str) -> str:
    """Return the group of a model: its name, while a user's day has not too many."""
    name = _cut(model)
    if models.is_listed(model):
        return name
    try:
        return name if _has_room(user, day, name) else OTHER
    except DependencyDown:
        return OTHER


@lru_cache(4096)
def _has_room(user: str, day: str, name: str) -> bool:
    there = {group for kind, group, _ in _groups(table.get(key(user, day), consistent=False) or {}) if kind == "m"}
    return name in there or len(there) < MODEL_NAMES


def forget() -> None:
    """Look again what groups there are (between tests)."""
    _has_room.cache_clear()


def _groups(row: Attributes) -> Iterator[tuple[str, str, str]]:
    for name in row:
        if len(name) > 4 and name[1] == ":" and name[-2] == ":":
            yield name[0], name[2:-2], name[-1]


def of_row(row: Attributes, by: str) -> dict[str, Cost]:
    """Return what a user's day cost by the names of a kind (a key of ``KINDS``).

    Their sum is what ended or waiting runs used; the day's total may hold estimates of others that still run.
    """
    values = values_of(row)
    found: dict[str, dict[str, int]] = {}
    counted = False
    for kind, name, figure in _groups(row):
        counted = True
        if kind == KINDS[by]:
            found.setdefault(name, {})[figure] = values[f"{kind}:{name}:{figure}"]
    if not counted and "tokens" in row:
        return {UNKNOWN: Cost(**{name: values[name] for name in Cost._fields if name in values})}
    return {name: Cost(*(figures.get(one, 0) for one in FIGURES)) for name, figures in found.items()}


def total(row: Attributes) -> Cost:
    """Return what a user's day cost altogether."""
    return summed(of_row(row, "agent").values())


def summed(costs: Iterable[Cost]) -> Cost:
    """Return the sum of costs."""
    found = Cost()
    for one in costs:
        found = found.plus(one)
    return found


def spenders(day: str, under: str = "", *, after: str = "") -> Iterator[str]:
    """Return who spent on a day: everybody, or the users of a service, whose names begin with ``under``.

    In order of names; those up to ``after`` are left out, which goes with no ``under``.
    """
    condition, values = "by_user = :day", {":day": {"S": f"SPEND#{day}"}}
    if under:
        condition += " AND begins_with(created, :under)"
        values[":under"] = {"S": under}
    elif after:
        condition += " AND created > :after"
        values[":after"] = {"S": after}
    for one in table.query(IndexName="of_user", KeyConditionExpression=condition, ExpressionAttributeValues=values):
        yield one["created"]["S"] if "created" in one else one["pk"]["S"].split("#")[1]


def read(wanted: list[tuple[str, str]]) -> list[tuple[str, str, Attributes]]:
    """Return the counters of (user, day) pairs, without those that there are none of."""
    found: list[tuple[str, str, Attributes]] = []
    for row in table.get_many([key(*one) for one in wanted]):
        _, user, day = row["pk"]["S"].split("#")
        found.append((user, day, row))
    return found
