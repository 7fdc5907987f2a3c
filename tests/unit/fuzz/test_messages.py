"""Messages of the queues and frames of the WebSocket, as hostile as they come, into the handlers."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from functions.dead_letter.handler import handler as bury
from functions.stream.handler import handler as stream
from functions.sweeper.handler import handler as sweep
from functions.webhook.handler import handler as deliver
from functions.worker.environment.environment import Environment
from functions.worker.lane import batch
from shared import tickets, watchers
from shared.clock import day
from shared.settings import settings
from shared.tasks import lanes, store
from shared.tasks.model import Task
from tests.unit.fuzz.hostile import CONTROLS, DEEP, FEW, HALF_PAIR, LONG_NUMBER, bodies, texts

QUEUE = "arn:aws:sqs:us-east-1:123456789012:sluice-normal"
task_messages = bodies(v=st.just(1), task_id=st.sampled_from(["t1", "x" * 5_000, HALF_PAIR, CONTROLS]), gen=st.just(0))
webhook_messages = bodies(
    v=st.just(1),
    task_id=st.just("t1"),
    type=st.just("task.complete"),
    url=st.just("https://example.com/"),
    attempt=st.just(1),
    first=st.just(0.0),
    due=st.just(0.0),
)
frames = bodies(
    action=st.sampled_from(["subscribe", "unsubscribe", "ping"]),
    task_id=st.sampled_from(["t1", "x" * 3_000, HALF_PAIR, CONTROLS]),
    after=st.sampled_from([0, 10**12, 10**30]),
)


def record(body: str, message_id: str = "m1") -> dict[str, Any]:
    return {"messageId": message_id, "body": body, "receiptHandle": "r", "eventSourceARN": QUEUE, "attributes": {}}


def kept(answer: dict[str, Any]) -> list[str]:
    return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]


@FEW
@given(task_messages)
@example(DEEP)
@example(json.dumps({"v": 1, "task_id": "t1", "gen": 10**30}))
def test_a_task_message_is_read_or_refused(body: str) -> None:
    try:
        message = lanes.parse(body)
    except lanes.BadMessage:
        return
    assert 0 < len(message.task_id.encode()) <= lanes.TASK_ID_BYTES
    assert 0 <= message.gen < 2**53


@FEW
@given(st.lists(task_messages, min_size=1, max_size=3))
def test_the_worker_keeps_what_it_cannot_read_and_ends_what_is_gone(
    fake_aws: dict[str, str], redis_settings: str, found: list[str]
) -> None:
    records = [record(body, f"m{n}") for n, body in enumerate(found)]

    async def run() -> dict[str, Any]:
        return await batch.run_batch({"Records": records}, time.time() + 30, Environment())

    readable = [each["messageId"] for each in records if batch._read(each)]
    answer = kept(asyncio.run(run()))
    assert sorted(answer + readable) == [each["messageId"] for each in records]


@FEW
@given(st.lists(task_messages, min_size=1, max_size=3))
def test_no_dead_letter_holds_up_the_others(fake_aws: dict[str, str], redis_settings: str, found: list[str]) -> None:
    assert kept(bury({"Records": [record(body, f"m{n}") for n, body in enumerate(found)]}, None)) == []


@FEW
@given(st.lists(webhook_messages, min_size=1, max_size=3))
def test_webhook_messages_are_seen_to_or_kept(
    fake_aws: dict[str, str], monkeypatch: pytest.MonkeyPatch, found: list[str]
) -> None:
    monkeypatch.setenv("QUEUE_URL_WEBHOOK", fake_aws["normal"])
    settings.cache_clear()
    records = [record(body, f"m{n}") for n, body in enumerate(found)]
    assert set(kept(deliver({"Records": records}, None))) <= {each["messageId"] for each in records}


@FEW
@given(st.dictionaries(texts, texts, max_size=2))
def test_the_sweeper_reads_nothing_of_its_event(
    fake_aws: dict[str, str], redis_settings: str, event: dict[str, str]
) -> None:
    class Context:
        def get_remaining_time_in_millis(self) -> int:
            return 30_000

    assert sweep(event, Context())["counters freed"] == 0


@pytest.fixture
def told(fake_aws: dict[str, str], redis_settings: str, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    pushed: list[bytes] = []
    monkeypatch.setattr(watchers, "push", lambda _, data: pushed.append(data))
    tickets.connect("c1", tickets.Viewer("ann"))
    return pushed


@FEW
@given(frames)
@example(HALF_PAIR)
@example(json.dumps({"action": "subscribe", "task_id": "x" * 3000}))
@example(json.dumps({"action": "unsubscribe", "task_id": "x" * 3000}))
@example(json.dumps({"action": "unsubscribe", "task_id": "\ud83d"}))
@example(json.dumps({"action": "subscribe", "task_id": "\ud83d"}))
@example(json.dumps({"action": "subscribe", "task_id": "t#1\x00"}))
@example(json.dumps({"action": "\udc00", "task_id": "t1"}))
@example(json.dumps({"action": "subscribe", "task_id": "t1", "after": 10**40}))
@example('{"action": "subscribe", "task_id": "t1", "after": ' + LONG_NUMBER[:4000] + "}")
def test_frames_are_answered_in_json_whatever_they_hold(told: list[bytes], body: str) -> None:
    told.clear()
    asked = {"connectionId": "c1", "routeKey": "$default"}
    answer = stream({"requestContext": asked, "body": body}, None)
    assert answer["statusCode"] in (200, 400)
    assert len(told) == 1
    message = json.loads(told[0])
    assert message["type"] in ("error", "pong", "unsubscribed")


@FEW
@given(st.one_of(st.none(), st.dictionaries(st.just("ticket"), texts)))
@example({"ticket": "\ud83d"})
@example({"ticket": "x" * 5000})
def test_no_odd_ticket_lets_a_connection_in(told: list[bytes], query: dict[str, str] | None) -> None:
    asked = {"connectionId": "c2", "routeKey": "$connect"}
    assert stream({"requestContext": asked, "queryStringParameters": query}, None)["statusCode"] == 401


def test_a_services_connection_may_watch_its_users_tasks_and_nobody_elses(told: list[bytes]) -> None:
    at = time.time()
    for name, user in (("theirs", "shop/ann"), ("foreign", "shopper/ann")):
        task = Task(task_id=name, user=user, lane="normal", agent="chat", model="m", created=at, day=day(at))
        store.submit(task, "hello")
    for connection, viewer in (("c3", tickets.Viewer("shop", serves=True)), ("c4", tickets.Viewer("shop"))):
        tickets.connect(connection, viewer)
    answers = []
    for connection, task_id in (("c3", "theirs"), ("c3", "foreign"), ("c4", "theirs")):
        asked = {"connectionId": connection, "routeKey": "$default"}
        body = json.dumps({"action": "subscribe", "task_id": task_id})
        answers.append(stream({"requestContext": asked, "body": body}, None)["statusCode"])
    assert answers == [200, 400, 400]
