"""Followers: a slow watcher is told everything once and in order, also by whoever pushes the rest at a run's end."""

import asyncio
import json
import threading
import time
from collections.abc import Callable

import pytest

from functions.worker.record import publisher as publisher_module
from functions.worker.record.publisher import Publisher
from shared import watchers
from shared.tasks import events
from shared.tasks.events import Event

from .conftest import World

Receive = Callable[[str, bytes], None]


def told(monkeypatch: pytest.MonkeyPatch, seconds: float, *, fails_at: tuple[int, ...] = ()) -> list[int]:
    """Stand where the gateway is, which takes so long for each message; returns the numbers that arrived."""
    arrived: list[int] = []
    failing = list(fails_at)

    def push(_connection: str, data: bytes) -> None:
        time.sleep(seconds)
        seq = json.loads(data)["seq"]
        if seq in failing:
            failing.remove(seq)
            raise watchers.Unreachable(_connection)
        arrived.append(seq)

    monkeypatch.setattr(watchers, "push", push)
    return arrived


def test_a_watcher_that_lags_at_the_end_is_told_the_rest_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher_module, "LAST_PUSH_SECONDS", 0.2)
    arrived = told(monkeypatch, 0.1)
    task = world.submit("[[sim words=3]] hello")
    world.work()
    last = len(events.read(task.task_id, 0).events)
    log = events.read(task.task_id, 0).events
    watchers.add(task.task_id, "slow", 0)

    async def run() -> None:
        publisher = Publisher(task.task_id)
        await publisher.publish(log)
        await publisher.close()

    world.runner.run(run())
    assert len(arrived) < last  # else this shows nothing
    watchers.finish(task.task_id)
    assert arrived == list(range(1, last + 1))


def test_a_push_that_failed_is_repeated_and_no_other(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    arrived = told(monkeypatch, 0, fails_at=(3,))
    watchers.add("task_x", "shaky", 0)

    async def run() -> None:
        publisher = Publisher("task_x")
        await publisher.publish([Event("token", 0, {}, seq) for seq in range(1, 6)])
        await publisher.close()

    world.runner.run(run())
    assert arrived == [1, 2, 3, 4, 5]
    assert watchers.of("task_x") == {"shaky": 5}


def test_who_unsubscribed_is_told_no_more(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    arrived = told(monkeypatch, 0)
    watchers.add("task_y", "leaves", 0)

    async def run() -> None:
        publisher = Publisher("task_y")
        await publisher.publish([Event("token", 0, {}, 1)])
        while watchers.of("task_y") != {"leaves": 1}:  # noqa: ASYNC110 - another process' state
            await asyncio.sleep(0.01)
        assert publisher._looking is not None
        await publisher._looking  # an event that is stored during a look is pushed to whom it found
        while not publisher._news._waiters:  # noqa: ASYNC110 - and one that is stored during a push, to its watcher
            await asyncio.sleep(0.01)
        watchers.remove("task_y", "leaves")
        await publisher.publish([Event("token", 0, {}, 2)])
        await publisher.close()

    world.runner.run(run())
    assert arrived == [1]
    assert watchers.of("task_y") == {}


def test_pushes_that_have_not_begun_do_not_hold_up_the_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher_module, "LAST_PUSH_SECONDS", 0.2)
    begun: list[str] = []
    release = threading.Event()

    def push(connection: str, _data: bytes) -> None:
        begun.append(connection)
        release.wait(60)

    monkeypatch.setattr(watchers, "push", push)
    for n in range(60):
        watchers.add("task_q", f"c{n}", 0)

    async def run() -> None:
        publisher = Publisher("task_q")
        await publisher.publish([Event("token", 0, {}, seq) for seq in range(1, 4)])
        while len(begun) < publisher_module._pushers._max_workers:  # noqa: ASYNC110 - threads tell nobody
            await asyncio.sleep(0.01)
        closing = asyncio.create_task(publisher.close())
        while not publisher._stopped:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)
        release.set()
        await closing

    world.runner.run(run())
    assert len(begun) == publisher_module._pushers._max_workers
    assert sum(seq == 1 for seq in watchers.of("task_q").values()) == len(begun)
