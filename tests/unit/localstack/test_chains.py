"""Chains of a day: what is sent again and again reaches its end, because its function says that it may.

The strict front's own count of a chain stands between the queue and the function, with the template's word.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from deploy.stack import read_template
from functions.webhook import deliver, record
from functions.webhook.handler import handler as webhook_handler
from functions.webhook.post import Answer
from functions.webhook.schedule import GIVE_UP_SECONDS
from localstack.environ import ROOT
from localstack.strict.lineage import Lineage
from localstack.strict.rules import RULES
from shared import aws, webhooks
from shared.clock import day
from shared.settings import settings
from shared.tasks import claims, lanes, leases, settle, store
from shared.tasks.leases import Requeue
from shared.tasks.model import Status, Task
from sluice.testing.account import client, pass_time

RESOURCES = read_template(ROOT / "template.yaml")["Resources"]


class Poller:
    """Lambda's poller between a queue and a function, and its loop detection."""

    def __init__(self, queue: str, function: str, says: str | None) -> None:
        self.queue, self.function, self.says = queue, function, says
        self.lineage, self.header, self.invocations, self.longest, self.stopped = Lineage(), "", 0, 0, False
        self._sqs = aws.sqs()

    def send_message(self, **asked: Any) -> Any:
        answer = self._sqs.send_message(**asked)
        trace = (asked.get("MessageSystemAttributes") or {}).get("AWSTraceHeader", {}).get("StringValue")
        self.lineage.sent(self.header, trace, answer["MessageId"])
        return answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sqs, name)

    def run(self, function: Callable[[dict[str, Any]], None]) -> bool:
        """Invoke the function with what is due; False when nothing was, or the chain was stopped."""
        asked: Any = {"MessageSystemAttributeNames": ["AWSTraceHeader"], "MaxNumberOfMessages": 1}
        found = self._sqs.receive_message(QueueUrl=self.queue, **asked).get("Messages", [])
        if not found:
            return False
        event = {
            "Records": [
                {"messageId": one["MessageId"], "body": one["Body"], "attributes": one.get("Attributes", {})}
                for one in found
            ]
        }
        run = self.lineage.begin(self.function, event)
        self.longest = max(self.longest, run.times)
        if run.times > RULES["lambda-loop"].most and self.says != "Allow":
            self.stopped = True
            return False
        self.header, self.invocations = run.header, self.invocations + 1
        function(event)
        self._sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=found[0]["ReceiptHandle"])
        self.header = ""
        return True


@pytest.fixture
def lane(fake_aws: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("QUEUE_URL_WEBHOOK", client("sqs").create_queue(QueueName="sluice-webhook")["QueueUrl"])
    monkeypatch.setenv("WEBHOOK_SECRET", "a secret")
    settings.cache_clear()
    yield fake_aws["normal"]
    settings.cache_clear()


def submitted(trace: str | None = None) -> Task:
    at = time.time()
    task = Task(
        task_id="t", user="ann", lane="normal", agent="chat", model="m", created=at, day=day(at), trace=trace,
        params={"webhook_url": "https://example.com/hook"},
    )  # fmt: skip
    store.submit(task, "hello")
    return task


SAYS = [RESOURCES["WebhookFunction"]["Properties"].get("RecursiveLoop"), None]


@pytest.mark.parametrize("says", SAYS, ids=["as the template says", "without its word"])
def test_a_receiver_that_fails_for_a_day_gets_all_its_tries(
    lane: str, monkeypatch: pytest.MonkeyPatch, says: str | None
) -> None:
    submitted()
    task = claims.claim("t", 0)
    assert isinstance(task, Task)
    settle.settle(task, settle.Outcome(status=Status.COMPLETE, response="ok"), message="hello")
    poller = Poller(settings().queue_url_webhook, "WebhookFunction", says)
    monkeypatch.setattr(aws, "sqs", lambda: poller)
    at, tries = [time.time()], []
    for module in (deliver, webhooks, record):
        monkeypatch.setattr(module, "now", lambda: at[0])

    def fails(_task: Task, _url: str) -> Answer:
        tries.append(at[0])
        return Answer(500, "the receiver answered 500")

    monkeypatch.setattr(deliver, "post", fails)
    webhooks.enqueue(task)
    began = at[0]
    while at[0] < began + GIVE_UP_SECONDS + 3600 and not poller.stopped:
        if not poller.run(lambda event: webhook_handler(event, None)):
            at[0] += 60
            pass_time(60)
    if says == "Allow":
        assert not poller.stopped
        assert tries[-1] - began == pytest.approx(GIVE_UP_SECONDS, abs=120)
        assert len(tries) >= 15
        assert poller.longest > 100, "far more than Lambda lets a chain be"
    else:
        assert poller.stopped
        assert tries[-1] - began < GIVE_UP_SECONDS / 4


TRACES = [
    None,
    "Root=1-5759e988-bd862e3fe1be46a994272793",
    "Self=1-67891234-12456789abcdef012345678;Root=1-67891233-abcdef012345678912345678",
]
WORKER_SAYS = [RESOURCES["WorkerFunction"]["Properties"].get("RecursiveLoop"), None]


@pytest.mark.parametrize("says", WORKER_SAYS, ids=["as the template says", "without its word"])
@pytest.mark.parametrize("trace", TRACES, ids=["no trace", "a trace", "behind a load balancer"])
def test_a_run_that_is_deferred_forty_times_completes(
    lane: str, monkeypatch: pytest.MonkeyPatch, says: str | None, trace: str | None
) -> None:
    task = submitted(trace)
    poller = Poller(lane, "WorkerFunction", says)
    monkeypatch.setattr(aws, "sqs", lambda: poller)
    lanes.send("normal", "t", 0, user="ann", trace=task.trace)
    deferred = [0]

    def work(event: dict[str, Any]) -> None:
        message = lanes.parse(event["Records"][0]["body"])
        held = claims.claim(message.task_id, message.gen)
        assert isinstance(held, Task), held
        if deferred[0] < 40:
            deferred[0] += 1
            leases.requeue(held, Requeue(delay_s=0, reason="provider_budget", deferral=True), [])
        else:
            settle.settle(held, settle.Outcome(status=Status.COMPLETE, response="ok"), message="hello")

    while poller.run(work):
        pass
    task = store.get("t")
    if says == "Allow":
        assert (task.status, deferred[0], poller.longest) == (Status.COMPLETE, 40, 41)
        assert (task.attempt, task.crashes) == (0, 0)
    else:
        assert poller.stopped
        assert (task.status, poller.invocations) == (Status.QUEUED, 16)


def test_a_message_says_what_the_front_needs(lane: str) -> None:
    lanes.send("normal", "t", 0, user="ann", trace=TRACES[1])
    asked: Any = {"MessageSystemAttributeNames": ["AWSTraceHeader"]}
    (one,) = client("sqs").receive_message(QueueUrl=lane, **asked)["Messages"]
    assert one["Attributes"]["AWSTraceHeader"] == TRACES[1]
    assert json.loads(one["Body"])["task_id"] == "t"
