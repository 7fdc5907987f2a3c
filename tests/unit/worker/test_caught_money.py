"""A call that came to nothing and that its run got over is paid for once, wherever its worker is killed after that."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from functions.worker.environment.environment import environment
from shared import valkey
from shared.clock import day
from shared.errors import LeaseLost
from shared.limits.names import flight_key
from shared.tasks import checkpoints, spend, store
from shared.tasks.model import Status, Task
from sluice import AgentResult, Context, ModelError
from tests.unit.worker.conftest import Install, World, until
from tests.unit.worker.test_lost_calls import (
    MODEL,
    NEAR,
    TEXT,
    calls_of,
    consumed,
    die,
    die_when,
)  # fmt: skip

WROTE = 60
"""How many tokens the call that comes to nothing has written by then."""
SPREAD = 12
"""Micro-USD that a call costs more or less which is cut off a moment later or sooner: a small part of what it costs."""
WAIT = 60
"""How long one thing waits for another that comes at once where nothing is wrong, s."""
_RUNS = count(10)


class Killer:
    """Stops a worker for good right before or after it records a failure."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.when = ""
        self.reached = threading.Event()
        self.over = threading.Event()
        record = checkpoints.record

        def stop() -> None:
            self.when = ""
            self.reached.set()
            self.over.wait(WAIT)
            raise LeaseLost("this worker is gone")

        def record_or_stop(task: Task, step: checkpoints.Step, *args: Any, **kwargs: Any) -> None:
            if step.failed and self.when == "before":
                stop()
            record(task, step, *args, **kwargs)
            if step.failed and self.when == "after":
                stop()

        patch.setattr(checkpoints, "record", record_or_stop)

    def kill(self, world: World, when: str, records: list[dict[str, Any]], task: Task) -> None:
        def reached() -> None:
            assert self.reached.wait(WAIT), "nothing was recorded"
            until(lambda: when == "after" or is_noted(task))

        self.when = when
        self.reached.clear()
        die_when(world, reached, records)


@pytest.fixture
def killer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Killer]:
    made = Killer(monkeypatch)
    yield made
    made.over.set()


def is_noted(task: Task) -> bool:
    """Tell whether it is noted what the call used that came to nothing."""
    text = valkey.client().hget(flight_key(task.task_id, store.get(task.task_id).lease_no), "note") or "{}"
    return any(cut for _, _, cut, *_ in json.loads(text).get("calls", []))


def read_of(task_id: str) -> int:
    """Return how many words its worker has read of a task's calls that are under way."""
    tasks = [task for (name, _), task in list(environment().flights._tasks.items()) if name == task_id]
    return sum(flight.progress.pieces for task in tasks for flight in list(task.under_way.values()))


class Scene:
    """An agent whose first call comes to nothing, and that asks once more."""

    def __init__(self, world: World, how: str, *, slow: int = 0) -> None:
        self.world, self.how, self.slow = world, how, slow
        self.asked = 1
        """How often the first call is made until its failure is recorded."""
        run = next(_RUNS)
        self.first, self.end = f"first-{run}", f"end-{run}"

    async def run(self, ctx: Context) -> AgentResult:
        text = " ".join(TEXT.split()[: 2 * WROTE])
        ask = f"[[sim key={self.first} echo latency=1 ttft=0.05 fail={self.how} times=9 hang=60]] {text}"
        made = len(await asyncio.to_thread(calls_of, self.world, self.first))
        call = asyncio.create_task(ctx.model([{"role": "user", "content": ask}], name="first"))
        if self.how == "stall":
            await asyncio.to_thread(self.until_it_stalls, ctx.task_id, made)
            call.cancel()
        with contextlib.suppress(ModelError, asyncio.CancelledError):
            await call
        ask = f"[[sim key={self.end} echo latency=2 ttft=0.05 fail=stall times={self.slow} hang=60]] {TEXT}"
        return AgentResult((await ctx.model([{"role": "user", "content": ask}], name="end")).content)

    def until_it_stalls(self, task_id: str, made: int) -> None:
        def stalls() -> bool:
            calls = calls_of(self.world, self.first)
            return len(calls) >= self.asked and calls[-1]["consumed"][1] >= WROTE

        until(stalls)
        if made < self.asked:  # by this worker: if it stood still it may have less of it, and would be charged less
            until(lambda: read_of(task_id) >= WROTE)

    def submit(self, install: Install) -> tuple[Task, list[dict[str, Any]]]:
        install(self.run)
        return self.world.submit("hi", model=MODEL), self.world.receive()


def undisturbed(world: World, install: Install, how: str) -> int:
    """Return what the first call of such a run is charged."""
    scene = Scene(world, how)
    task, records = scene.submit(install)
    world.invoke(records)
    row = store.get(task.task_id)
    assert row.status is Status.COMPLETE
    assert len(calls_of(world, scene.first)) == 1
    whole = consumed(world, scene.end)
    assert row.micro_usd > whole > 0
    return row.micro_usd - whole


def paid(world: World, task: Task, before: tuple[int, int]) -> int:
    """Return what a run was charged, by its row and its owner's day alike."""
    world.work_until_quiet("quarantine")
    row = store.get(task.task_id)
    assert (row.status, row.error) == (Status.COMPLETE, None)
    tokens, money = spend.load("ann", row.day)
    assert (tokens - before[0], money - before[1]) == (row.usage.tokens, row.micro_usd)
    return row.micro_usd


HOWS = ["drop", "stall"]


@pytest.mark.parametrize("deaths", [1, 2])
@pytest.mark.parametrize("how", HOWS)
def test_who_is_killed_in_a_later_call_pays_for_it_once(world: World, install: Install, how: str, deaths: int) -> None:
    first = undisturbed(world, install, how)
    assert first > 4 * SPREAD
    before = spend.load("ann", day(time.time()))
    scene = Scene(world, how, slow=deaths)
    task, records = scene.submit(install)
    for _ in range(deaths):
        die(world, scene.end, 150, records, task)
        world.lapse(task.task_id)
    world.invoke(records)
    rest = paid(world, task, before) - first
    assert (len(calls_of(world, scene.first)), len(calls_of(world, scene.end))) == (1, deaths + 1)
    truth = consumed(world, scene.end)
    cut = len(calls_of(world, scene.end)) - 1
    spread = scene.asked * SPREAD if how == "stall" else 0
    assert truth - cut * NEAR - spread <= rest <= truth * (1.5 if cut else 1) + spread


@pytest.mark.parametrize("deaths", [1, 2])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("how", HOWS)
def test_who_is_killed_beside_its_record_pays_for_each_call_once(
    world: World, install: Install, killer: Killer, how: str, when: str, deaths: int
) -> None:
    first = undisturbed(world, install, how)
    assert first > 4 * SPREAD
    before = spend.load("ann", day(time.time()))
    scene = Scene(world, how, slow=0 if when == "before" else deaths - 1)
    task, records = scene.submit(install)
    for n in range(deaths):
        if when == "after" and n:
            die(world, scene.end, 150, records, task)
        else:
            killer.kill(world, when, records, task)
        world.lapse(task.task_id)
        scene.asked += when == "before"
    world.invoke(records)
    rest = paid(world, task, before) - scene.asked * first
    assert len(calls_of(world, scene.first)) == scene.asked
    truth = consumed(world, scene.end)
    cut = len(calls_of(world, scene.end)) - 1
    spread = scene.asked * SPREAD if how == "stall" else 0
    assert truth - cut * NEAR - spread <= rest <= truth * (1.5 if cut else 1) + spread
