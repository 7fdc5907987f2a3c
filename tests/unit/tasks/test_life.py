"""A task's life in one worker's hands: what each write leaves behind, and what it refuses."""

import time
from typing import Any

import pytest

from shared.clock import day
from shared.errors import IdempotencyMismatch, LeaseLost, NotFound, TooLarge
from shared.settings import settings
from shared.tasks import blobs, checkpoints, claims, events, leases, listing, sessions, settle, spend, store, table
from shared.tasks.model import Status, Task, Usage, dumps

pytestmark = pytest.mark.usefixtures("fake_aws")


def new_task(task_id: str = "t1", **changes: object) -> Task:
    at = time.time()
    values: dict[str, object] = {
        "task_id": task_id, "user": "ann", "lane": "normal", "agent": "chat", "model": "m", "created": at,
        "day": day(at),
    }  # fmt: skip
    return Task(**(values | changes))  # type: ignore[arg-type]


def claimed(task_id: str = "t1", gen: int = 0) -> Task:
    task = claims.claim(task_id, gen)
    assert isinstance(task, Task)
    return task


def test_submitted_task_reads_back_whole() -> None:
    store.submit(new_task(params={"metadata": {"a": "b"}, "max_output_tokens": 7}), "hello")
    task = store.get("t1")
    assert (task.status, task.gen, task.lease_no, task.attempt) == (Status.QUEUED, 0, 0, 0)
    assert task.params == {"metadata": {"a": "b"}, "max_output_tokens": 7}
    assert store.message_of(task) == "hello"


