"""A worker in this process between real parts: moto's AWS, a Valkey server, the model simulator as a process.

A `Bench` plays the client that submits and the poller that delivers batches and deletes what the answer lets it.
"""

import asyncio
import atexit
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import httpx2
import pytest

from functions.worker.environment import clients, loop
from functions.worker.environment import environment as environment_module
from functions.worker.environment.environment import environment
from functions.worker.lane import deliveries
from functions.worker.lane.batch import run_batch
from functions.worker.model import leave
from functions.worker.run.heartbeat import Heart
from shared import aws
from shared.clock import day, now
from shared.limits.admission import Gate
from shared.settings import settings
from shared.tasks import lanes, store, table
from shared.tasks.items import DUE_SHARDS, row_key
from shared.tasks.model import Task


@cache
def _admin(sim_url: str, _pid: int) -> httpx2.Client:
    """Return what asks a simulator of its calls. Benches share it, and its connection, as long as the process lives."""
    made = httpx2.Client(base_url=f"{sim_url}/_sim", timeout=60, verify=False)  # no TLS: no authorities to read
    atexit.register(made.close)
    return made


class Bench:
    """Everything around one worker environment."""

    def __init__(self, sim_url: str, queues: dict[str, str]) -> None:
        self.runner = asyncio.Runner(loop_factory=loop.new)
        self.queues = queues
        self.sim = _admin(sim_url, os.getpid())
        self.submitted = 0

    def submit(self, message: str, **changes: Any) -> Task:
        """Write and send a task as the API does."""
        self.submitted += 1
        at = now()
        values: dict[str, Any] = {
            "task_id": f"task_{at:.6f}_{self.submitted}", "user": "ann", "lane": "normal", "agent": "chat",
            "tier": "load", "model": "gpt-4o-mini", "created": at, "day": day(at),
            "reserved_tokens": 10_000, "reserved_micro_usd": 10_000,
        }  # fmt: skip
        task = store.submit(Task(**(values | changes)), message)
        if not task.parked:
            lanes.send(task.lane, task.task_id, task.gen, user=task.user)
        return task

    def receive(self, lane: str = "normal", *, size: int = 10) -> list[dict[str, Any]]:
        """Take messages off a lane, as Lambda's poller does."""
        got: Any = aws.sqs().receive_message(
            QueueUrl=self.queues[lane], MaxNumberOfMessages=size, VisibilityTimeout=900
        )
        return [
            {
                "messageId": message["MessageId"],
                "receiptHandle": message["ReceiptHandle"],
                "body": message["Body"],
                "attributes": {"ApproximateReceiveCount": "1"},
                "eventSourceARN": f"arn:aws:sqs:us-east-1:123456789012:sluice-{lane}",
            }
            for message in got.get("Messages", [])
        ]

    def invoke(self, records: list[dict[str, Any]], *, seconds: float = 60) -> list[str]:
        """Run one invocation and delete what it was done with; returns the ids of what it kept."""

        async def main() -> dict[str, Any]:
            return await run_batch({"Records": records}, now() + seconds, environment())

        answer = self.runner.run(main())
        kept = [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]
        for record in records:
            if record["messageId"] not in kept:
                lane = record["eventSourceARN"].rsplit("-", 1)[-1]
                aws.sqs().delete_message(QueueUrl=self.queues[lane], ReceiptHandle=record["receiptHandle"])
        return kept

    def work(self, lane: str = "normal", *, seconds: float = 60) -> list[str]:
        """Receive and run one batch."""
        return self.invoke(self.receive(lane), seconds=seconds)

    def work_until_quiet(self, lane: str = "normal", *, seconds: float = 100, invocation: float = 60) -> None:
        """Receive and run batches until no task of this world is live."""
        give_up = time.monotonic() + seconds
        while time.monotonic() < give_up:
            records = self.receive(lane)
            if records:
                self.invoke(records, seconds=invocation)
            elif not self.live():
                return
            else:
                time.sleep(0.2)  # each look costs time of the processor that other tests want
        raise AssertionError("tasks are still live")

    def live(self) -> bool:
        """Whether a task of this world has not ended."""
        # What `listing.due` asks of one shard, asked of the whole index: four calls took a thirtieth of the time.
        shards = {f":{n}": {"S": str(n)} for n in range(DUE_SHARDS)}
        found = aws.dynamodb().scan(
            TableName=settings().table_name,
            IndexName="due",
            FilterExpression=f"due IN ({', '.join(shards)}) AND due_at <= :before",
            ExpressionAttributeValues={**shards, ":before": {"N": str(int(now() + 1e6))}},
        )
        return found["Count"] > 0

    def lapse(self, task_id: str) -> None:
        """Let a lease have ended, as its time passes when the worker that took it is dead."""
        table.update(table.update_op(row_key(task_id), sets={"lease_until": now() - 0.001}))

    def calls(self, key: str) -> dict[str, int]:
        """Return what the simulator counted for a key."""
        found: dict[str, int] = self.sim.get("/stats").json()["by_key"].get(key, {"started": 0, "completed": 0})
        return found

    def hurry(self, key: str) -> None:
        """Have the calls of a key end now, those under way and those to come."""
        self.sim.post("/hurry", json={"key": key}).raise_for_status()


def _note_hearts(patch: pytest.MonkeyPatch) -> list[Heart]:
    """Return the list of the hearts that are made from now on: a test may go through several environments."""
    hearts: list[Heart] = []
    make = Heart.__init__

    def note(self: Heart, gate: Gate) -> None:
        make(self, gate)
        hearts.append(self)

    patch.setattr(Heart, "__init__", note)
    return hearts


@contextmanager
def bench(simulator: str, queues: dict[str, str], patch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """Yield a worker that calls the simulator at an address; short times, so that waiting for them is short."""
    for name, value in {
        "OPENAI_BASE_URL": f"{simulator}/v1",
        "OPENAI_API_KEY": "sk-test",
        "LEASE_SECONDS": "20",  # a machine that stands still for seconds must not look like a dead worker: `lapse`
        "HEARTBEAT_SECONDS": "0.5",
        "RETRY_BASE_SECONDS": "0.2",
        "MODEL_TIMEOUT_SECONDS": "5",
        "MODEL_MARGIN_SECONDS": "0.5",
        "BREAKER_OPEN_SECONDS": "1",
        "WORKER_TIMEOUT_SECONDS": "60",
        "REFILL_SECONDS": "0",  # an invocation runs what it is given; test_refill.py has the rest
    }.items():
        patch.setenv(name, value)
    settings.cache_clear()
    for cached in (clients.http, clients.model, clients.pages):
        cached.cache_clear()
    patch.setattr(environment_module, "_environment", None)
    patch.setattr(leave, "HESITATION_SECONDS", 0.1)
    hearts = _note_hearts(patch)
    # Moto's PartiQL knows no conditions: `tests/stack/test_claims.py` claims together.
    patch.setattr(deliveries, "TOGETHER", 10_000)
    made = Bench(simulator, queues)
    made.sim.post("/reset")
    yield made

    async def close() -> None:
        if clients.http.cache_info().currsize:
            await clients.http().aclose()
        if clients.pages.cache_info().currsize:
            await clients.pages().aclose()

    made.runner.run(close())
    made.runner.close()
    for heart in hearts:  # its thread would beat to the end of all tests, for runs whose table is gone
        heart.stop()
