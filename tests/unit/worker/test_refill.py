"""Slots that come free take more of their own lane: bounded in number and time, losing nothing."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from functions.worker.environment.environment import environment
from functions.worker.lane import batch, refill
from functions.worker.lane.refill import Refill
from shared import aws
from shared.limits.lane import Draining, Lanes, Look
from shared.settings import settings
from shared.tasks import lanes, store
from shared.tasks.model import Status
from sluice import AgentResult

from .conftest import Install, World, meanwhile, until

LONG = "[[sim key=long latency=60 ttft=0.05 words=60]] long"
"""Goes on until it is hurried."""
SLOW, QUICK = "[[sim latency=1.2 words=1]] slow", "[[sim key=q latency=0.05 words=1]] quick"


@pytest.fixture
def refilling(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("REFILL_SECONDS", "20")
    monkeypatch.setenv("LEASE_SECONDS", "20")  # a busy machine must not look like a dead worker
    settings.cache_clear()
    return world


def last_until(world: World, records: list[dict[str, Any]], condition: Callable[[], object]) -> list[str]:
    """Run an invocation whose long run ends once something is so; returns what the invocation kept."""

    def end() -> None:
        until(condition)
        world.hurry("long")

    with meanwhile(end):
        return world.invoke(records)


def statuses(ids: list[str]) -> set[Status]:
    return {store.get(task_id).status for task_id in ids}


def left(world: World, lane: str = "normal") -> int:
    counts = lanes.backlog(world.queues[lane])
    return counts["visible"] + counts["in_flight"]


def test_free_slots_take_more_while_a_run_lasts(refilling: World) -> None:
    slow = refilling.submit(LONG)
    first = refilling.receive()
    quick = [refilling.submit(QUICK).task_id for _ in range(14)]
    assert last_until(refilling, first, lambda: statuses(quick) == {Status.COMPLETE}) == []
    assert store.get(slow.task_id).status is Status.COMPLETE
    assert statuses(quick) == {Status.COMPLETE}
    assert refilling.calls("q")["started"] == 14
    assert left(refilling) == 0, "what was taken by itself is deleted by itself"


def test_no_more_run_at_once_than_there_are_slots(refilling: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNS_PER_ENVIRONMENT", "3")
    monkeypatch.setenv("BATCH_SIZE", "2")
    settings.cache_clear()
    ids = [refilling.submit(LONG).task_id for _ in range(9)]

    def all_slots_are_used() -> bool:
        if refilling.calls("long")["started"] < 3:
            return False
        time.sleep(0.5)  # for one too many
        return True

    last_until(refilling, refilling.receive(size=2), all_slots_are_used)
    assert statuses(ids) == {Status.COMPLETE}
    spans = [(row.started_at, row.ended_at) for row in map(store.get, ids)]
    most = max(sum(1 for a, b in spans if a and b and a <= at < b) for at, _ in spans if at)
    assert most == 3  # not one more, and each was used


def test_switched_off_it_runs_its_batch_only(world: World) -> None:
    world.submit(SLOW)
    first = world.receive()
    waiting = world.submit(QUICK)
    world.invoke(first)
    assert store.get(waiting.task_id).status is Status.QUEUED


def test_it_ends_with_its_runs_and_after_its_time(refilling: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REFILL_SECONDS", "0.4")
    monkeypatch.setenv("RUNS_PER_ENVIRONMENT", "10")
    settings.cache_clear()
    first = refilling.submit("[[sim latency=0.7 words=1]] x")
    ids = [refilling.submit("[[sim latency=0.3 words=1]] x").task_id for _ in range(24)]
    assert first
    refilling.invoke(refilling.receive())
    done = [task_id for task_id in ids if store.get(task_id).status is Status.COMPLETE]
    assert 0 < len(done) < 24
    refilling.work_until_quiet(seconds=60)
    assert statuses(ids) == {Status.COMPLETE}


def test_too_near_its_end_it_takes_nothing(refilling: World) -> None:
    """A run that it took could only be given back."""
    refilling.submit(SLOW)
    first = refilling.receive()
    waiting = refilling.submit(QUICK)
    refilling.invoke(first, seconds=settings().worker_timeout_seconds / 2)
    assert store.get(waiting.task_id).status is Status.QUEUED


@pytest.mark.parametrize(("share", "said"), [(1.0, {}), (0.25, {"normal": Draining(1, 9)})])
def test_near_its_end_it_says_that_its_slots_are_in_nobodys_reach(
    refilling: World, monkeypatch: pytest.MonkeyPatch, share: float, said: dict[str, Draining]
) -> None:
    monkeypatch.setenv("RUNS_PER_ENVIRONMENT", "10")
    monkeypatch.setattr(refill, "SPREAD_SHARE", 0.0)
    settings.cache_clear()
    refilling.submit(LONG)
    looks = 0
    look = Lanes.look

    def counted(self: Lanes, *args: Any, **kwargs: Any) -> Look:
        nonlocal looks
        looks += 1
        return look(self, *args, **kwargs)

    monkeypatch.setattr(Lanes, "look", counted)
    found: list[dict[str, Draining]] = []

    def has_looked_twice() -> bool:
        found.append(Lanes().draining())
        return looks > 2

    def end() -> None:
        until(has_looked_twice)
        refilling.hurry("long")

    with meanwhile(end):
        refilling.invoke(refilling.receive(), seconds=share * settings().worker_timeout_seconds)
    assert said in found
    assert [one for one in found if one not in ({}, said)] == []
    assert bool(said) is any(found)


def test_other_lanes_are_left_alone(refilling: World) -> None:
    refilling.submit(SLOW)
    first = refilling.receive()
    other = refilling.submit(QUICK, lane="high")
    alone = [refilling.submit(QUICK, lane="quarantine") for _ in range(2)]
    refilling.invoke(first)
    assert store.get(other.task_id).status is Status.QUEUED
    refilling.invoke(refilling.receive("quarantine", size=1))
    assert sorted(store.get(task.task_id).status for task in alone) == [Status.COMPLETE, Status.QUEUED]


def test_what_is_no_message_and_what_was_done_already_harm_nothing(refilling: World) -> None:
    done = refilling.submit(QUICK)
    refilling.work()
    slow = refilling.submit(LONG)
    first = refilling.receive()
    aws.sqs().send_message(QueueUrl=refilling.queues["normal"], MessageBody="?", MessageGroupId="g")
    lanes.send("normal", done.task_id, 0, user="ann")
    lanes.send("normal", slow.task_id, 0, user="ann")
    after = refilling.submit(QUICK)
    # Whichever of the two messages of the slow one is claimed first: the other may be left to come back.
    kept = last_until(refilling, first, lambda: store.get(after.task_id).status is Status.COMPLETE)
    assert set(kept) <= {first[0]["messageId"]}
    assert statuses([slow.task_id, after.task_id]) == {Status.COMPLETE}
    assert refilling.calls("q")["started"] == 2


def test_an_absent_queue_fails_no_run(refilling: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from shared.errors import DependencyDown

    task = refilling.submit(SLOW)
    first = refilling.receive()

    def away(*_: object, **__: object) -> list[lanes.Received]:
        raise DependencyDown("sqs")

    monkeypatch.setattr(lanes, "receive", away)
    assert refilling.invoke(first) == []
    assert store.get(task.task_id).status is Status.COMPLETE


def test_runs_that_the_providers_budget_puts_off_stop_no_others(
    refilling: World, monkeypatch: pytest.MonkeyPatch, install: Install
) -> None:
    """The budget is a model's: its runs are promised places, each once; runs that do not need it are taken."""

    async def run(ctx: Any) -> AgentResult:
        if "model" in ctx.message:
            return AgentResult((await ctx.model([{"role": "user", "content": ctx.message}])).content)
        return AgentResult("needed no model")

    install(run)
    monkeypatch.setenv("RUNS_PER_ENVIRONMENT", "4")
    monkeypatch.setenv("BATCH_SIZE", "4")
    monkeypatch.setenv("PROVIDER_RPM", "2")
    monkeypatch.setenv("MAX_REPLICAS", "6")
    monkeypatch.setenv("PROVIDER_MAX_WAIT_SECONDS", "0")
    settings.cache_clear()
    asking = LONG + " model"
    first = [refilling.submit(asking) for _ in range(4)]
    records = refilling.receive()
    same = [refilling.submit(asking) for _ in range(3)]
    others = [refilling.submit("nothing to ask").task_id for _ in range(3)]

    def all_but_one_have_left() -> bool:
        rows = [store.get(task.task_id) for task in first + same]
        return statuses(others) == {Status.COMPLETE} and sum(row.reason == "provider_budget" for row in rows) == 6

    last_until(refilling, records, all_but_one_have_left)
    rows = [store.get(task.task_id) for task in first + same]
    assert [row.status for row in rows].count(Status.COMPLETE) == 1
    put_off = [row for row in rows if row.status is Status.QUEUED]
    assert len(put_off) == 6
    assert {(row.reason, row.lease_no, row.attempt) for row in put_off} == {("provider_budget", 1, 0)}
    assert len({round(row.next_try_at) for row in put_off}) == 6, "each comes back for a place of its own"
    assert statuses(others) == {Status.COMPLETE}


