"""What a run asks of AWS and Valkey: each round trip is latency and money for every run there is."""

from collections import Counter
from typing import Any

import pytest
from redis.connection import AbstractConnection

from functions.worker.run import heartbeat
from shared import aws
from shared.settings import settings
from shared.tasks import store
from shared.tasks.model import Status

from .conftest import World

ASIDE = {"ChangeMessageVisibilityBatch", "DeleteMessageBatch", "DeleteMessage", "ReceiveMessage"}
"""Of a whole batch (ten runs share one), or the poller's own."""


@pytest.fixture
def calls(world: World, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count the AWS calls of a warm environment, heartbeats and looks for cancellations left out."""
    monkeypatch.setenv("LEASE_SECONDS", "600")
    monkeypatch.setenv("HEARTBEAT_SECONDS", "300")
    monkeypatch.setattr(heartbeat, "LOOK_SECONDS", 300.0)  # on a busy machine a run takes seconds
    settings.cache_clear()
    for _ in range(2):
        world.submit("[[sim words=1]] hello")
        world.work()
    counted: Counter[str] = Counter()

    def count(model: Any, **_: Any) -> None:
        counted[model.name] += 1

    for client in (aws.dynamodb(), aws.sqs()):
        client.meta.events.register("before-call", count)
    return counted


@pytest.fixture
def redis_round_trips(calls: Counter[str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Count what is sent to Valkey: a command, a script or a whole pipeline."""
    sent: list[str] = []
    send = AbstractConnection.send_packed_command

    def counted(self: AbstractConnection, *args: Any, **kwargs: Any) -> Any:
        if not any(word in str(args[0]) for word in ("HELLO", "CLIENT")):  # a new connection introduces itself
            sent.append(str(args[0])[:200])
        return send(self, *args, **kwargs)

    monkeypatch.setattr(AbstractConnection, "send_packed_command", counted)
    return sent


def test_a_run_of_one_step_costs_four_aws_calls(
    world: World, calls: Counter[str], redis_round_trips: list[str]
) -> None:
    task = world.submit("[[sim words=1 latency=0]] hello")
    records = world.receive()
    calls.clear()
    redis_round_trips.clear()
    world.invoke(records)
    assert store.get(task.task_id).status is Status.COMPLETE
    run = Counter({name: times for name, times in calls.items() if name not in ASIDE})
    assert run["TransactWriteItems"] <= 2, run  # the end with its call, and one batch should the run take long
    assert run.total() - run["GetItem"] <= 4, run  # the last one is this test's own
    # One is the batch's: is its lane paused? Calls that last long enough are noted, too, and those of the runs before.
    asked = [sent for sent in redis_round_trips if "{sluice:flight}" not in sent]
    assert len(asked) <= 8, asked


def test_ten_runs_of_a_batch_share_what_is_the_batchs(world: World, calls: Counter[str]) -> None:
    for _ in range(10):
        world.submit("[[sim words=1 latency=0]] hello")
    records = world.receive()
    calls.clear()
    world.invoke(records)
    aside = {name: times for name, times in calls.items() if name in ASIDE}
    assert aside.get("ChangeMessageVisibilityBatch", 0) <= 2
    assert sum(calls.values()) - sum(aside.values()) <= 40, calls
