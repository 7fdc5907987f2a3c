"""The log's records without transactions: whoever lost a task, or dies between two writes, spoils nothing."""

from __future__ import annotations

import copy
import random
import time
from typing import Any

import pytest

from shared import aws
from shared.clock import day
from shared.errors import Gone, LeaseLost
from shared.settings import settings
from shared.tasks import checkpoints, claims, ending, events, leases, records, settle, spend, store, table
from shared.tasks.model import Outcome, Status, Task, Usage


@pytest.fixture(autouse=True)
def _account(fake_aws: dict[str, str]) -> None:
    assert fake_aws


def submit(task_id: str = "t1", message: str = "hello") -> Task:
    at = time.time()
    new = Task(task_id=task_id, user="ann", lane="normal", agent="chat", model="m", created=at, day=day(at))
    new.session_id = ""
    return store.submit(new, message)


def claim(task_id: str = "t1", gen: int = 0) -> Task:
    task = claims.claim(task_id, gen)
    assert isinstance(task, Task)
    return task


def lapse(task_id: str = "t1") -> None:
    table.update(table.update_op({"pk": {"S": f"TASK#{task_id}"}, "sk": {"S": "TASK"}}, sets={"lease_until": 1.0}))


def record(task: Task, name: str, log: list[str] | None = None, use: int = 7) -> None:
    told = [events.Event(one, 5.0) for one in log or ["step"]]
    checkpoints.record(task, checkpoints.Step(name, 1, "f", name), told, use=Usage(use, 0, use))


def types(task_id: str = "t1", after: int = 0) -> list[str]:
    page = events.read(task_id, after)
    assert [event.seq for event in page.events] == list(range(after + 1, after + 1 + len(page.events)))
    return [event.type for event in page.events]


@pytest.mark.parametrize("late_events", [["token"], ["token", "token", "step"]])
def test_whoever_takes_over_knows_what_the_dead_worker_recorded_and_the_late_one_writes_no_more(
    late_events: list[str],
) -> None:
    submit()
    late = claim()
    record(late, "one")
    lapse()
    new = claim()
    assert (new.last_seq, new.usage.tokens, new.calls, new.attempt) == (2, 7, 1, 0)
    assert set(checkpoints.load("t1")) == {("one", 1)}
    for write in (
        lambda: record(late, "two", late_events),
        lambda: checkpoints.append_events(late, [events.Event(one, 6.0) for one in late_events]),
    ):
        with pytest.raises(LeaseLost):
            write()
    record(new, "two", ["resumed", "step"])
    with pytest.raises(LeaseLost):
        record(late, "two", late_events)
    settle.settle(new, Outcome(status=Status.COMPLETE, response="x"))
    assert types() == ["queued", "step", "resumed", "step", "complete"]
    row = store.get("t1")
    assert (row.usage.tokens, row.calls, spend.load("ann", row.day)) == (14, 2, (14, 14))


def test_a_record_that_slips_in_before_the_fence_is_known_to_the_new_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """The late worker writes while the new one reads."""
    submit()
    late = claim()
    lapse()
    read, slipped = records.catch_up, list[bool]()

    def slow(task: Task) -> None:
        read(task)
        if not slipped:
            slipped.append(True)
            record(late, "one")

    monkeypatch.setattr(records, "catch_up", slow)
    new = claim()
    assert (new.last_seq, new.usage.tokens) == (2, 7)
    with pytest.raises(LeaseLost):
        record(late, "two")
    record(new, "two")
    assert types() == ["queued", "step", "step"]


def test_three_workers_one_after_the_other_lose_nothing_of_what_was_paid_for() -> None:
    submit()
    workers = []
    for n in range(3):
        workers.append(claim())
        record(workers[-1], f"step-{n}", use=10**n)
        lapse()
    last = claim()
    assert (last.lease_no, last.usage.tokens, last.calls) == (4, 111, 3)
    for late in workers:
        with pytest.raises(LeaseLost):
            record(late, "late")
    settle.settle(last, Outcome(status=Status.COMPLETE, response="x"))
    assert spend.load("ann", last.day) == (111, 111)


def test_a_claim_that_died_before_its_fence_is_made_good_by_its_repeat(monkeypatch: pytest.MonkeyPatch) -> None:
    submit()
    late = claim()
    lapse()
    owner = claims.new_owner()
    fence = records.take_over
    monkeypatch.setattr(records, "take_over", lambda task: (_ for _ in ()).throw(ConnectionError))
    with pytest.raises(ConnectionError):
        claims.claim("t1", 0, owner=owner)
    monkeypatch.setattr(records, "take_over", fence)
    record(late, "one")
    again = claims.claim("t1", 0, owner=owner)
    assert isinstance(again, Task)
    assert (again.lease_no, again.last_seq, again.usage.tokens) == (2, 2, 7)
    with pytest.raises(LeaseLost):
        record(late, "two")


def test_a_task_whose_worker_died_is_cancelled_with_all_that_it_recorded() -> None:
    submit()
    late = claim()
    record(late, "one", ["started", "step"])
    lapse()
    assert settle.cancel("t1", "ann").status is Status.CANCELLED
    with pytest.raises(LeaseLost):
        record(late, "two")
    assert types() == ["queued", "started", "step", "cancelled"]
    row = store.get("t1")
    assert (row.usage.tokens, row.calls, spend.load("ann", row.day)) == (7, 1, (7, 7))


