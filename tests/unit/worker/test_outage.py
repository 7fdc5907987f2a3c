"""A long outage of the provider: whoever probes it pays with no attempt of its own."""

import asyncio
import itertools
import threading
import time
from typing import Any

import pytest

from functions.worker.environment.environment import Environment
from functions.worker.model import step as model_step
from shared.settings import settings
from shared.tasks import store
from shared.tasks.model import Status
from tests.unit.worker.conftest import World

FAILURES = 5
"""Of calls one after the other, which open the breaker."""


def test_an_outage_is_learnt_from_few_calls(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a first failure the calls of a whole batch come one by one, and ask again each time."""
    for name, value in {"BREAKER_OPEN_SECONDS": "60", "BREAKER_FAILURES": str(FAILURES)}.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    told: list[None] = []
    news, note, waiting = threading.Condition(), Environment.note_failure, itertools.count(1)

    def noting(self: Environment, *args: Any) -> None:
        note(self, *args)
        with news:
            told.append(None)
            news.notify_all()

    def wait(before: int) -> None:
        with news:
            assert news.wait_for(lambda: len(told) >= before, timeout=30)

    async def hesitate() -> None:
        """Wait until the breaker knows of every call that goes before this one, as time usually sees to."""
        await asyncio.to_thread(wait, min(next(waiting), FAILURES))

    monkeypatch.setattr(Environment, "note_failure", noting)
    monkeypatch.setattr(model_step, "_hesitate", hesitate)
    world.sim.post("/config", json={"outage": True})
    world.submit("[[sim key=few words=1]] first")
    world.work()
    tasks = [world.submit(f"[[sim key=few words=1]] {n}") for n in range(9)]
    world.work()
    assert world.calls("few")["started"] == FAILURES
    assert [store.get(task.task_id).reason for task in tasks].count("breaker_open") >= 9 - FAILURES


def test_probing_a_long_outage_uses_up_no_attempts(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"BREAKER_FAILURES": "1", "BREAKER_OPEN_SECONDS": "0.1", "MAX_RETRIES": "1"}.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    monkeypatch.setattr(model_step, "DEFER_JITTER_SECONDS", 0.0)
    world.sim.post("/config", json={"outage": True})
    task = world.submit("[[sim key=probe words=1]] hello")
    give_up = time.monotonic() + 20
    while world.calls("probe")["started"] < 5 and time.monotonic() < give_up:
        world.work()
        time.sleep(0.1)
    row = store.get(task.task_id)
    assert (row.status, row.attempt, row.reason) == (Status.QUEUED, 1, "breaker_open")
    assert row.deferrals >= 3
    world.sim.post("/config", json={"outage": False})
    world.work_until_quiet()
    assert store.get(task.task_id).status is Status.COMPLETE
