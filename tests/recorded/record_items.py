"""Records what this version stores: run it once, with the last commit before ITEM_VERSION is raised.

    SLUICE_RECORD=1 python -m pytest tests/recorded/record_items.py

Real code writes everything, between moto, a Valkey and the model simulator. `test_recorded.py` reads it for ever after.
"""

from __future__ import annotations

import os
import time
from typing import Any

import boto3
import pytest

from functions.dead_letter.bury import bury
from functions.webhook import record
from shared import aws, tickets, webhooks
from shared.clock import day
from shared.limits.keys import create_key
from shared.settings import settings
from shared.tasks import claims, settle, store
from shared.tasks.model import Status, Task
from tests.recorded.items import CURRENT, save
from tests.unit.simulator_fixture import simulator
from tests.unit.worker.conftest import World, world

__all__ = ["simulator", "world"]

pytestmark = pytest.mark.skipif("SLUICE_RECORD" not in os.environ, reason="records only when asked to")

KEY = "sk-sluice-" + "r" * 43
STEPS = 'tools=calculator,current_time args=[{"expression":"6*7"},{}]'
HOOK = "http://127.0.0.1:9/hook"


def test_record(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    hooks = boto3.client("sqs").create_queue(QueueName="sluice-webhook")["QueueUrl"]
    monkeypatch.setenv("QUEUE_URL_WEBHOOK", hooks)
    monkeypatch.setenv("WEBHOOK_SECRET", "of the recordings")
    settings.cache_clear()
    ids: dict[str, str] = {}
    messages: dict[str, Any] = {}

    def note(name: str, task: Task) -> Task:
        ids[name] = task.task_id
        return task

    def keep(name: str, lane: str = "normal") -> None:
        messages[name] = [record["body"] for record in world.receive(lane)]

    create_key("ann", "standard", "a recorded key", key=KEY, limits={"requests": 7})
    params = {"metadata": {"colour": "grün"}, "max_output_tokens": 9, "webhook_url": HOOK}
    # Ended tasks first: their messages are received and deleted.
    for name, text, more in (
        ("complete", "[[sim key=rec-complete words=3]] hello", {"params": params}),
        ("complete_large", "[[sim key=rec-large words=9000]] hello", {"params": {"max_output_tokens": 10_000}}),
        ("complete_tools", f"[[sim key=rec-tools {STEPS}]] hello", {"agent": "tools"}),
        ("failed", "[[sim key=rec-failed fail=400]] hello", {"params": params}),
    ):
        note(name, world.submit(text, key_id="k1", **more))
        world.work()
    settle.cancel(note("cancelled", world.submit("hello", session_id="other")).task_id, "ann")
    dead = note("dead", world.submit("[[sim key=rec-dead words=2]] hello"))
    bury({"messageId": "m1", "body": f'{{"v":1,"task_id":"{dead.task_id}","gen":0}}', "attributes": {}})
    bury({"messageId": "m2", "body": "no JSON", "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:x"})
    record.write(ids["failed"], record.Try("waiting", 1, 500, None))
    world.receive()
    # Live ones, each with the message that it waits for.
    note("retried", world.submit("[[sim key=rec-retried fail=500 times=1 words=2]] hello"))
    world.work()
    time.sleep(1.2)
    keep("retried")
    note("continued", world.submit(f"[[sim key=rec-continued latency=1 {STEPS}]] hello", agent="tools"))
    world.work(seconds=10)
    keep("continued")
    taken = note("processing", world.submit(f"[[sim key=rec-processing latency=1 {STEPS}]] hello", agent="tools"))
    world.work(seconds=10)
    keep("processing")
    assert isinstance(claims.claim(taken.task_id, 1), Task)  # by a worker that dies now
    note("queued", world.submit("[[sim key=rec-queued words=2]] hello", params=params, tier="standard"))
    keep("queued")
    note("queued_large", world.submit("[[sim key=rec-queued-large words=2]] " + "ö" * 1000))
    keep("queued_large")
    note("parked", world.submit("[[sim key=rec-parked words=2]] hello", parked=True, running_cap=2))
    at = time.time()
    repeated = Task(
        task_id="task_repeated", user="ann", lane="high", agent="chat", model="gpt-4o-mini", created=at, day=day(at)
    )
    store.submit(note("idempotent", repeated), "hello", idempotency=store.Idempotency("k" * 64, "b" * 64))
    webhooks.enqueue(store.get(ids["complete"]))
    got: Any = aws.sqs().receive_message(QueueUrl=hooks, MaxNumberOfMessages=10)
    messages["webhook"] = [message["Body"] for message in got["Messages"]]
    ticket = tickets.issue(tickets.Viewer("ann"))
    tickets.connect("connection-1", tickets.Viewer("ann"))

    assert store.get(ids["continued"]).continuations == 1
    assert store.get(ids["retried"]).attempt == 1
    assert store.get(ids["processing"]).status is Status.PROCESSING
    rows = aws.dynamodb().scan(TableName=settings().table_name)["Items"]
    save(CURRENT, "items", sorted(rows, key=lambda row: (row["pk"]["S"], row["sk"]["S"])))
    save(CURRENT, "messages", messages)
    save(CURRENT, "recorded", {"at": time.time(), "ids": ids, "key": KEY, "ticket": ticket})
    for queue in messages.values():
        assert queue
