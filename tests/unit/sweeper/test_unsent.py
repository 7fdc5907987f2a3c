"""A task that is known to have no message gets one as soon as it is due, however busy its lane and its past."""

from __future__ import annotations

import time
from typing import Any

import pytest

from functions.sweeper import sweep as sweep_module
from functions.sweeper.sweep import sweep
from shared import aws, valkey
from shared.clock import day
from shared.errors import DependencyDown
from shared.limits import names
from shared.limits.admission import Gate
from shared.settings import settings
from shared.tasks import aftermath, claims, lanes, leases, listing, parking, settle, spend, store
from shared.tasks.leases import Requeue
from shared.tasks.model import Status, Task


@pytest.fixture
def gate(fake_aws: dict[str, str], redis_settings: str, monkeypatch: pytest.MonkeyPatch) -> Gate:
    assert fake_aws
    assert redis_settings
    valkey.client().flushall()
    made = Gate(load_spend=spend.load)
    monkeypatch.setattr(sweep_module, "_gate", lambda: made)
    lanes.send("normal", "somebody-elses", 0, user="bob")  # the lane is not empty: nothing follows from that
    return made


def submitted(task_id: str, *, minutes_ago: float = 0, **fields: Any) -> Task:
    at = time.time() - minutes_ago * 60
    values: dict[str, Any] = {
        "task_id": task_id, "user": "ann", "lane": "normal", "agent": "chat", "model": "m", "created": at,
        "day": day(at),
    }  # fmt: skip
    return store.submit(Task(**(values | fields)), "hello")


def claimed(task_id: str, gen: int = 0) -> Task:
    task = claims.claim(task_id, gen)
    assert isinstance(task, Task)
    return task


