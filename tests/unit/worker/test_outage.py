"""A long outage of the provider: whoever probes it pays with no attempt of its own."""

import itertools
import time

import pytest

from functions.worker import model_step
from shared.settings import settings
from shared.tasks import store
from shared.tasks.model import Status
from tests.unit.worker.conftest import World


def test_an_outage_is_learnt_from_few_calls(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a first failure the calls of a whole batch spread out, here 0.4 s apart."""
    turns = itertools.count()
    monkeypatch.setattr(model_step, "_jitter", lambda _: 0.4 * next(turns))
    monkeypatch.setenv("BREAKER_OPEN_SECONDS", "60")
    settings.cache_clear()
    world.sim.post("/config", json={"outage": True})
    world.submit("[[sim key=few words=1]] first")
    world.work()
    tasks = [world.submit(f"[[sim key=few words=1]] {n}") for n in range(9)]
    world.work()
    assert world.calls("few")["started"] in (5, 6, 7)  # five open it; a slow machine may let one or two more through
    assert [store.get(task.task_id).reason for task in tasks].count("breaker_open") >= 3


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
