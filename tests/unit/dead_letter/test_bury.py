"""A receive count says something of a task only after a worker had it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from functions.dead_letter import bury as bury_module
from functions.dead_letter.bury import bury
from functions.dead_letter.handler import handler
from shared.clock import day
from shared.settings import settings
from shared.tasks import claims, lanes, leases, store, table
from shared.tasks.items import row_key
from shared.tasks.leases import Requeue
from shared.tasks.model import Status, Task

pytestmark = pytest.mark.usefixtures("redis_settings")


@pytest.fixture(autouse=True)
def _account(fake_aws: dict[str, str]) -> Iterator[None]:
    assert fake_aws
    bury_module._gate.cache_clear()
    yield
    bury_module._gate.cache_clear()


def submitted(age_days: float = 0) -> Task:
    at = time.time() - age_days * 86_400
    task = Task(task_id="t", user="ann", lane="normal", agent="chat", model="m", created=at, day=day(at))
    store.submit(task, "hello")
    return task


def record(gen: int = 0) -> dict[str, object]:
    return {
        "messageId": "m",
        "body": json.dumps({"v": lanes.VERSION, "task_id": "t", "gen": gen}),
        "attributes": {"ApproximateReceiveCount": "11"},
    }


def waiting() -> list[lanes.Message]:
    found = lanes.receive(settings().queue_urls["normal"], 10, hidden_s=0)
    return [lanes.parse(message.body) for message in found]


def test_a_task_that_no_worker_had_is_sent_again_however_often_its_message_was_received() -> None:
    submitted()
    for _ in range(3):
        assert bury(record()) == "never tried, sent again"
    assert store.get("t").status is Status.QUEUED
    assert set(waiting()) == {lanes.Message("t", 0)}


@pytest.mark.parametrize(("age_days", "ends"), [(13.9, Status.QUEUED), (14.1, Status.FAILED)])
def test_how_often_is_bounded_by_age(age_days: float, ends: Status) -> None:
    submitted(age_days)
    bury(record())
    assert store.get("t").status is ends


@pytest.mark.parametrize(("age_days", "ends"), [(13.9, Status.QUEUED), (14.1, Status.FAILED)])
@pytest.mark.parametrize("of", ["next_try_at", "waiting_since", "kept_until"])
def test_the_age_of_one_that_was_tried_or_waited_is_counted_from_then(of: str, age_days: float, ends: Status) -> None:
    """A run may wait for a year: what happens to its message when it is woken says nothing of it either."""
    submitted(300)
    life = settings().task_ttl_days * 86_400 if of == "kept_until" else 0
    table.update(table.update_op(row_key("t"), sets={of: time.time() - age_days * 86_400 + life}))
    bury(record())
    assert store.get("t").status is ends


def test_a_continued_task_whose_new_message_nobody_took_is_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    submitted()
    task = claims.claim("t", 0)
    assert isinstance(task, Task)
    leases.requeue(task, Requeue(delay_s=0, reason="continuation", continuation=True), [])
    gen = store.get("t").gen
    assert bury(record(gen)) == "never tried, sent again"


def test_a_task_whose_worker_died_with_its_last_receive_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    submitted()
    with monkeypatch.context() as patch:
        patch.setattr(claims, "now", lambda: time.time() - 600)
        assert isinstance(claims.claim("t", 0), Task)
    assert bury(record()) == "failed"
    task = store.get("t")
    assert task.status is Status.FAILED
    assert (task.error or {})["code"] == "dead_letter"


def test_a_defect_that_one_dead_letter_meets_keeps_no_other_from_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    submitted()
    assert isinstance(claims.claim("t", 0), Task)
    table.update(table.update_op(row_key("t"), sets={"lease_until": 1.0}))
    real = store.get

    def get(task_id: str) -> Task:
        if task_id == "odd":
            raise RuntimeError("a defect")
        return real(task_id)

    monkeypatch.setattr(store, "get", get)
    odd = record() | {"messageId": "odd", "body": json.dumps({"v": lanes.VERSION, "task_id": "odd", "gen": 0})}
    assert handler({"Records": [odd, record()]}, None) == {"batchItemFailures": [{"itemIdentifier": "odd"}]}
    assert store.get("t").status is Status.FAILED
