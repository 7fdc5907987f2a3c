"""Counts what each day cost once more, from the tasks' rows, and says where the days' counters differ.

Rows go before counters do (`TaskTtlDays`, `DELETE /me/data`): a day whose rows are gone shows more on its counters.
What must never be is less: money that a row tells of and no counter does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from shared import clock
from shared.errors import NewerVersion
from shared.tasks import costs, days, spend, table
from shared.tasks.items import feed_of, plain, read_task, row_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shared.tasks.costs import Cost
    from shared.tasks.model import Task

BACK_DAYS = 62
"""How many days before the first one tasks are looked for that may have cost something on it."""
_DAY_SECONDS = 86_400

type Group = tuple[str, str, str, str]
"""A user, a day, a kind of group, and its name."""


class Difference(NamedTuple):
    """A group whose counter does not say what the rows say."""

    group: Group
    rows: Cost
    counted: Cost

    @property
    def missing(self) -> bool:
        """Whether the counter lacks something that rows tell of."""
        return any(told > counted for told, counted in zip(self.rows, self.counted, strict=True))


def recount(first: str, last: str, *, back: int = BACK_DAYS) -> tuple[int, list[Difference]]:
    """Return how many tasks were counted for days ``first`` to ``last``, and which groups differ.

    Raises:
        DependencyDown: DynamoDB is away.
    """
    wanted = set(_days(first, last))
    told: dict[Group, Cost] = {}
    counted = 0
    for day in _days(_shifted(first, -back), last):
        for task in _tasks(day):
            found = dict(_of(task, wanted))
            counted += bool(found)
            for group, cost in found.items():
                told[group] = told.get(group, costs.Cost()).plus(cost)
    kept = {group: cost for day in sorted(wanted) for group, cost in _kept(day)}
    return counted, _differences(told, kept)


def _differences(told: dict[Group, Cost], kept: dict[Group, Cost]) -> list[Difference]:
    # What there were too many models for is counted under one name: the same is done with what the rows say.
    for group in [group for group in told if group[2] == "model" and group not in kept]:
        other = (*group[:3], costs.OTHER)
        if other in kept:
            told[other] = told.get(other, costs.Cost()).plus(told.pop(group))
    found = []
    for group in sorted(told.keys() | kept.keys()):
        rows, counter = told.get(group, costs.Cost()), kept.get(group, costs.Cost())
        if rows != counter:
            found.append(Difference(group, rows, counter))
    return found


def _of(task: Task, wanted: set[str]) -> Iterator[tuple[Group, Cost]]:
    """Yield what a task has been charged with on the wanted days, by its groups."""
    spent = days.by_model(task) if task.status.terminal else {day: days.charged_by_model(task, day) for day in wanted}
    found: dict[Group, Cost] = {}

    def add(day: str, models: dict[str, tuple[int, int]], runs: int) -> None:
        if day not in wanted:
            return
        total = costs.Cost(sum(used[0] for used in models.values()), sum(used[1] for used in models.values()), runs)
        each = {("agent", task.agent[: costs.NAME_CHARACTERS]): total, ("key", task.key_id or costs.NONE): total}
        for model, used in models.items():
            each["model", model[: costs.NAME_CHARACTERS]] = costs.Cost(*used)
        if runs:
            asked = ("model", task.model[: costs.NAME_CHARACTERS])
            each[asked] = each.get(asked, costs.Cost()).plus(costs.Cost(runs=runs))
        for (kind, name), cost in each.items():
            group = task.user, day, kind, name
            found[group] = found.get(group, costs.Cost()).plus(cost)

    for day, models in spent.items():
        ended = task.status.terminal and day == task.day and bool(task.usage.tokens or task.micro_usd)
        add(day, models, int(ended))
    if task.lost_micro_usd or task.lost_input_tokens or task.lost_output_tokens:
        for day, model, tokens, micro_usd in _lost(task.task_id):
            add(day, {model: (tokens, micro_usd)}, 0)
    yield from ((group, cost) for group, cost in found.items() if any(cost))


def _lost(task_id: str) -> Iterator[tuple[str, str, int, int]]:
    for one in table.query(
        KeyConditionExpression="pk = :pk AND begins_with(sk, :lost)",
        ExpressionAttributeValues={":pk": row_key(task_id)["pk"], ":lost": {"S": spend.LOST}},
    ):
        tokens = int(plain(one["input_tokens"])) + int(plain(one["output_tokens"]))
        yield plain(one["day"]), plain(one["model"]), tokens, int(plain(one["micro_usd"]))


def _kept(day: str) -> Iterator[tuple[Group, Cost]]:
    """Yield what a day's counters say, by groups; of a version without groups they say nothing."""
    users = list(costs.spenders(day))
    for user, _, row in costs.read([(user, day) for user in users]):
        for kind in costs.KINDS:
            for name, cost in costs.of_row(row, kind).items():
                if any(cost) and name != costs.UNKNOWN:
                    yield (user, day, kind, name), cost


def _tasks(day: str) -> Iterator[Task]:
    keys = []
    for one in table.query(
        IndexName="feed",
        KeyConditionExpression="feed = :day",
        ExpressionAttributeValues={":day": {"S": feed_of(clock.epoch(f"{day}T00:00:00+00:00"))}},
    ):
        keys.append({"pk": one["pk"], "sk": one["sk"]})
        if len(keys) == table.READ_AT_ONCE:
            yield from _rows(keys)
            keys = []
    if keys:
        yield from _rows(keys)


def _rows(keys: list[dict[str, dict[str, str]]]) -> Iterator[Task]:
    for row in table.get_many(keys):
        try:
            yield read_task(row)
        except NewerVersion:
            continue


def _shifted(day: str, by: int) -> str:
    return clock.day(clock.epoch(f"{day}T00:00:00+00:00") + by * _DAY_SECONDS)


def _days(first: str, last: str) -> Iterator[str]:
    day = first
    while day <= last:
        yield day
        day = _shifted(day, 1)


def run(first: str | None, last: str | None) -> int:
    """Compare and print; returns 1 if a counter lacks something, else 0."""
    last = last or clock.day(clock.now())
    first = first or last
    counted, found = recount(first, last)
    for (user, day, kind, name), rows, counter in found:
        print(f"{day} {user} {kind} {name}: rows {tuple(rows)}, counters {tuple(counter)}")
    missing = [one for one in found if one.missing]
    print(f"{first} to {last}: {counted} tasks, {len(found)} groups differ, {len(missing)} lack something")
    if found and not missing:
        print("counters that say more are of tasks whose rows are gone: erased, or expired")
    return int(bool(missing))
