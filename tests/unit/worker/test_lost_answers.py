"""A write whose answer was lost, or comes late, is neither taken for a lost lease nor done twice."""

import asyncio
import copy
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from functions.worker import agents
from shared import aws
from shared.errors import DependencyDown
from shared.tasks import blobs, checkpoints, events, store, table
from shared.tasks.model import Status
from sluice import AgentResult

from .conftest import World

Run = Callable[[Any], Awaitable[AgentResult]]


class OneAgent:
    """Stands where an agent's module stands."""

    def __init__(self, run: Run) -> None:
        self.run = run


async def ask(ctx: Any) -> AgentResult:
    """An agent that records its one call before it ends."""
    return AgentResult((await ctx.model(ctx.asked())).content)


def log_of(task_id: str) -> list[tuple[int, str]]:
    return [(event.seq, event.type) for event in events.read(task_id, 0).events]


def gapless(task_id: str) -> bool:
    return [seq for seq, _ in log_of(task_id)] == list(range(1, store.get(task_id).last_seq + 1))


@pytest.mark.parametrize("emitted", [0, 1, 3])
def test_an_end_beside_a_slow_flush_leaves_no_gap(world: World, monkeypatch: pytest.MonkeyPatch, emitted: int) -> None:
    real = table.transact

    def slow(ops: list[dict[str, Any]]) -> None:
        real(ops)
        time.sleep(0.15)  # the answer comes late; the agent ends meanwhile

    monkeypatch.setattr(table, "transact", slow)

    async def run(ctx: Any) -> AgentResult:
        for n in range(emitted):
            await ctx.emit(f"e{n}", {})
        await asyncio.sleep(0.27)
        return AgentResult("done")

    monkeypatch.setattr(agents, "load", lambda name: OneAgent(run))
    task = world.submit("x")
    assert world.work() == []
    assert store.get(task.task_id).status is Status.COMPLETE
    assert gapless(task.task_id)
    types = [kind for _, kind in log_of(task.task_id)]
    assert [kind for kind in types if kind.startswith("e")] == [f"e{n}" for n in range(emitted)]
    assert types[-1] == "complete"


def test_events_whose_write_was_answered_by_an_error_stand_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    real = table.transact
    lost: list[bool] = []

    def flaky(ops: list[dict[str, Any]]) -> None:
        real(ops)
        if not lost:
            lost.append(True)
            raise DependencyDown("dynamodb")

    monkeypatch.setattr(table, "transact", flaky)

    async def run(ctx: Any) -> AgentResult:
        await ctx.emit("a", {})
        await ctx.emit("b", {})
        await asyncio.sleep(1.0)
        await ctx.emit("c", {})
        await asyncio.sleep(0.5)
        return AgentResult("done")

    monkeypatch.setattr(agents, "load", lambda name: OneAgent(run))
    task = world.submit("x")
    assert world.work() == []
    assert lost
    assert store.get(task.task_id).status is Status.COMPLETE
    assert [kind for _, kind in log_of(task.task_id) if kind in "abc"] == ["a", "b", "c"]
    assert gapless(task.task_id)


def test_a_recorded_step_whose_answer_was_lost_is_not_paid_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    real = checkpoints.record
    lost: list[bool] = []

    def flaky(task: Any, *args: Any, **kwargs: Any) -> None:
        if lost:
            return real(task, *args, **kwargs)
        lost.append(True)
        real(copy.copy(task), *args, **kwargs)
        raise DependencyDown("dynamodb")

    monkeypatch.setattr(checkpoints, "record", flaky)
    monkeypatch.setattr(agents, "load", lambda name: OneAgent(ask))
    task = world.submit("[[sim key=ar words=2]] hello")
    world.work_until_quiet()
    row = store.get(task.task_id)
    assert lost
    assert (row.status, row.calls, world.calls("ar")["started"]) == (Status.COMPLETE, 1, 1)
    assert gapless(task.task_id)


def test_a_blob_store_that_fails_once_costs_no_second_call(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blobs, "PLAIN_BYTES", 100)
    monkeypatch.setattr(blobs, "ITEM_BYTES", 50)
    s3 = aws.s3()
    real = s3.put_object
    failed: list[bool] = []

    def flaky(**kwargs: Any) -> Any:
        if "/events/" in kwargs["Key"] and not failed:
            failed.append(True)
            error: Any = {"Error": {"Code": "SlowDown"}, "ResponseMetadata": {"HTTPStatusCode": 503}}
            raise ClientError(error, "PutObject")
        return real(**kwargs)

    monkeypatch.setattr(s3, "put_object", flaky)
    monkeypatch.setattr(agents, "load", lambda name: OneAgent(ask))
    task = world.submit("[[sim key=s3 words=30]] hello")
    world.work_until_quiet()
    row = store.get(task.task_id)
    assert failed
    assert (row.status, row.calls, world.calls("s3")["started"]) == (Status.COMPLETE, 1, 1)
