"""Upgrades: what an older version stored, this one claims, replays, continues, shows, lists and settles.

The items under tests/recorded were written by the versions that their folders are named after.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import boto3
import pytest

from functions.api.contract import problem
from functions.api.read import show
from functions.sweeper import sweep as sweep_module
from functions.webhook.handler import handler as deliver
from localstack.receiver import Receiver
from shared import aws, tickets, webhooks
from shared.errors import NewerVersion
from shared.limits import keys
from shared.settings import settings
from shared.tasks import checkpoints, claims, events, lanes, listing, redrive, sessions, settle, spend, store
from shared.tasks.model import COMMON_VERSION, ITEM_VERSION, Status, Task
from tests.recorded import items
from tests.unit.worker.conftest import World, world

__all__ = ["world"]


class Recorded:
    """A version's items in the table, and its messages at hand."""

    def __init__(self, folder: Path, world: World) -> None:
        facts = items.load(folder, "recorded")
        self.ids: dict[str, str] = facts["ids"]
        self.key: str = facts["key"]
        self.ticket: str = facts["ticket"]
        self.messages: dict[str, list[str]] = items.load(folder, "messages")
        self.world = world
        self.rows: list[dict[str, Any]] = items.load(folder, "items")
        for item in self.rows:
            aws.dynamodb().put_item(TableName=settings().table_name, Item=item)

    def work(self, name: str) -> Task:
        """Put a recorded task's message into its lane, and work until it ended."""
        for body in self.messages[name]:
            aws.sqs().send_message(QueueUrl=self.world.queues["normal"], MessageBody=body)
        give_up = time.monotonic() + 60
        while not (task := store.get(self.ids[name])).status.terminal and time.monotonic() < give_up:
            self.world.work()
            time.sleep(0.05)
        return task


@pytest.fixture(params=items.versions(), ids=lambda folder: folder.name)
def recorded(request: pytest.FixtureRequest, world: World) -> Recorded:
    return Recorded(request.param, world)


ENDED = {
    "complete": Status.COMPLETE, "complete_large": Status.COMPLETE, "complete_tools": Status.COMPLETE,
    "failed": Status.FAILED, "dead": Status.FAILED, "cancelled": Status.CANCELLED,
}  # fmt: skip


def test_ended_tasks_are_shown_with_result_usage_and_whole_log(recorded: Recorded) -> None:
    for name, status in ENDED.items():
        task = store.get(recorded.ids[name])
        shown = show.full(task)
        log = events.read(task.task_id, 0).events
        assert shown["status"] == status == log[-1].type
        assert [event.seq for event in log] == list(range(1, task.last_seq + 1))
        if status is Status.COMPLETE:
            assert shown["result"]["response"] == log[-1].data["response"] or name == "complete_large"
            assert shown["usage"]["total_tokens"] == shown["result"]["tokens"] > 0
    large = show.full(store.get(recorded.ids["complete_large"]))
    assert len(large["result"]["response"].split()) == 9000
    assert show.full(store.get(recorded.ids["failed"]))["error"]["code"] == "invalid_request"
    assert len(checkpoints.load(recorded.ids["complete_tools"])) == 5
    assert isinstance(claims.claim(recorded.ids["complete"], 9), claims.Refused)


def test_all_tasks_are_listed_and_sessions_spending_keys_and_tickets_read(recorded: Recorded) -> None:
    listed, _ = listing.list_tasks("ann", limit=50)
    assert {summary["task_id"] for summary in listed} == set(recorded.ids.values())
    assert [show.summary(summary)["created_at"] for summary in listed]
    turns = sessions.read("ann", "default", limit=50, with_chat=True)
    assert [turn.task_id for turn in turns] == [
        recorded.ids[name] for name in ("complete", "complete_large", "complete_tools")
    ]
    for turn in turns:
        assert turn.user.endswith("hello")
        assert [message["content"] for message in turn.messages] == [turn.user, turn.assistant]
    task = store.get(recorded.ids["complete"])
    assert spend.load("ann", task.day)[0] >= task.usage.tokens
    keys.forget()
    identity = keys.lookup(recorded.key)
    assert identity is not None
    assert (identity.user, identity.limits.requests) == ("ann", 7)
    assert [info.name for info in keys.list_keys()] == ["a recorded key"]
    assert tickets.redeem(recorded.ticket) == tickets.Viewer("ann")
    assert tickets.viewer_of("connection-1") == tickets.Viewer("ann")
    assert len(redrive.unreadable()) == 1
    repeat = store.find_repeat("ann", store.Idempotency("k" * 64, "b" * 64))
    assert repeat is not None
    assert repeat.task_id == recorded.ids["idempotent"]


@pytest.mark.parametrize(
    ("name", "calls"), [("queued", 1), ("queued_large", 1), ("retried", 1), ("continued", 1), ("processing", 1)]
)
def test_live_tasks_run_to_their_end_without_repeating_a_step(recorded: Recorded, name: str, calls: int) -> None:
    """Of the three model calls of `continued` and `processing` the older version had made two."""
    before = set(checkpoints.load(recorded.ids[name]))
    task = recorded.work(name)
    assert task.status is Status.COMPLETE, task.last_error or task.error
    assert recorded.world.calls(f"rec-{name.replace('_', '-')}")["completed"] == calls
    assert before <= set(checkpoints.load(task.task_id))
    # The call that a run ends with is written with its end.
    assert task.calls == len([step for step, _ in checkpoints.load(task.task_id) if step == "model"]) + 1
    log = events.read(task.task_id, 0).events
    assert [event.seq for event in log] == list(range(1, task.last_seq + 1))


