"""What ends, moves or cancels a run while a branch of it replays a failure: nothing of the run is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from functions.worker.record import persist as persist_module
from functions.worker.record.stops import Defer, GiveWay
from shared.errors import DependencyDown, LeaseLost
from shared.tasks import checkpoints, settle, store
from shared.tasks.model import Status, Task
from sluice import AgentResult, Context
from tests.unit.worker.conftest import Install, World, meanwhile, until
from tests.unit.worker.test_caught import Dying, dying

__all__ = ["dying"]

PATIENCE = 3
"""How long the branch that waits to be cancelled again does so in the second life: what stops the run comes before."""
TIMES: Counter[str] = Counter()
"""How often each step was really done."""


@pytest.fixture(autouse=True)
def nothing_left(world: World, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """See to it that no asyncio task of a run outlives its batch, and no error of one is lost."""
    TIMES.clear()
    yield
    loop = world.runner.get_loop()
    world.runner.run(asyncio.sleep(0.01))
    assert not asyncio.all_tasks(loop)
    gc.collect()
    assert "never retrieved" not in caplog.text


def does(name: str) -> Callable[[], Awaitable[str]]:
    async def work() -> str:
        TIMES[name] += 1
        return name

    return work


def fails(name: str) -> Callable[[], Awaitable[str]]:
    async def work() -> str:
        TIMES[name] += 1
        raise ValueError(name)

    return work


def stalls(name: str, begun: asyncio.Event | None = None) -> Callable[[], Awaitable[str]]:
    async def work() -> str:
        TIMES[name] += 1
        if begun is not None:
            begun.set()
        await asyncio.sleep(60)
        return name

    return work


def stops_once(stop: Callable[[], BaseException]) -> Callable[[], Awaitable[str]]:
    async def work() -> str:
        TIMES["stops"] += 1
        if TIMES["stops"] == 1:
            raise stop()
        return "went on"

    return work


class Branches:
    """A run of three branches: one got over a failure, one has another step cancelled, one stops the run."""

    def __init__(self, stop: Callable[[], BaseException]) -> None:
        self.lives = 0
        self.later = stops_once(stop)
        self.again = False
        """Whether the slow step is done again in the third life."""

    async def branch_failing(self, ctx: Context) -> None:
        with contextlib.suppress(ValueError):
            await ctx.step("bad", fails("bad"))
        await ctx.step("after-bad", does("after-bad"))

    async def branch_hanging(self, ctx: Context) -> None:
        begun = asyncio.Event()
        slow = asyncio.create_task(ctx.step("slow", stalls("slow", begun)))
        if self.lives == 1 or (self.lives == 3 and self.again):
            await begun.wait()
        else:
            await asyncio.sleep(PATIENCE if self.lives == 2 else 0.3)
        slow.cancel()
        await asyncio.wait({slow})
        await ctx.step("after-slow", does("after-slow"))

    async def branch_stopping(self, ctx: Context) -> None:
        if self.lives > 1:
            await ctx.step("stops", self.later)

    async def run(self, ctx: Context) -> AgentResult:
        self.lives += 1
        async with asyncio.TaskGroup() as group:
            for branch in (self.branch_failing, self.branch_hanging, self.branch_stopping):
                group.create_task(branch(ctx))
        await ctx.step("end", does("end"))
        return AgentResult("done")


def first_life(world: World, install: Install, dying: Dying, branches: Branches) -> tuple[Task, list[dict[str, Any]]]:
    install(branches.run)
    dying.name = "after-slow"
    task = world.submit("hi")
    records = world.receive()
    world.invoke(records)
    world.lapse(task.task_id)
    return task, records


def finished(world: World, task: Task) -> None:
    until(lambda: [store.get(task.task_id).status.terminal, world.work()][0])
    row = store.get(task.task_id)
    assert (row.status, row.error) == (Status.COMPLETE, None)


@pytest.mark.parametrize(
    ("stop", "again"),
    [(lambda: Defer(0.0, "breaker_open"), 0), (GiveWay, 0), (lambda: OSError("own"), 1)],
    ids=["defer", "give way", "own"],
)
def test_what_stops_a_run_beside_a_replay(world: World, install: Install, dying: Dying, stop: Any, again: int) -> None:
    """What was cancelled may have been with an error that is tried again, and never with a stop."""
    branches = Branches(stop)
    branches.again = bool(again)
    task, records = first_life(world, install, dying, branches)
    world.invoke(records)
    assert branches.lives == 2
    finished(world, task)
    assert {"bad": 1, "slow": 1 + again, "after-bad": 1, "after-slow": 1, "stops": 2, "end": 1} == TIMES


def test_a_client_cancels_while_a_replay_waits(world: World, install: Install, dying: Dying) -> None:
    branches = Branches(lambda: OSError("own"))
    branches.later = stalls("stops")
    task, records = first_life(world, install, dying, branches)

    def cancel() -> None:
        until(lambda: TIMES["stops"])
        settle.cancel(task.task_id, task.user)

    with meanwhile(cancel):
        world.invoke(records)
    assert store.get(task.task_id).status is Status.CANCELLED
    assert TIMES == {"bad": 1, "slow": 1, "after-bad": 1, "after-slow": 1, "stops": 1}


@pytest.mark.parametrize("error", [LeaseLost("x"), DependencyDown("dynamodb")], ids=repr)
def test_failures_that_cannot_be_recorded_leave_nothing(
    world: World, install: Install, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(persist_module, "PATIENCE_SECONDS", 0.0)
    record = checkpoints.record
    refused: list[str] = []

    def refuse(task: Task, step: checkpoints.Step, *args: Any, **kwargs: Any) -> None:
        if step.failed and len(refused) < 2:
            refused.append(step.name)
            raise error
        record(task, step, *args, **kwargs)

    monkeypatch.setattr(checkpoints, "record", refuse)

    together: list[asyncio.Barrier] = []

    async def agent(ctx: Context) -> AgentResult:
        together.append(asyncio.Barrier(4))

        async def bad() -> str:
            if len(together) == 1:  # later ones replay what was recorded
                await together[0].wait()
            return await fails("bad")()

        await asyncio.gather(*(ctx.step(f"bad.{n}", bad) for n in range(4)), return_exceptions=True)
        await asyncio.gather(*(ctx.step(f"good.{n}", does("good")) for n in range(2)))
        return AgentResult("done")

    install(agent)
    task = world.submit("hi")
    records = world.receive()
    if world.invoke(records):
        world.lapse(task.task_id)
        world.invoke(records)
    finished(world, task)
    assert len(refused) == 2
    assert TIMES["good"] == 2