@pytest.mark.parametrize("size", [10, blobs.SMALL_BYTES, blobs.SMALL_BYTES + 1, blobs.PLAIN_BYTES + 1, 262_144])
def test_message_of_any_size_survives(size: int) -> None:
    message = "é" * (size // 2)
    store.submit(new_task(), message)
    assert store.message_of(store.get("t1")) == message


def test_claim_is_exclusive_and_counts() -> None:
    store.submit(new_task(), "hello")
    task = claimed()
    assert (task.status, task.lease_no, task.crashes) == (Status.PROCESSING, 1, 0)
    refused = claims.claim("t1", 0)
    assert isinstance(refused, claims.Refused)
    assert refused.why is claims.Refusal.LEASED
    assert 50 < refused.hide_s <= 61


def test_lapsed_lease_is_taken_over_and_the_late_worker_is_fenced(monkeypatch: pytest.MonkeyPatch) -> None:
    store.submit(new_task(), "hello")
    late = claimed()
    monkeypatch.setattr(claims, "now", lambda: time.time() + settings().lease_seconds + 1)
    new = claimed()
    assert (new.lease_no, new.crashes) == (2, 1)
    step = checkpoints.Step("model", 1, "f", {"x": 1})
    for write in (
        lambda: leases.heartbeat("t1", late.lease_no),
        lambda: checkpoints.record(late, step, [events.Event("step", 1.0)], use=Usage(1, 1, 1)),
        lambda: checkpoints.append_events(late, [events.Event("token", 1.0)]),
        lambda: leases.requeue(late, leases.Requeue(delay_s=1, reason="retry")),
        lambda: settle.settle(late, settle.Outcome(status=Status.COMPLETE, response="late")),
    ):
        with pytest.raises(LeaseLost):
            write()
    assert checkpoints.load("t1") == {}
    assert sessions.read("ann", "default", limit=10) == []
    settle.settle(new, settle.Outcome(status=Status.COMPLETE, response="new"), message="hello")
    assert settle.result_of(store.get("t1")) == {"response": "new", "tokens": 0, "session_id": "default"}


def test_a_result_that_was_cancelled_while_it_was_recorded_is_there_again_when_that_is_tried_again() -> None:
    store.submit(new_task(), "hello")
    task = claimed()
    done = checkpoints.Step("model", 1, "f", {"text": "paid"})
    for step in (
        checkpoints.Step("early", 1, "f", {"cancelled": 1.0}, failed=True),
        done,
        checkpoints.Step("model", 1, "f", {"cancelled": 1.0}, failed=True),
        checkpoints.Step("late", 1, "f", "late"),
    ):
        checkpoints.record(task, step, [events.Event("step", 6.0)])
    assert [(key[0], step.failed) for key, step in checkpoints.load("t1").items()] == [
        ("early", True), ("model", True), ("late", False)
    ]  # fmt: skip
    again = {checkpoints.AGAIN: [["early", 1], ["model", 1]]}
    leases.requeue(task, leases.Requeue(delay_s=0, reason="retry", attempt=1), [events.Event("retry", 7.0, again)])
    found = checkpoints.load("t1")
    assert [(key[0], step.failed, step.loose) for key, step in found.items()] == [
        ("model", False, True), ("late", False, True)
    ]  # fmt: skip
    assert found["model", 1].value == done.value
    assert [row["sk"]["S"] for row in checkpoints.rows("t1")] == ["CKPT#model#0001", "CKPT#late#0001"]


def test_recorded_step_resets_attempt_adds_cost_and_moves_the_log() -> None:
    store.submit(new_task(), "hello")
    task = claimed()
    leases.requeue(
        task,
        leases.Requeue(delay_s=0, reason="retry", attempt=1, last_error={"code": "e"}),
        [events.Event("retry", 5.0)],
    )
    task = claimed(gen=1)
    assert (task.attempt, task.last_error, task.last_seq) == (1, {"code": "e"}, 2)
    checkpoints.record(
        task, checkpoints.Step("model", 1, "f", {"text": "x" * 500_000}),
        [events.Event("step", 6.0), events.Event("token", 6.0)],
        use=Usage(10, 5, 42), model_used="m2",
    )  # fmt: skip
    row = events.read("t1", 0).task
    assert (row.attempt, row.last_seq, row.usage, row.calls, row.model_used) == (0, 4, Usage(10, 5, 42), 1, "m2")
    assert checkpoints.load("t1")["model", 1].value == {"text": "x" * 500_000}
    page = events.read("t1", 0)
    assert [(e.seq, e.type) for e in page.events] == [(1, "queued"), (2, "retry"), (3, "step"), (4, "token")]
    assert [e.seq for e in events.read("t1", 2).events] == [3, 4]


def test_a_write_between_events_and_row_is_not_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    store.submit(new_task(), "hello")
    task = claimed()
    checkpoints.append_events(task, [events.Event("started", 5.0)])
    query, torn = table.query, iter([True, False])

    def read_before_the_end(**asked: Any) -> list[Any]:
        before = list(query(**asked))
        if next(torn):
            settle.settle(task, settle.Outcome(status=Status.COMPLETE, response="x"), message="hello")
            return [*before[:-1], list(query(**asked))[-1]]  # the events of before, the row of after
        return list(query(**asked))

    monkeypatch.setattr(table, "query", read_before_the_end)
    page = events.read("t1", 2)
    assert [e.type for e in page.events] == ["complete"]
    assert page.last_seq == 3


def test_events_that_expired_before_their_row_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    store.submit(new_task(), "hello")
    task = claimed()
    checkpoints.append_events(task, [events.Event("started", 5.0)])
    leases.heartbeat("t1", task.lease_no, task)  # with which the row learns of it
    query, asked = table.query, list[int]()

    def only_the_row(**kwargs: Any) -> list[Any]:
        asked.append(1)
        return list(query(**kwargs))[-1:]

    monkeypatch.setattr(table, "query", only_the_row)
    page = events.read("t1", 1)
    assert (page.events, page.last_seq, len(asked)) == ([], 2, events.READS)


def test_incompressible_step_goes_to_s3() -> None:
    import secrets

    store.submit(new_task(), "hello")
    task = claimed()
    value = secrets.token_hex(500_000)
    checkpoints.record(task, checkpoints.Step("big", 1, "f", value), [])
    assert checkpoints.load("t1")["big", 1].value == value


def test_settle_writes_everything_once() -> None:
    store.submit(new_task(), "hello")
    task = claimed()
    checkpoints.record(task, checkpoints.Step("model", 1, "f", 1), [], use=Usage(10, 5, 42))
    settle.settle(task, settle.Outcome(status=Status.COMPLETE, response="r" * 100_000), message="hello")
    with pytest.raises(LeaseLost):
        settle.settle(task, settle.Outcome(status=Status.FAILED, error={"code": "x"}))
    row = store.get("t1")
    assert row.status is Status.COMPLETE
    assert settle.result_of(row) == {"response": "r" * 100_000, "tokens": 15, "session_id": "default"}
    assert spend.load("ann", row.day) == (15, 42)
    assert [turn.assistant for turn in sessions.read("ann", "default", limit=5)] == ["r" * sessions.TURN_CHARACTERS]
    assert [e.type for e in events.read("t1", 0).events] == ["queued", "step", "complete"]
    assert all(not listing.due(str(n), before=time.time() + 1e6, limit=10) for n in range(4))
    refused = claims.claim("t1", 9)
    assert isinstance(refused, claims.Refused)
    assert refused.why is claims.Refusal.TERMINAL


def data_of(size: int) -> dict[str, str]:
    """Return data whose JSON has so many bytes."""
    text = "ö" * ((size - len('{"x":""}')) // 2)
    return {"x": text + "y" * (size - len(dumps({"x": text}).encode()))}


@pytest.mark.parametrize("size", [10, settle.RESPONSE_INLINE_BYTES, settle.DATA_BYTES])
def test_data_of_any_size_comes_back_whole(size: int) -> None:
    store.submit(new_task(), "hello")
    data = data_of(size)
    settle.settle(claimed(), settle.Outcome(status=Status.COMPLETE, response="r", data=data))
    row = store.get("t1")
    assert row.result is not None
    assert settle.result_of(row) == {"response": "r", "tokens": 0, "session_id": "default", "data": data}


def test_data_over_the_bound_is_refused_and_nothing_written() -> None:
    store.submit(new_task(), "hello")
    task = claimed()
    with pytest.raises(TooLarge, match=str(settle.DATA_BYTES)):
        settle.settle(task, settle.Outcome(status=Status.COMPLETE, response="r", data=data_of(settle.DATA_BYTES + 1)))
    assert store.get("t1").status is Status.PROCESSING
    settle.settle(task, settle.Outcome(status=Status.FAILED, error={"code": "too_large"}))


def test_early_old_and_parked_messages_are_refused() -> None:
    store.submit(new_task(), "hello")
    leases.requeue(claimed(), leases.Requeue(delay_s=100, reason="retry"))
    assert claims.claim("t1", 0) == claims.Refused(claims.Refusal.OLD)
    early = claims.claim("t1", 1)
    assert isinstance(early, claims.Refused)
    assert 95 < early.hide_s <= 100
    store.submit(new_task("t2", parked=True), "hello")
    assert claims.claim("t2", 0) == claims.Refused(claims.Refusal.PARKED)
    assert listing.parked_tasks("ann", limit=5) == ["t2"]
    assert store.unpark(store.get("t2"))
    assert not store.unpark(store.get("t2"))
    assert isinstance(claims.claim("t2", 0), Task)


def test_cancel_queued_running_and_finished() -> None:
    store.submit(new_task(), "hello")
    assert settle.cancel("t1", "ann").status is Status.CANCELLED
    assert settle.cancel("t1", "ann").status is Status.CANCELLED
    with pytest.raises(NotFound):
        settle.cancel("t1", "bob")
    store.submit(new_task("t2"), "hello")
    task = claimed("t2")
    assert settle.cancel("t2", "ann").status is Status.PROCESSING
    assert leases.heartbeat("t2", task.lease_no)[1] is True


def test_idempotency_key_returns_the_first_task_or_refuses_another_body() -> None:
    first = store.Idempotency("k", "body")
    store.submit(new_task(), "hello", idempotency=first)
    assert store.submit(new_task("t2"), "hello", idempotency=first).task_id == "t1"
    with pytest.raises(NotFound):
        store.get("t2")
    with pytest.raises(IdempotencyMismatch):
        store.submit(new_task("t3"), "hello", idempotency=store.Idempotency("k", "other"))
    found = store.find_repeat("ann", first)
    assert found is not None
    assert found.task_id == "t1"
    assert store.find_repeat("bob", first) is None


def test_a_late_worker_does_not_take_a_cancellation_for_its_own_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both write one event after the same one, under the same lease number."""
    store.submit(new_task(), "hello")
    late = claimed()
    monkeypatch.setattr(settle, "now", lambda: time.time() + settings().lease_seconds + 1)
    assert settle.cancel("t1", "ann").status is Status.CANCELLED
    step = checkpoints.Step("model", 1, "f", {"x": 1})
    for write in (
        lambda: checkpoints.record(late, step, [events.Event("step", 1.0)], use=Usage(1, 1, 1)),
        lambda: checkpoints.append_events(late, [events.Event("token", 1.0)]),
        lambda: settle.settle(late, settle.Outcome(status=Status.CANCELLED)),
    ):
        with pytest.raises(LeaseLost):
            write()
    assert checkpoints.load("t1") == {}
    assert store.get("t1").calls == 0


def test_a_task_that_was_cancelled_is_lost_to_its_late_worker_and_one_to_be_cancelled_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store.submit(new_task(), "hello")
    late = claimed()
    settle.cancel("t1", "ann")
    with pytest.raises(leases.CancelRequested):
        leases.requeue(late, leases.Requeue(delay_s=5, reason="r"))
    monkeypatch.setattr(settle, "now", lambda: time.time() + settings().lease_seconds + 1)
    assert settle.cancel("t1", "ann").status is Status.CANCELLED
    with pytest.raises(LeaseLost):
        leases.requeue(late, leases.Requeue(delay_s=5, reason="r"))


def test_a_lost_answer_of_an_end_is_recognised() -> None:
    import copy

    store.submit(new_task(), "hello")
    task = claimed()
    outcome = settle.Outcome(status=Status.COMPLETE, response="r")
    settle.settle(copy.copy(task), outcome, message="hello")
    settle.settle(task, outcome, message="hello")
    assert task.status is Status.COMPLETE
    assert [e.type for e in events.read("t1", 0).events] == ["queued", "complete"]
    assert len(sessions.read("ann", "default", limit=5)) == 1