def newer(row: dict[str, Any]) -> dict[str, Any]:
    """Write an item again as the next version does."""
    item = row | {"v": {"N": str(ITEM_VERSION + 1)}, "shape": {"S": "not known yet"}}
    aws.dynamodb().put_item(TableName=settings().table_name, Item=item)
    return item


def stored(row: dict[str, Any]) -> Any:
    key = {"pk": row["pk"], "sk": row["sk"]}
    return aws.dynamodb().get_item(TableName=settings().table_name, Key=key)["Item"]


def test_a_task_of_a_newer_version_is_left_alone_and_its_message_put_off(recorded: Recorded) -> None:
    task_id = recorded.ids["queued"]
    item = newer(next(row for row in recorded.rows if row["pk"]["S"] == f"TASK#{task_id}" and row["sk"]["S"] == "TASK"))
    aws.sqs().send_message(QueueUrl=recorded.world.queues["normal"], MessageBody=recorded.messages["queued"][0])
    assert recorded.world.work() == []
    assert stored(item) == item
    assert lanes.backlog(recorded.world.queues["normal"])["delayed"] == 1
    with pytest.raises(NewerVersion, match=f"version {ITEM_VERSION + 1}"):
        store.get(task_id)
    answer = problem.problem_of(NewerVersion(ITEM_VERSION + 1, ITEM_VERSION))
    assert (answer.status, answer.code) == (503, "newer_version")
    # A sweep sees to the others all the same.
    assert sweep_module.sweep(time.time() + 30)["of a newer version"] == 1
    assert stored(item) == item
    # Back in the version that wrote it, nothing is missing.
    aws.dynamodb().put_item(TableName=settings().table_name, Item=item | {"v": {"N": str(ITEM_VERSION)}})
    assert recorded.work("queued").status is Status.COMPLETE


def test_a_run_whose_steps_are_of_a_newer_version_waits_for_a_newer_worker(recorded: Recorded) -> None:
    task_id = recorded.ids["continued"]
    step = next(
        row for row in recorded.rows if row["pk"]["S"] == f"TASK#{task_id}" and row["sk"]["S"].startswith("CKPT#")
    )
    newer(step)
    aws.sqs().send_message(QueueUrl=recorded.world.queues["normal"], MessageBody=recorded.messages["continued"][0])
    assert recorded.world.work() == []
    task = store.get(task_id)
    assert (task.status, task.reason, task.attempt, task.deferrals) == (Status.QUEUED, "newer_version", 0, 1)
    assert recorded.world.calls("rec-continued")["started"] == 0


def test_a_webhook_of_a_newer_task_is_postponed(recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = boto3.client("sqs").create_queue(QueueName="sluice-webhook")["QueueUrl"]
    monkeypatch.setenv("QUEUE_URL_WEBHOOK", queue)
    settings.cache_clear()
    task_id = recorded.ids["complete"]
    newer(next(row for row in recorded.rows if row["pk"]["S"] == f"TASK#{task_id}" and row["sk"]["S"] == "TASK"))
    body = next(body for body in recorded.messages["webhook"] if json.loads(body)["task_id"] == task_id)
    assert deliver({"Records": [{"messageId": "m", "body": body}]}, None) == {"batchItemFailures": []}
    assert lanes.backlog(queue)["delayed"] == 1


def test_a_message_of_a_newer_version_is_kept(recorded: Recorded) -> None:
    body = json.dumps(json.loads(recorded.messages["queued"][0]) | {"v": lanes.VERSION + 1})
    aws.sqs().send_message(QueueUrl=recorded.world.queues["normal"], MessageBody=body)
    assert len(recorded.world.work()) == 1
    assert store.get(recorded.ids["queued"]).status is Status.QUEUED


def test_everything_put_says_its_version(recorded: Recorded) -> None:
    task = recorded.world.submit("[[sim words=1]] hello")
    recorded.world.work()
    found = aws.dynamodb().query(
        TableName=settings().table_name,
        KeyConditionExpression="pk = :pk",
        ExpressionAttributeValues={":pk": {"S": f"TASK#{task.task_id}"}},
    )
    assert {item["v"]["N"] for item in found["Items"]} <= {str(COMMON_VERSION), str(ITEM_VERSION)}


def test_parked_tasks_are_unparked_and_run(recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    task_id = recorded.ids["parked"]
    assert listing.parked_tasks("ann", limit=5) == [task_id]
    task = store.get(task_id)
    assert sweep_module._look_after(task, set()) == "unparked"
    recorded.world.work()
    assert store.get(task_id).status is Status.COMPLETE


def test_waiting_tasks_are_cancelled_and_dead_ones_redriven(recorded: Recorded) -> None:
    assert settle.cancel(recorded.ids["queued"], "ann").status is Status.CANCELLED
    assert [old for old, _ in redrive.redrive()] == [recorded.ids["dead"]]


def test_webhook_messages_are_delivered(recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = boto3.client("sqs").create_queue(QueueName="sluice-webhook")["QueueUrl"]
    for name, value in {
        "QUEUE_URL_WEBHOOK": queue,
        "WEBHOOK_SECRET": "of the recordings",
        "ALLOW_PRIVATE_ADDRESSES": "true",
    }.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    with Receiver([webhooks.secret_for("k1")]) as receiver:
        bodies = [
            json.dumps(json.loads(body) | {"url": receiver.url})
            for body in recorded.messages["webhook"]
            if json.loads(body)["task_id"] == recorded.ids["complete"]
        ]
        records = [{"messageId": f"m{n}", "body": body} for n, body in enumerate(bodies)]
        assert deliver({"Records": records[:1]}, None) == {"batchItemFailures": []}
        (delivery,) = receiver.wait_for(1, timeout_s=60)
        assert (delivery.id, delivery.valid) == (f"msg_{recorded.ids['complete']}_complete", True)
