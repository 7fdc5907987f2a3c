"""Runs that end together are written together, and neither a lost answer nor a neighbour's lost lease touches them."""

import itertools
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from shared import aws
from shared.clock import day, now
from shared.errors import DependencyDown
from shared.settings import settings
from shared.tasks import events, spend, store, table
from shared.tasks.group_commit import WRITERS, GroupCommit, _Transaction
from shared.tasks.items import row_key
from shared.tasks.model import Status, Task

from .conftest import World

RUNS = 16


Write = Callable[[list[dict[str, Any]]], None]


def crowd(world: World, monkeypatch: pytest.MonkeyPatch, key: str, write: Write) -> list[Task]:
    """Run many tasks at once; one step each, all of whose model calls end together. ``write`` writes what they do."""
    monkeypatch.setenv("RUNS_PER_ENVIRONMENT", str(RUNS))
    monkeypatch.setenv("LEASE_SECONDS", "60")  # a busy machine may stand still for longer than the others' two seconds
    settings.cache_clear()
    tasks = [world.submit(f"[[sim key={key} words=3 latency=0.3]] {n}", session_id=f"{n}") for n in range(RUNS)]
    records = [record for _ in range(RUNS // 10 + 2) for record in world.receive()]
    assert len(records) == RUNS
    gather(monkeypatch, write)  # of those that submit, one by one, none would have company
    world.invoke(records)
    return tasks


class _Counting(GroupCommit):
    """Knows how many transactions were wanted so far."""

    joined = 0

    def _join(self, joined: Sequence[_Transaction]) -> None:
        self.joined += len(joined)
        super()._join(joined)


def gather(monkeypatch: pytest.MonkeyPatch, write: Write) -> None:
    """Have transactions written by ``write``, the first ones not before some others are wanted: then there is a group.

    Those others wait, or the second writer has taken them along.
    """
    written = itertools.count()
    pause = threading.Event()

    def held(operations: list[dict[str, Any]]) -> None:
        if next(written) < WRITERS:
            give_up = time.monotonic() + 30
            while group.joined < RUNS // 2 + WRITERS and time.monotonic() < give_up:
                pause.wait(0.005)
        write(operations)

    group = _Counting(held)
    monkeypatch.setattr(table, "_group", group)


def check_whole(tasks: list[Task]) -> tuple[int, int]:
    """Check that each run ended once, with a gapless log; returns what they used in all."""
    tokens = money = 0
    for task in tasks:
        row = store.get(task.task_id)
        log = [(event.seq, event.type) for event in events.read(task.task_id, 0).events]
        assert row.status is Status.COMPLETE
        assert [seq for seq, _ in log] == list(range(1, row.last_seq + 1))
        assert Counter(kind for _, kind in log)["complete"] == Counter(kind for _, kind in log)["step"] == 1
        tokens, money = tokens + row.usage.tokens, money + row.micro_usd
    return tokens, money


def test_runs_that_end_together_are_written_in_few_requests_and_add_up(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    client = aws.dynamodb()

    def count(params: dict[str, Any], **_: Any) -> None:
        sizes.append(len(params["TransactItems"]))

    client.meta.events.register("provide-client-params.dynamodb.TransactWriteItems", count)
    try:
        tasks = crowd(world, monkeypatch, "gc-many", table._transact)
    finally:
        client.meta.events.unregister("provide-client-params.dynamodb.TransactWriteItems", count)
    assert spend.load("ann", day(now())) == check_whole(tasks)
    assert world.calls("gc-many")["started"] == RUNS
    assert len(sizes) < 2 * RUNS, "none went together"
    assert max(sizes) > 5


def test_lost_answers_of_groups_write_and_charge_nothing_twice(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(3)
    lost: list[int] = []

    def flaky(operations: list[dict[str, Any]]) -> None:
        table._transact(operations)
        group = len(operations) > 5 and len([size for size in lost if size > 5]) < 3  # a few of these for certain
        if group or chance.random() < 0.2:
            lost.append(len(operations))
            raise DependencyDown("dynamodb")

    tasks = crowd(world, monkeypatch, "gc-lost", flaky)
    assert spend.load("ann", day(now())) == check_whole(tasks)
    assert world.calls("gc-lost")["started"] == RUNS
    assert any(size > 5 for size in lost), lost


def test_a_run_that_lost_its_lease_writes_nothing_and_its_neighbours_do(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another worker has the task: what this one still writes must be refused, in company as alone."""
    taken: list[str] = []

    def write(operations: list[dict[str, Any]]) -> None:
        rows = [op["Update"]["Key"]["pk"]["S"] for op in operations if op.get("Update", {}).get("ConditionExpression")]
        if not taken and len(rows) > 2:
            taken.append(rows[1].removeprefix("TASK#"))
            table.update(table.update_op(row_key(taken[0]), adds={"lease_no": 1}))
        table._transact(operations)

    tasks = crowd(world, monkeypatch, "gc-fenced", write)
    (robbed,) = taken
    row = store.get(robbed)
    assert (row.status, row.lease_no) == (Status.PROCESSING, 2)
    used = check_whole([task for task in tasks if task.task_id != robbed])
    # What the robbed worker's own call cost is nowhere but in its owner's day: nobody else can record it.
    alike = store.get(next(task.task_id for task in tasks if task.task_id != robbed))
    assert spend.load("ann", day(now())) == (used[0] + alike.usage.tokens, used[1] + alike.micro_usd)
