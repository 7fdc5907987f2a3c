"""Waits of a run whose other branches work: their time is that of the first worker, and nothing is held for them."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from functions.worker.lane.share import Share
from functions.worker.run import waits as run_waits
from shared import json_schema
from shared.settings import settings
from shared.tasks import claims, inbox, lanes, records, store
from shared.tasks.model import Status, Task, dumps
from sluice import AgentResult, Context
from tests.unit.worker.conftest import Install, World

type Begin = Callable[[Context, str], Awaitable[Any]]
"""What begins a wait of some name."""


def again(world: World, task: Task) -> Task:
    """Deliver a message for a task; returns its row afterwards."""
    lanes.send(task.lane, task.task_id, store.get(task.task_id).gen, user=task.user)
    world.work()
    return store.get(task.task_id)


def since(row: Task) -> float:
    (one,) = row.waiting_for
    return float(one["since"])


async def others_wait(ctx: Any, number: int) -> None:
    """Return when so many branches wait; the run is not suspended before that."""
    with ctx.steps.busy():
        while len(ctx.waits.pending()) < number:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("end", ["retry", "share"])
def test_a_time_does_not_begin_anew_when_another_branch_ends_the_stay(
    world: World, install: Install, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    """The group cancels the branch that waits before anybody could write what it waits for."""
    stays = 0

    async def gives_back(self: Share, task: Task) -> bool:
        return end == "share" and stays == 1

    async def work() -> int:
        if end == "retry" and stays == 1:
            raise OSError("away")
        return 1

    async def branch(ctx: Context) -> None:
        await asyncio.sleep(0)  # the other one waits by now
        await ctx.step("work", work)

    async def run(ctx: Context) -> AgentResult:
        nonlocal stays
        stays += 1
        async with asyncio.TaskGroup() as both:
            both.create_task(ctx.sleep(600))
            both.create_task(branch(ctx))
        return AgentResult("both")

    monkeypatch.setattr(Share, "gives_back", gives_back)
    monkeypatch.setattr("shared.retry.backoff", lambda *_: 0.0)
    install(run)
    task = world.submit("x")
    world.work()
    first = store.get(task.task_id)
    assert (first.status, first.reason) == (Status.QUEUED, end)
    row = again(world, task)
    assert (row.status, stays, since(row)) == (Status.WAITING, 2, since(first))


def test_a_time_does_not_begin_anew_when_a_stay_ends_before_it_comes_to_that_wait(
    world: World, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another branch does: what that waits for is not all that a retry must know of."""
    stays = 0

    async def late(ctx: Context) -> None:
        if stays == 2:
            await others_wait(ctx, 1)
            raise OSError("away")
        await ctx.sleep(600, name="late")

    async def run(ctx: Context) -> AgentResult:
        nonlocal stays
        stays += 1
        async with asyncio.TaskGroup() as both:
            both.create_task(ctx.sleep(600, name="first"))
            both.create_task(ctx.wait("woken"))
            both.create_task(late(ctx))
        return AgentResult("both")

    monkeypatch.setattr("shared.retry.backoff", lambda *_: 0.0)
    install(run)
    task = world.submit("x")
    world.work()
    began = {one["name"]: one["since"] for one in store.get(task.task_id).waiting_for if one["kind"] == "sleep"}
    inbox.post(task.task_id, "woken", None)
    assert again(world, task).reason == "retry"
    row = again(world, task)
    assert (row.status, stays) == (Status.WAITING, 3)
    assert {one["name"]: one["since"] for one in row.waiting_for} == began


