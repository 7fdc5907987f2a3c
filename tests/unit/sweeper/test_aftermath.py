"""Whoever ends a task may die before it told anybody: the sweeper does it then."""

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import boto3
import pytest

from functions.dead_letter.bury import bury
from functions.dead_letter.handler import handler as bury_all
from functions.stream import routes
from functions.sweeper import sweep as sweep_module
from functions.sweeper.sweep import sweep
from shared import aws, tickets, valkey, watchers, webhooks
from shared.clock import day
from shared.errors import DependencyDown
from shared.limits import names
from shared.limits.admission import CHECK_AGAIN_S, Gate
from shared.settings import settings
from shared.tasks import aftermath, claims, events, listing, owed, settle, spend, store
from shared.tasks.ids import new_task_id
from shared.tasks.model import Status, Task


@pytest.fixture
def hooks(fake_aws: dict[str, str], redis_settings: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    assert fake_aws
    assert redis_settings
    url = boto3.client("sqs").create_queue(QueueName="sluice-webhook")["QueueUrl"]
    monkeypatch.setenv("QUEUE_URL_WEBHOOK", url)
    settings.cache_clear()
    yield url
    settings.cache_clear()


def ended(outcome: settle.Outcome, **params: Any) -> Task:
    at = time.time()
    task = Task(
        task_id=new_task_id(),
        user="ann",
        lane="normal",
        agent="chat",
        model="m",
        created=at,
        day=day(at),
        params=params,
    )
    store.submit(task, "hello")
    held = claims.claim(task.task_id, 0)
    assert isinstance(held, Task)
    settle.settle(held, outcome, message="hello")
    return held


DONE = settle.Outcome(status=Status.COMPLETE, response="done")


def waiting(url: str) -> int:
    got: Any = aws.sqs().get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
    return int(got["Attributes"]["ApproximateNumberOfMessages"])


def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    monkeypatch.setattr(sweep_module, "now", lambda: time.time() + seconds)


def due(task: Task) -> bool:
    return any(task.task_id in listing.due(str(n), before=time.time() + 1e6, limit=10) for n in range(4))


def test_a_webhook_whose_worker_died_is_sent_by_the_sweeper_once(hooks: str, monkeypatch: pytest.MonkeyPatch) -> None:
    task = ended(DONE, webhook_url="https://example.com/hook")
    assert sweep(time.time() + 60).get("announced") is None  # its worker may just be about to
    assert waiting(hooks) == 0
    later(monkeypatch, owed.GRACE_SECONDS + 1)
    assert sweep(time.time() + 120)["announced"] == 1
    assert waiting(hooks) == 1
    assert not due(task)
    assert sweep(time.time() + 120).get("announced") is None


def test_what_was_told_is_not_due(hooks: str) -> None:
    task = ended(DONE, webhook_url="https://example.com/hook")
    aftermath.finished(Gate(load_spend=spend.load), task)
    assert waiting(hooks) == 1
    assert not due(task)
    assert not due(ended(DONE))  # nobody asked to be told


def test_a_webhook_that_sqs_refused_is_sent_later(hooks: str, monkeypatch: pytest.MonkeyPatch) -> None:
    task = ended(DONE, webhook_url="https://example.com/hook")
    with monkeypatch.context() as patch:
        patch.setenv("QUEUE_URL_WEBHOOK", hooks + "-gone")
        settings.cache_clear()
        aftermath.finished(Gate(load_spend=spend.load), task)
    settings.cache_clear()
    assert due(task)
    later(monkeypatch, owed.GRACE_SECONDS + 1)
    sweep(time.time() + 120)
    assert waiting(hooks) == 1


def test_a_burial_that_died_half_way_is_finished_when_its_message_comes_back(hooks: str) -> None:
    at = time.time()
    task = Task(
        task_id="dead", user="ann", lane="normal", agent="chat", model="m", created=at, day=day(at),
        params={"webhook_url": "https://example.com/hook"},
    )  # fmt: skip
    store.submit(task, "hello")
    error = {"code": "dead_letter", "message": "received too often"}
    settle.end_unheld(store.get("dead"), settle.Outcome(status=Status.FAILED, error=error))
    record = {"messageId": "m", "body": '{"v":1,"task_id":"dead","gen":0}'}
    assert bury(record) == "buried before"
    assert waiting(hooks) == 1
    assert list(listing.due(owed.DEAD, before=time.time() + 1, limit=1)) == ["dead"]  # still listed
    assert webhooks.message_id(store.get("dead")) == "msg_dead_failed"


def test_a_dead_letter_whose_webhook_sqs_refused_comes_back_until_it_is_told(
    hooks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its row is listed for `make redrive` and not for the sweeper: only the message can repeat it."""
    at = time.time()
    store.submit(
        Task(
            task_id="dead", user="ann", lane="normal", agent="chat", model="m", created=at, day=day(at),
            params={"webhook_url": "https://example.com/hook"},
        ),
        "hello",
    )  # fmt: skip
    with monkeypatch.context() as patch:  # a worker had it, and died
        patch.setattr(claims, "now", lambda: at - 600)
        assert isinstance(claims.claim("dead", 0), Task)
    records = {"Records": [{"messageId": "m", "body": '{"v":1,"task_id":"dead","gen":0}'}]}

    def refuse(_task: Task) -> None:
        raise DependencyDown("sqs")

    with monkeypatch.context() as patch:
        patch.setattr(webhooks, "enqueue", refuse)
        for _ in range(2):
            assert bury_all(records, None) == {"batchItemFailures": [{"itemIdentifier": "m"}]}
            assert store.get("dead").status is Status.FAILED
    assert bury_all(records, None) == {"batchItemFailures": []}
    assert waiting(hooks) == 1
    assert bury_all(records, None) == {"batchItemFailures": []}


# ---- watchers of an ended task


@pytest.fixture
def watched(hooks: str) -> Task:
    task = ended(DONE)
    valkey.client().flushall()
    watchers.add(task.task_id, "first", 1)
    watchers.add(task.task_id, "second", 1)
    return task


@pytest.fixture
def pushed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    told: list[str] = []
    monkeypatch.setattr(watchers, "push", lambda connection, _data: told.append(connection))
    return told


def much_later(monkeypatch: pytest.MonkeyPatch, gate: Gate) -> None:
    monkeypatch.setattr(gate, "_now_us", lambda: int((time.time() + CHECK_AGAIN_S + 1) * 1e6))
    monkeypatch.setattr(sweep_module, "_gate", lambda: gate)


def test_watchers_that_could_not_be_told_are_told_by_the_sweeper(
    watched: Task, pushed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(load_spend=spend.load)

    def away(*_: Any) -> Any:
        raise DependencyDown("dynamodb")

    with monkeypatch.context() as patch:
        patch.setattr(events, "read", away)
        aftermath.finished(gate, watched)
    assert (pushed, set(watchers.of(watched.task_id))) == ([], {"first", "second"})
    much_later(monkeypatch, gate)
    sweep(time.time() + 60)
    assert sorted(pushed) == ["first", "second"]
    assert watchers.of(watched.task_id) == {}
    assert valkey.client().zcard(names.OPEN) == 0


def test_slow_watchers_do_not_hold_up_an_end(watched: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    clock = [time.time()]

    def slow(connection: str, _data: bytes) -> None:
        clock[0] += watchers.FINISH_SECONDS + 1
        told.append(connection)

    monkeypatch.setattr(watchers, "push", slow)
    monkeypatch.setattr(watchers, "now", lambda: clock[0])
    gate = Gate(load_spend=spend.load)
    aftermath.finished(gate, watched)
    assert len(told) == 1
    assert len(watchers.of(watched.task_id)) == 1
    much_later(monkeypatch, gate)
    sweep(time.time() + 60)
    assert sorted(told) == ["first", "second"]


def test_who_subscribes_to_an_ended_task_is_told_alone(
    watched: Task, pushed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tickets.connect("third", tickets.Viewer("ann"))
    read, first_look = store.get, [True]

    def not_ended_at_first(task_id: str) -> Task:
        found = read(task_id)
        if first_look:
            first_look.clear()
            return replace(found, status=Status.PROCESSING)
        return found

    page = events.read

    def before_the_end(task_id: str, after: int) -> events.Page:
        found = page(task_id, after)
        if len(pushed) == 0 and watchers.of(task_id).get("third") is None:
            return events.Page(replace(found.task, status=Status.PROCESSING), found.events[:1])
        return found

    monkeypatch.setattr(store, "get", not_ended_at_first)
    monkeypatch.setattr(events, "read", before_the_end)
    body = json.dumps({"action": "subscribe", "task_id": watched.task_id, "after": 0})
    assert routes.handle("$default", "third", {"body": body}) == 200
    assert set(pushed) == {"third"}
    assert set(watchers.of(watched.task_id)) == {"first", "second"}
