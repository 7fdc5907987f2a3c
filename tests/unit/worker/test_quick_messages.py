"""A message that is quicker than the write which it was sent for: it waits for that, not for the whole lease."""

import asyncio
from typing import Any

import pytest

from functions.worker.lane import batch
from functions.worker.lane.deliveries import AHEAD_SECONDS, Delivery, Disposition, decline
from shared.settings import settings
from shared.tasks import claims, lanes, leases
from shared.tasks.leases import Requeue
from shared.tasks.model import Task
from tests.unit.worker.conftest import World


def refused(task_id: str, gen: int) -> claims.Refused:
    found = claims.claim(task_id, gen)
    assert isinstance(found, claims.Refused)
    return found


def hidden_for(delivery: Delivery, why: claims.Refused, patch: pytest.MonkeyPatch) -> float:
    """Decline a message; returns for how many whole seconds it is hidden."""
    asked: list[float] = []
    patch.setattr(lanes, "hide", lambda _url, receipts: asked.extend(seconds for _, seconds in receipts))
    assert asyncio.run(decline(delivery, why)) is Disposition.KEEP
    (seconds,) = asked
    return int(seconds)


@pytest.mark.parametrize("receives", range(1, len(AHEAD_SECONDS) + 2))
def test_it_is_met_again_soon_but_not_for_ever(world: World, monkeypatch: pytest.MonkeyPatch, receives: int) -> None:
    task = world.submit("x")
    assert isinstance(claims.claim(task.task_id, 0), Task)
    why = refused(task.task_id, 1)
    assert why.why is claims.Refusal.AHEAD
    message = lanes.Message(task.task_id, 1)
    seconds = hidden_for(Delivery(message, "normal", world.queues["normal"], "r", receives), why, monkeypatch)
    assert [seconds] == [*AHEAD_SECONDS][receives - 1 : receives] or receives > len(AHEAD_SECONDS)
    assert (seconds > settings().lease_seconds / 2) is (receives > len(AHEAD_SECONDS))


def test_one_of_the_same_generation_waits_for_the_lease(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    task = world.submit("x")
    assert isinstance(claims.claim(task.task_id, 0), Task)
    why = refused(task.task_id, 0)
    delivery = Delivery(lanes.Message(task.task_id, 0), "normal", world.queues["normal"], "r")
    assert hidden_for(delivery, why, monkeypatch) > settings().lease_seconds / 2


def test_what_a_run_that_is_given_back_sent_runs_as_soon_as_that_is_written(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = world.submit("x")
    world.receive()
    held = claims.claim(task.task_id, 0)
    assert isinstance(held, Task)
    real, met = leases.fenced_write, []

    def late(*args: Any, **more: Any) -> None:
        met.extend(world.receive())
        met.append(refused(task.task_id, 1))
        real(*args, **more)

    monkeypatch.setattr(leases, "fenced_write", late)
    assert leases.requeue(held, Requeue(delay_s=0, reason="share", continuation=True))
    record, why = met
    delivery = batch._read(record)
    assert delivery is not None
    assert delivery.message.gen == 1
    assert hidden_for(delivery, why, monkeypatch) == AHEAD_SECONDS[0]
    assert isinstance(claims.claim(task.task_id, 1), Task)


def test_how_often_a_message_came_is_known_wherever_it_is_received(world: World) -> None:
    world.submit("x")
    url = world.queues["normal"]
    assert [lanes.receive(url, 1, hidden_s=0)[0].receives for _ in range(2)] == [1, 2]
    (record,) = world.receive()
    delivery = batch._read(record | {"attributes": {"ApproximateReceiveCount": "3"}})
    assert delivery is not None
    assert delivery.receives == 3
