"""A cancelled run's worker learns of it before its next heartbeat, which is up to twenty seconds away."""

import pytest

from functions.worker.run import heartbeat
from shared.settings import settings
from shared.tasks import cancels, settle, store
from shared.tasks.model import Status
from shared.valkey import RedisError
from tests.unit.worker.conftest import LASTING, World, meanwhile, until, written

LONG = f"[[sim key=k {LASTING}]] on and on"


@pytest.fixture
def slow_heart(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("LEASE_SECONDS", "120")
    monkeypatch.setenv("HEARTBEAT_SECONDS", "60")
    settings.cache_clear()
    return world


def cancelled_midway(world: World, at_lease: int | None = None) -> str:
    """Run a long reply and cancel it once its call is under way; returns the task's id."""
    task = world.submit(LONG, params={"stream": True})

    def cancel() -> None:
        until(lambda: written(world, "k") > 5)
        if at_lease is None:
            settle.cancel(task.task_id, task.user)
            return
        cancels.tell(task.task_id, at_lease)
        told = written(world, "k")
        until(lambda: written(world, "k") > told + 2 * heartbeat.LOOK_SECONDS * 20)  # it has looked
        world.hurry("k")

    with meanwhile(cancel):
        world.work()
    return task.task_id


def test_a_cancelled_call_is_hung_up_on_long_before_the_next_heartbeat(slow_heart: World) -> None:
    row = store.get(cancelled_midway(slow_heart))
    assert row.status is Status.CANCELLED
    assert slow_heart.calls("k")["completed"] == 0
    assert 0 < row.output_tokens < 1200, "what was written is paid for, and no more"


def test_a_mark_of_another_claim_stops_nobody(slow_heart: World) -> None:
    assert store.get(cancelled_midway(slow_heart, at_lease=7)).status is Status.COMPLETE


def test_a_cancellation_without_valkey_is_kept_in_the_row(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> None:
        raise RedisError("away")

    monkeypatch.setattr(cancels, "client", away)
    row = store.get(cancelled_midway(world))  # whose heart beats twice a second
    assert row.status is Status.CANCELLED
    assert world.calls("k")["completed"] == 0


def test_nothing_is_asked_of_valkey_while_nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cancels, "client", lambda: pytest.fail("asked"))
    assert cancels.told([]) == []
