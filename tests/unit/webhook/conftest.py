"""A webhook queue, tasks that end, and the poller between them and the function."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from functions.webhook import post
from functions.webhook.handler import handler
from shared import aws, webhooks
from shared.clock import day
from shared.settings import settings
from shared.tasks import claims, settle, store, table
from shared.tasks.items import plain
from shared.tasks.model import Status, Task
from tests.unit.tables import client


@dataclass
class Hooks:
    """Everything around the function."""

    queue: str
    submitted: int = 0

    def ended(self, url: str, outcome: settle.Outcome | None = None, **changes: Any) -> Task:
        """Submit, claim and settle a task that has a webhook, and enqueue it as a worker does."""
        self.submitted += 1
        at = time.time()
        values: dict[str, Any] = {
            "task_id": f"task_{at:.6f}_{self.submitted}", "user": "ann", "lane": "normal", "agent": "chat",
            "model": "m", "created": at, "day": day(at), "key_id": "k1", "params": {"webhook_url": url},
        }  # fmt: skip
        task = Task(**(values | changes))
        store.submit(task, "hello")
        held = claims.claim(task.task_id, 0)
        assert isinstance(held, Task)
        settle.settle(held, outcome or settle.Outcome(status=Status.COMPLETE, response="é done"), message="hello")
        webhooks.enqueue(held)
        return held

    def take(self) -> list[dict[str, Any]]:
        """Receive what is due, as Lambda's poller does, and delete it."""
        got: Any = aws.sqs().receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10)
        messages = got.get("Messages", [])
        for message in messages:
            aws.sqs().delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])
        return [{"messageId": message["MessageId"], "body": message["Body"]} for message in messages]

    def run(self, *records: dict[str, Any]) -> list[str]:
        """Invoke the function with what is due, or with these records; returns the ids that it kept."""
        answer = handler({"Records": list(records) or self.take()}, None)
        return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]

    def waiting(self) -> dict[str, int]:
        """Count the queue's messages: visible and delayed."""
        names: Any = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesDelayed"]
        found: Any = aws.sqs().get_queue_attributes(QueueUrl=self.queue, AttributeNames=names)["Attributes"]
        return {"visible": int(found[names[0]]), "delayed": int(found[names[1]])}

    def record(self, task: Task) -> dict[str, Any] | None:
        """Return what is recorded of a task's webhook."""
        row = table.get({"pk": {"S": f"TASK#{task.task_id}"}, "sk": {"S": "WEBHOOK"}})
        return None if row is None else {name: plain(value) for name, value in row.items()}


@pytest.fixture
def hooks(fake_aws: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Hooks]:
    """Yield a system whose settings let it reach this machine."""
    assert fake_aws
    queue = client("sqs").create_queue(QueueName="sluice-webhook")["QueueUrl"]
    for name, value in {
        "QUEUE_URL_WEBHOOK": queue,
        "WEBHOOK_SECRET": "deployment secret",
        "ALLOW_PRIVATE_ADDRESSES": "true",
    }.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    post._client.cache_clear()
    yield Hooks(queue)
    post._client.cache_clear()
    settings.cache_clear()


@pytest.fixture
def on_aws(hooks: Hooks, monkeypatch: pytest.MonkeyPatch) -> Hooks:
    """Give the settings back that hold on AWS."""
    monkeypatch.setenv("ALLOW_PRIVATE_ADDRESSES", "false")
    monkeypatch.setenv("STAGE", "aws")
    settings.cache_clear()
    return hooks