def test_a_free_slot_waits_a_moment_for_others_and_ten_wait_for_none(
    refilling: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    refilling.submit(SLOW)
    delivery = batch._read(refilling.receive()[0])
    assert delivery is not None
    at = [1000.0]
    monkeypatch.setattr(refill, "now", lambda: at[0])

    async def main() -> None:
        lane = Refill([delivery], at[0] + 900, environment(), environment().begin("normal", refilling.queues["normal"]))
        assert lane._wait_s(0) is None
        assert lane._wait_s(9) == pytest.approx(refill.LINGER_SECONDS)
        at[0] += refill.LINGER_SECONDS / 2
        assert lane._wait_s(9) == pytest.approx(refill.LINGER_SECONDS / 2)
        assert lane._wait_s(lanes.RECEIVE_AT_ONCE) == 0
        at[0] += refill.LINGER_SECONDS
        assert lane._wait_s(1) == 0
        assert lane._wait_s(0) is None  # all taken again: whoever comes free next waits anew
        assert lane._wait_s(1) == pytest.approx(refill.LINGER_SECONDS)
        monkeypatch.setenv("RUNS_PER_ENVIRONMENT", "2")
        monkeypatch.setenv("BATCH_SIZE", "2")
        settings.cache_clear()
        assert lane._wait_s(2) == 0  # no more than these can come free

    refilling.runner.run(main())
