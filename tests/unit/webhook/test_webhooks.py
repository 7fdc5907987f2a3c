"""Webhooks: signed as the standard says, tried for a day, never sent where they must not go."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from functions.webhook import deliver
from functions.webhook import handler as handler_module
from localstack.receiver import Receiver
from shared import aws, webhooks
from shared.clock import day
from shared.errors import DependencyDown
from shared.netguard import Forbidden
from shared.settings import settings
from shared.tasks import leases, settle, store, table
from shared.tasks.items import plain
from shared.tasks.model import Status, Task

DAY_SECONDS = 86_400


@pytest.fixture
def queue(fake_aws: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    assert fake_aws
    url = boto3.client("sqs").create_queue(QueueName="sluice-webhook")["QueueUrl"]
    monkeypatch.setenv("QUEUE_URL_WEBHOOK", url)
    monkeypatch.setenv("WEBHOOK_SECRET", "deployment secret")
    monkeypatch.setenv("ALLOW_PRIVATE_ADDRESSES", "true")
    settings.cache_clear()
    yield url
    settings.cache_clear()


def ended(url: str, **more: Any) -> Task:
    at = time.time()
    task = Task(
        task_id=f"t{at}", user="ann", lane="normal", agent="chat", model="m", created=at, day=day(at), key_id="k1",
        params={"webhook_url": url}, **more,
    )  # fmt: skip
    store.submit(task, "hello")
    held = leases.claim(task.task_id, 0)
    assert isinstance(held, Task)
    settle.settle(held, settle.Outcome(status=Status.COMPLETE, response="é done"), message="hello")
    webhooks.enqueue(held)
    return held


def take(queue: str) -> list[dict[str, Any]]:
    got: Any = aws.sqs().receive_message(QueueUrl=queue, MaxNumberOfMessages=10, AttributeNames=["All"])
    return [{"messageId": m["MessageId"], "body": m["Body"]} for m in got.get("Messages", [])]


def record(task: Task) -> dict[str, Any]:
    row = table.get({"pk": {"S": f"TASK#{task.task_id}"}, "sk": {"S": "WEBHOOK"}})
    assert row is not None
    return {name: plain(value) for name, value in row.items()}


def test_a_delivery_carries_a_signature_that_others_can_verify(queue: str) -> None:
    seen: list[tuple[dict[str, str], bytes]] = []

    class Spy(Receiver):
        def take(self, headers: dict[str, str], body: bytes) -> None:
            seen.append((headers, body))
            super().take(headers, body)

    with Spy([webhooks.secret_for("k1")]) as receiver:
        task = ended(receiver.url)
        assert handler_module.handler({"Records": take(queue)}, None) == {"batchItemFailures": []}
        (delivery,) = receiver.wait_for(1, timeout_s=5)
    assert delivery.valid
    assert (delivery.type, delivery.body["data"]["result"]["response"]) == ("task.complete", "é done")
    headers, body = seen[0]
    # Independently of our own code, as https://www.standardwebhooks.com describes it.
    key = base64.b64decode(webhooks.secret_for("k1")[len("whsec_") :])
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    digest = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{digest}"
    assert headers["webhook-id"] == f"msg_{task.task_id}_complete"
    assert record(task)["outcome"] == "delivered"
    assert not webhooks.verify(webhooks.secret_for("k2"), headers, body)
    assert not webhooks.verify(webhooks.secret_for("k1"), headers, body + b" ")
    assert not webhooks.verify(webhooks.secret_for("k1"), headers, body, at=time.time() + 1000)


@pytest.mark.parametrize("answer", [301, 400, 404, 500])
def test_a_refused_delivery_is_tried_again_with_the_same_id(queue: str, answer: int) -> None:
    with Receiver(answer=answer) as receiver:
        task = ended(receiver.url)
        handler_module.handler({"Records": take(queue)}, None)
        assert [d.id for d in receiver.deliveries] == [webhooks.message_id(task)]
    found = record(task)
    assert (found["outcome"], found["last_status"], found["attempts"]) == ("waiting", answer, 1)
    attributes = aws.sqs().get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]
    waiting = {name: int(attributes[name]) for name in attributes if name.startswith("ApproximateNumberOfMessages")}
    assert waiting["ApproximateNumberOfMessagesDelayed"] == 1  # type: ignore[index]


def test_gone_means_no_more(queue: str) -> None:
    with Receiver(answer=410) as receiver:
        task = ended(receiver.url)
        handler_module.handler({"Records": take(queue)}, None)
    assert record(task)["outcome"] == "given_up"


def test_tries_go_on_for_a_day_and_then_end(queue: str, monkeypatch: pytest.MonkeyPatch) -> None:
    at = time.time()
    delays: list[float] = []
    sent: list[str] = []

    def send(task_id: str, url: str, *, attempt: int, first: float, delay_s: float) -> None:
        delays.append(delay_s)
        sent.append(json.dumps({"task_id": task_id, "url": url, "attempt": attempt, "first": first}))

    with Receiver(answer=500) as receiver:
        task = ended(receiver.url)
        body = take(queue)[0]["body"]
        monkeypatch.setattr(webhooks, "send", send)
        while True:
            monkeypatch.setattr(deliver, "now", lambda: at + sum(delays))
            if deliver.see_to(body) == "given_up":
                break
            body = sent[-1]
    assert delays[:4] == [5, 10, 20, 40]
    assert max(delays) == 900
    assert DAY_SECONDS <= sum(delays) < DAY_SECONDS + 900
    assert record(task)["attempts"] == len(delays) + 1


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/hook",
        "https://127.0.0.1/",
        "https://169.254.169.254/",
        "http://example.com/",
        "https://[::1]/",
    ],
)
def test_on_aws_settings_no_private_address_and_no_http(queue: str, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALLOW_PRIVATE_ADDRESSES", "false")
    settings.cache_clear()
    with pytest.raises(Forbidden):
        webhooks.check_target(url)
    task = ended(url)
    handler_module.handler({"Records": take(queue)}, None)
    assert (record(task)["outcome"], record(task)["last_error"]) == ("given_up", "forbidden_address")


def test_a_name_with_a_private_address_is_refused(queue: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from shared import netguard

    with Receiver() as receiver:
        monkeypatch.setenv("ALLOW_PRIVATE_ADDRESSES", "false")
        settings.cache_clear()
        monkeypatch.setattr(netguard, "resolve", lambda _host, _port: ["127.0.0.1"])
        task = ended(receiver.url.replace("http://127.0.0.1", "https://innocent.example"))
        handler_module.handler({"Records": take(queue)}, None)
        assert receiver.deliveries == []
    assert record(task)["last_error"] == "forbidden_address"


def test_a_redirect_is_not_followed(queue: str) -> None:
    with Receiver() as inner:

        class Redirecting(Receiver):
            pass

        with Redirecting(answer=302) as outer:
            ended(outer.url)
            handler_module.handler({"Records": take(queue)}, None)
            assert len(outer.deliveries) == 1
        assert inner.deliveries == []


def test_unreadable_messages_are_kept_for_the_dead_letter_queue(queue: str) -> None:
    assert queue
    answer = handler_module.handler({"Records": [{"messageId": "m", "body": "{}"}]}, None)
    assert answer == {"batchItemFailures": [{"itemIdentifier": "m"}]}


def test_a_queue_that_is_away_is_told(fake_aws: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert fake_aws
    monkeypatch.setenv("QUEUE_URL_WEBHOOK", "https://sqs.us-east-1.amazonaws.com/123456789012/none")
    settings.cache_clear()
    with pytest.raises(DependencyDown):
        ended("https://example.com/hook")