def test_a_put_whose_answer_was_lost_finds_itself_and_no_other() -> None:
    submit()
    task = claim()
    record(copy.deepcopy(task), "one")
    record(task, "one")
    assert (task.last_seq, task.usage.tokens) == (2, 7)
    other = copy.deepcopy(task)
    record(copy.deepcopy(task), "two")
    with pytest.raises(LeaseLost):
        checkpoints.append_events(other, [events.Event("token", 9.0)])


def test_a_run_that_is_given_back_takes_its_figures_along() -> None:
    submit()
    task = claim()
    record(task, "one")
    leases.requeue(task, leases.Requeue(delay_s=0, reason="continuation", continuation=True))
    row = store.get("t1")
    assert (row.last_seq, row.usage.tokens, row.calls, row.attempt) == (2, 7, 1, 0)
    again = claim(gen=1)
    record(again, "two")
    assert types() == ["queued", "step", "step"]


def test_a_heartbeat_tells_the_row_how_far_the_run_is_but_nothing_half_true() -> None:
    submit()
    task = claim()
    record(task, "one")
    assert store.get("t1").calls == 0
    task.unwritten.append(Usage(1, 1, 1))  # it is being charged
    leases.heartbeat("t1", task.lease_no, task)
    assert store.get("t1").calls == 0
    task.unwritten.clear()
    leases.heartbeat("t1", task.lease_no, task)
    row = store.get("t1")
    assert (row.calls, row.usage.tokens, row.last_seq) == (1, 7, 2)
    record(task, "two")
    lapse()
    assert claim().usage.tokens == 14


@pytest.mark.parametrize("after", range(9))
def test_events_after_any_number_are_found_wherever_their_batch_begins(after: int) -> None:
    submit()
    task = claim()
    record(task, "one", ["a", "b", "c"])
    checkpoints.append_events(task, [events.Event("d", 1.0), events.Event("e", 1.0)])
    wanted = ["queued", "a", "b", "c", "d", "e"]
    assert types(after=after) == wanted[after:]
    assert events.read("t1", after).last_seq == 6
    settle.settle(task, Outcome(status=Status.COMPLETE, response="x"), log=[events.Event("f", 1.0)])
    wanted += ["f", "complete"]
    assert types(after=after) == wanted[after:]
    assert events.read("t1", after).last_seq == 8


@pytest.mark.parametrize("words", [1, 100, 3000, 60_000])
def test_an_answer_and_its_last_events_come_back_whatever_their_size(words: int) -> None:
    submit()
    task = claim()
    response = " ".join(f"{n * 7919 % 10007:x}" for n in range(words))
    log = [events.Event("token", 1.0, {"call": "m#1.1", "text": response[:16_000]})]
    settle.settle(task, Outcome(status=Status.COMPLETE, response=response, data={"n": words}), log=log)
    row = store.get("t1")
    assert (row.ending is not None) == (words <= 100)
    assert ending.has(row)
    for one in (row, task):
        assert settle.result_of(one) == {
            "response": response, "tokens": 0, "session_id": None, "data": {"n": words},
        }  # fmt: skip
    page = events.read("t1", 0)
    assert [event.type for event in page.events] == ["queued", "token", "complete"]
    assert page.events[1].data["text"] == response[:16_000]
    assert page.events[2].data["response"][:1000] == response[:1000]
    assert [event.type for event in events.read("t1", 2).events] == ["complete"]


def test_a_page_of_an_ended_run_is_cut_between_its_last_events() -> None:
    submit()
    task = claim()
    log = [events.Event("token", 1.0, {"text": "x" * 5000}) for _ in range(3)]
    settle.settle(task, Outcome(status=Status.COMPLETE, response="y" * 5000), log=log)
    seen: list[Any] = []
    while not seen or seen[-1].type != "complete":
        page = events.read("t1", seen[-1].seq if seen else 0, most_bytes=6000)
        assert page.events
        seen += page.events
    assert [event.seq for event in seen] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("message", ["x", "y" * 100, "z" * 5000, "ü" * 100_000])
def test_a_row_stays_within_one_write_unit_whatever_the_message(message: str) -> None:
    from shared.tasks.items import UNIT_BYTES, item_bytes

    submit(message=message)
    task = claim()
    row = table.update(table.update_op({"pk": {"S": "TASK#t1"}, "sk": {"S": "TASK"}}, sets={"reason": "x"}))
    assert item_bytes(row) <= UNIT_BYTES
    assert store.message_of(task) == message


@pytest.mark.parametrize("cancelled", [False, True], ids=["taken over", "ended by a sweep"])
def test_a_run_whose_last_records_object_is_gone_can_be_ended_all_the_same(cancelled: bool) -> None:
    submit()
    late = claim()
    record(late, "one")
    noise = random.Random(1).randbytes(400_000).hex()
    checkpoints.record(late, checkpoints.Step("large", 1, "f", noise), [], use=Usage(1, 0, 1))
    for one in aws.s3().list_objects_v2(Bucket=settings().blob_bucket)["Contents"]:
        aws.s3().delete_object(Bucket=settings().blob_bucket, Key=one["Key"])
    lapse()
    if cancelled:
        settle.end_unheld(store.get("t1"), Outcome(status=Status.CANCELLED))
        assert store.get("t1").status is Status.CANCELLED
        return
    new = claim()
    with pytest.raises(Gone):  # what it paid for is lost: its worker ends it as failed
        checkpoints.load("t1")
    settle.settle(new, Outcome(status=Status.FAILED, error={"code": "result_gone"}))
    assert store.get("t1").status is Status.FAILED
    with pytest.raises(LeaseLost):
        record(late, "two")
