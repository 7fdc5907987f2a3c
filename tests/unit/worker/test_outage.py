"""A long outage of the provider: whoever probes it pays with no attempt of its own."""

import time

import pytest

from functions.worker import model_step
from shared.settings import settings
from shared.tasks import store
from shared.tasks.model import Status
from tests.unit.worker.conftest import World


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
    row = store.get(task.task_id)
    assert (row.status, row.attempt, row.reason) == (Status.QUEUED, 1, "breaker_open")
    assert row.deferrals >= 3
    world.sim.post("/config", json={"outage": False})
    world.work_until_quiet()
    assert store.get(task.task_id).status is Status.COMPLETE