def sqs_away(patch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise DependencyDown("sqs")

    patch.setattr(lanes, "send", refuse)


def swept(monkeypatch: pytest.MonkeyPatch, *, after_s: float) -> dict[str, int]:
    monkeypatch.setattr(sweep_module, "now", lambda: time.time() + after_s)
    return sweep(time.time() + after_s + 60)


def messages() -> list[str]:
    found = lanes.receive(settings().queue_urls["normal"], 10, hidden_s=60)
    return sorted(lanes.parse(message.body).task_id for message in found)


def test_an_unparked_task_whose_send_failed_is_sent_by_the_next_sweep(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    submitted("p", minutes_ago=45, parked=True, running_cap=1, sweeps=6)
    with monkeypatch.context() as patch:
        sqs_away(patch)
        with pytest.raises(DependencyDown):
            parking.unpark_next(gate, "ann", 1)
    row = store.get("p")
    assert (row.parked, row.reason, row.sweeps) == (False, "unsent", 0)
    assert swept(monkeypatch, after_s=1)["sent"] == 1
    assert messages() == ["p", "somebody-elses"]


def test_one_that_the_sweeper_unparked_is_sent_by_the_next_sweep(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    submitted("p", minutes_ago=45, parked=True, running_cap=1, sweeps=6)
    with monkeypatch.context() as patch:
        sqs_away(patch)
        assert swept(patch, after_s=40)["away"] == 1
    assert not store.get("p").parked
    assert swept(monkeypatch, after_s=41)["sent"] == 1
    assert messages() == ["p", "somebody-elses"]


def test_having_waited_long_for_a_slot_makes_nobody_wait_long_for_a_message(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its message is lost on the way, so that nobody knows."""
    submitted("p", minutes_ago=45, parked=True, running_cap=1, sweeps=6)
    assert parking.unpark_next(gate, "ann", 1) == 1
    aws.sqs().purge_queue(QueueUrl=settings().queue_urls["normal"])
    lanes.send("normal", "somebody-elses", 0, user="bob")
    assert swept(monkeypatch, after_s=store.UNSENT_GRACE_SECONDS + 1)["sent"] == 1


def test_one_whose_waker_died_before_it_was_sent_is_sent_soon_however_busy_its_lane_and_once(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    submitted("p", parked=True, running_cap=1)
    assert store.unpark(store.get("p"))
    grace = store.UNSENT_GRACE_SECONDS
    assert swept(monkeypatch, after_s=grace - 1).get("sent", 0) == 0
    assert swept(monkeypatch, after_s=grace + 1)["sent"] == 1
    assert swept(monkeypatch, after_s=grace + 61).get("sent", 0) == 0
    assert messages() == ["p", "somebody-elses"]


@pytest.mark.parametrize("delay_s", [0, 120])
def test_a_requeued_task_whose_send_failed_is_sent_as_soon_as_it_is_due(
    gate: Gate, monkeypatch: pytest.MonkeyPatch, delay_s: float
) -> None:
    submitted("r")
    with monkeypatch.context() as patch:
        sqs_away(patch)
        assert not leases.requeue(claimed("r"), Requeue(delay_s=delay_s, reason="retry", attempt=1))
    assert store.public(store.get("r"))["reason"] == "retry", "its owner is told why it waits"
    if delay_s:
        assert swept(monkeypatch, after_s=delay_s - 5).get("sent", 0) == 0
    assert swept(monkeypatch, after_s=delay_s + 1)["sent"] == 1
    assert store.public(store.get("r"))["reason"] == "retry"
    assert swept(monkeypatch, after_s=delay_s + 61).get("sent", 0) == 0, "it is on its way"
    assert messages() == ["r", "somebody-elses"]


def test_a_task_that_was_sent_after_all_is_not_taken_for_unsent(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    submitted("r")
    with monkeypatch.context() as patch:
        sqs_away(patch)
        leases.requeue(claimed("r"), Requeue(delay_s=0, reason="retry", attempt=1))
    leases.requeue(claimed("r", 1), Requeue(delay_s=0, reason="retry", attempt=2))
    assert not store.get("r").unsent
    assert swept(monkeypatch, after_s=61).get("sent", 0) == 0


def emptied(*, delay_s: int | None) -> None:
    """Leave the lane with nobody's message, or with one that is not due yet."""
    aws.sqs().purge_queue(QueueUrl=settings().queue_urls["normal"])
    if delay_s is not None:
        lanes.send("normal", "somebody-elses", 0, user="bob", delay_s=delay_s)


def test_a_task_whose_message_should_be_there_is_sent_again_though_others_wait_for_their_time(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    submitted("p")  # whoever wrote it died before it was sent
    emptied(delay_s=900)
    assert swept(monkeypatch, after_s=store.UNSENT_GRACE_SECONDS - 1).get("sent", 0) == 0
    assert swept(monkeypatch, after_s=store.UNSENT_GRACE_SECONDS + 1)["sent"] == 1
    assert swept(monkeypatch, after_s=store.UNSENT_GRACE_SECONDS + 61).get("sent", 0) == 0, "once, and no more"


def test_a_task_in_a_lane_with_messages_that_are_due_waits_its_turn(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    submitted("p")
    emptied(delay_s=0)
    assert swept(monkeypatch, after_s=store.UNSENT_GRACE_SECONDS + 1).get("sent", 0) == 0
    assert swept(monkeypatch, after_s=leases.RESEND_AFTER_SECONDS + 1)["sent"] == 1


def test_a_task_that_is_to_wait_is_not_sent_before_its_time(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    submitted("r")
    leases.requeue(claimed("r"), Requeue(delay_s=600, reason="retry", attempt=1))
    emptied(delay_s=900)
    assert swept(monkeypatch, after_s=600).get("sent", 0) == 0
    assert swept(monkeypatch, after_s=600 + store.UNSENT_GRACE_SECONDS + 1)["sent"] == 1


# ---- slots of tasks that turn out to have ended


def slots(user: str = "ann") -> set[str]:
    return set(valkey.client().zrange(names.user_keys(user).slots, 0, -1))


def test_a_task_that_ended_in_the_parking_lot_keeps_no_slot(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    """The index that lists parked tasks lags behind the rows."""
    for name in ("ended", "next"):
        submitted(name, parked=True, running_cap=1)
    settle.end_unheld(store.get("ended"), settle.Outcome(status=Status.CANCELLED))
    monkeypatch.setattr(listing, "parked_tasks", lambda user, limit: ["gone", "ended", "next"])
    assert parking.unpark_next(gate, "ann", 1) == 1
    assert slots() == {"next"}


def test_a_task_that_runs_meanwhile_keeps_its_slot(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("runs", "next"):
        submitted(name, parked=name == "next", running_cap=1)
    assert gate.take_slot("ann", "runs", 1, 60)
    claimed("runs")
    monkeypatch.setattr(listing, "parked_tasks", lambda user, limit: ["runs", "next"])
    assert parking.unpark_next(gate, "ann", 1) == 0
    assert slots() == {"runs"}


def test_a_task_that_ends_under_the_sweepers_eyes_keeps_no_slot(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    task = submitted("p", parked=True, running_cap=1)
    seen = store.get("p")
    settle.end_unheld(store.get("p"), settle.Outcome(status=Status.CANCELLED))
    aftermath.finished(gate, task)
    assert sweep_module._look_after(seen, set()) == "changed meanwhile"
    assert slots() == set()