def test_a_time_does_not_begin_anew_when_its_worker_dies(
    world: World, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had not come to wait yet: heartbeats say since when a branch of it does."""
    begun: list[float] = []

    def die() -> None:
        give_up = time.monotonic() + 30
        while not (row := store.get(task.task_id)).waiting_for and time.monotonic() < give_up:
            time.sleep(0.05)
        begun.append(since(row))
        world.lapse(task.task_id)
        assert isinstance(claims.claim(task.task_id, row.gen), Task)

    async def work() -> None:
        if not begun:
            await asyncio.to_thread(die)

    async def run(ctx: Context) -> AgentResult:
        await asyncio.gather(ctx.sleep(600), ctx.step("work", work))
        return AgentResult("both")

    monkeypatch.setenv("QUARANTINE_AFTER", "9")
    settings.cache_clear()
    install(run)
    task = world.submit("x")
    world.work()
    world.lapse(task.task_id)
    row = again(world, task)
    assert (row.status, since(row)) == (Status.WAITING, begun[0])


@pytest.mark.parametrize("over", [0, 1])
def test_a_heartbeat_tells_of_waits_unless_they_are_too_large(over: int) -> None:
    task = Task(task_id="t", user="ann", lane="normal", agent="a", model="m", created=1.0, day="2026-01-01")
    task.waiting_for = [{"kind": "signal", "name": ""}]
    left = records.WAITS_CHARACTERS - len(dumps(task.waiting_for))
    task.waiting_for[0]["name"] = "x" * (left + over)
    assert ("waiting_for" in records.progress(task)) is (not over)


def given_up(world: World, install: Install, monkeypatch: pytest.MonkeyPatch, times: int, begin: Begin) -> Task:
    """Have a run give up on so many waits, one after the other, and then fail; returns its row."""

    async def run(ctx: Context) -> AgentResult:
        for n in range(times):
            waiting = asyncio.ensure_future(begin(ctx, f"cut-{n}"))
            await others_wait(ctx, 1)
            waiting.cancel()
            await asyncio.wait([waiting])
        await ctx.sleep(0.01, name="over")
        raise OSError("again")

    monkeypatch.setattr(run_waits, "QUIET_TICKS", 1_000_000)
    install(run)
    task = world.submit("x")
    world.work()
    return store.get(task.task_id)


def test_a_wait_that_was_over_is_not_told_as_cut(
    world: World, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor are more told than a run may have: code that gives up on waits may do that for ever."""
    row = given_up(
        world, install, monkeypatch, run_waits.WAITS_AT_ONCE + 1, lambda ctx, name: ctx.sleep(600, name=name)
    )
    names = [one["name"] for one in row.waiting_for]
    assert names == [f"cut-{n}" for n in range(1, run_waits.WAITS_AT_ONCE + 1)]


LARGEST = {"const": "x" * (json_schema.SCHEMA_BYTES - len(dumps({"const": ""})))}
LARGER = {"const": "x" * (len(LARGEST["const"]) - 100)}
"""Two of it are more than one of the largest."""
FIT = 35
"""So many waits with the largest schemas are less than `WAITS_BYTES`, one more is over it."""


@pytest.mark.parametrize("over", [0, 1])
def test_what_a_run_waits_for_fits_its_row(world: World, install: Install, over: int) -> None:
    async def run(ctx: Context) -> AgentResult:
        await asyncio.gather(*(ctx.wait(f"w{n}", schema=LARGEST) for n in range(FIT + over)))
        return AgentResult("all")

    install(run)
    task = world.submit("x")
    world.work()
    row = store.get(task.task_id)
    if over:
        assert (row.status, (row.error or {})["code"]) == (Status.FAILED, "too_large")
    else:
        assert (row.status, len(row.waiting_for)) == (Status.WAITING, FIT)


@pytest.mark.parametrize("over", [0, 1])
def test_a_run_that_waited_for_more_before_there_was_a_limit_goes_on(
    world: World, install: Install, monkeypatch: pytest.MonkeyPatch, over: int
) -> None:
    """It may wait for as much as its row held, also when a retry cut all of that; for no more."""
    stays = 0

    async def branch(ctx: Context) -> None:
        if stays == 2:
            await others_wait(ctx, FIT + 5)
            raise OSError("away")
        await ctx.wait("first", schema=LARGEST)
        await asyncio.gather(*(ctx.wait(f"n{n}", schema=LARGER) for n in range(1 + over)))

    async def run(ctx: Context) -> AgentResult:
        nonlocal stays
        stays += 1
        async with asyncio.TaskGroup() as group:
            group.create_task(branch(ctx))
            group.create_task(ctx.wait("woken"))
            for n in range(FIT + 5):
                group.create_task(ctx.wait(f"w{n}", schema=LARGEST))
        return AgentResult("all")

    monkeypatch.setattr("shared.retry.backoff", lambda *_: 0.0)
    install(run)
    task = world.submit("x")
    with monkeypatch.context() as older:
        older.setattr(run_waits, "WAITS_BYTES", 1024 * 1024)
        world.work()
    assert len(store.get(task.task_id).waiting_for) == FIT + 7
    inbox.post(task.task_id, "woken", None)
    row = again(world, task)
    assert (row.status, row.reason, row.error) == (Status.QUEUED, "retry", None)
    row = again(world, task)
    assert (row.status, len(row.waiting_for), row.error) == (Status.WAITING, FIT + 6, None)
    inbox.post(task.task_id, "first", LARGEST["const"])
    row = again(world, task)
    if over:
        assert (row.status, (row.error or {})["code"]) == (Status.FAILED, "too_large")
    else:
        assert (row.status, len(row.waiting_for), stays) == (Status.WAITING, FIT + 6, 4), row.error


def test_of_waits_that_were_cut_the_newest_are_told_that_fit(
    world: World, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = given_up(
        world, install, monkeypatch, run_waits.WAITS_AT_ONCE, lambda ctx, name: ctx.wait(name, schema=LARGEST)
    )
    newest = [f"cut-{n}" for n in range(run_waits.WAITS_AT_ONCE - FIT, run_waits.WAITS_AT_ONCE)]
    assert (row.status, [one["name"] for one in row.waiting_for]) == (Status.QUEUED, newest)


def test_a_last_call_beside_a_wait_holds_nothing(world: World, install: Install) -> None:
    """It is not written with the run's end, which is an hour away, and the run does not stay for it."""

    async def run(ctx: Context) -> AgentResult:
        asked = [{"role": "user", "content": "[[sim key=last words=3]] go"}]
        reply, _ = await asyncio.gather(ctx.model(asked, last=True), ctx.sleep(3600))
        return AgentResult(reply.content)

    install(run)
    task = world.submit("x")
    world.work()
    row = store.get(task.task_id)
    assert (row.status, row.calls) == (Status.WAITING, 1)
    assert again(world, task).status is Status.WAITING
    assert world.calls("last")["completed"] == 1
