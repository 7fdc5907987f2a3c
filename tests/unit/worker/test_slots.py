"""Places for runs: never more taken than there are, none lost, and known to come free before they are."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from functions.worker.environment.environment import environment
from functions.worker.lane import refill
from functions.worker.lane.slots import Slot, Slots
from shared.errors import DependencyDown
from shared.settings import settings
from shared.tasks import aftermath, claims, lanes, settle, store
from shared.tasks.leases import Fenced
from shared.tasks.model import Status, Task

from .conftest import World

QUICK = "[[sim key=q latency=0.05 words=1]] quick"


def inside[T](main: Callable[[], Awaitable[T]]) -> T:
    async def whole() -> T:
        return await main()

    return asyncio.run(whole())


def test_a_place_is_taken_soon_free_and_free() -> None:
    async def main() -> None:
        slots, steps = Slots(2), [asyncio.Event() for _ in range(3)]
        seen: list[tuple[int, int]] = []

        async def run(slot: Slot) -> None:
            await steps[0].wait()
            slot.ending()
            slot.ending()
            await steps[1].wait()
            slot.leave()
            slot.leave()
            slot.ending()  # too late to matter
            await steps[2].wait()

        slots.start(run)
        for step in steps:
            seen.append((slots.free, slots.soon_free))
            step.set()
            await slots.wait(60)
        assert seen == [(1, 1), (1, 2), (2, 2)]
        assert (slots.free, slots.soon_free, slots.empty) == (2, 2, True)

    inside(main)


def test_a_run_that_returns_or_fails_leaves_its_place() -> None:
    async def main() -> None:
        slots = Slots(2)

        async def fail(slot: Slot) -> None:
            slot.ending()
            raise asyncio.CancelledError

        async def done(_: Slot) -> None:
            return

        slots.start(fail)
        slots.start(done)
        assert (slots.free, slots.empty) == (0, False)
        while not slots.empty:
            await slots.wait(60)
        assert (slots.free, slots.soon_free) == (2, 2)

    inside(main)


def test_what_follows_ends_is_bounded_as_runs_are() -> None:
    async def main() -> None:
        slots, go = Slots(3), asyncio.Event()

        async def run(slot: Slot) -> None:
            slot.leave()
            await go.wait()

        for free in (3, 3, 3, 3, 2, 1):
            assert slots.free == free
            slots.start(run)
            await asyncio.sleep(0)
        assert slots.free == 0
        go.set()
        while not slots.empty:
            await slots.wait(60)
        assert slots.free == 3

    inside(main)


def test_no_more_are_promised_than_come_free() -> None:
    async def main() -> None:
        slots, ended, go = Slots(1), asyncio.Event(), asyncio.Event()

        async def seen_off(slot: Slot) -> None:
            slot.leave()
            await go.wait()

        async def ending(slot: Slot) -> None:
            slot.ending()
            await ended.wait()
            slot.leave()
            await go.wait()

        for run in (seen_off, ending):
            slots.start(run)
            await asyncio.sleep(0)
        assert slots.soon_free == 0
        ended.set()
        await asyncio.sleep(0)
        assert slots.free == 0
        go.set()

    inside(main)


def test_waiting_ends_without_news() -> None:
    async def main() -> None:
        await Slots(1).wait(0.01)

    inside(main)


@pytest.fixture
def refilling(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    for name, value in {
        "REFILL_SECONDS": "20",
        "LEASE_SECONDS": "20",
        "RUNS_PER_ENVIRONMENT": "3",
        "BATCH_SIZE": "3",
    }.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    return world


def one_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNS_PER_ENVIRONMENT", "1")
    monkeypatch.setenv("BATCH_SIZE", "1")
    settings.cache_clear()


def test_no_task_is_claimed_before_an_end_is_written(refilling: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages are received meanwhile; claimed tasks whose end is not written are never more than the places."""
    lock, held, most, waited = threading.Lock(), set[str](), [0], []
    real_take, real_ready, real_receive = claims._take, settle.ready, lanes.receive
    writing = threading.Event()

    def take(task_id: str, *args: Any, **kwargs: Any) -> Task:
        task = real_take(task_id, *args, **kwargs)
        with lock:
            held.add(task_id)
            most[0] = max(most[0], len(held))
        return task

    def slow(task: Task, *args: Any, **kwargs: Any) -> Fenced:
        writing.set()
        threading.Event().wait(0.2)
        with lock:
            held.discard(task.task_id)
        writing.clear()
        return real_ready(task, *args, **kwargs)

    def receive(*args: Any, **kwargs: Any) -> list[lanes.Received]:
        waited.append(writing.is_set())
        return real_receive(*args, **kwargs)

    ids = [refilling.submit(QUICK).task_id for _ in range(12)]
    records = refilling.receive(size=3)
    monkeypatch.setattr(claims, "_take", take)
    monkeypatch.setattr(settle, "ready", slow)
    monkeypatch.setattr(lanes, "receive", receive)
    refilling.invoke(records)
    assert {store.get(task_id).status for task_id in ids} == {Status.COMPLETE}
    assert most[0] == 3
    assert any(waited), "no message was received while an end was written"
    assert refilling.calls("q")["started"] == 12


def test_a_run_starts_while_the_one_before_is_still_seen_off(refilling: World, monkeypatch: pytest.MonkeyPatch) -> None:
    real, started, gone = aftermath.finished, threading.Event(), []

    def slow(gate: Any, task: Task, **kwargs: Any) -> bool:
        if not gone:
            gone.append(task.task_id)
            assert started.wait(60), "the next run did not start meanwhile"
        return real(gate, task, **kwargs)

    real_take = claims._take

    def take(*args: Any, **kwargs: Any) -> Task:
        if gone:
            started.set()
        return real_take(*args, **kwargs)

    one_slot(monkeypatch)
    ids = [refilling.submit(QUICK).task_id for _ in range(2)]
    records = refilling.receive(size=1)
    monkeypatch.setattr(aftermath, "finished", slow)
    monkeypatch.setattr(claims, "_take", take)
    refilling.invoke(records)
    assert {store.get(task_id).status for task_id in ids} == {Status.COMPLETE}


def test_a_batch_that_could_not_be_claimed_together_is_claimed_one_by_one(
    refilling: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from functions.worker.lane import batch

    async def broken(_: Any) -> Any:
        raise RuntimeError("a surprise")

    monkeypatch.setattr(batch, "claim_together", broken)
    ids = [refilling.submit(QUICK).task_id for _ in range(3)]
    assert refilling.work() == []
    assert {store.get(task_id).status for task_id in ids} == {Status.COMPLETE}


def test_messages_received_for_ends_that_cannot_be_written_are_not_lost(
    refilling: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from functions.worker.record import persist

    real, away = settle.settle, [8]

    def flaky(*args: Any, **kwargs: Any) -> None:
        if away[0]:
            away[0] -= 1
            raise DependencyDown("dynamodb")
        real(*args, **kwargs)

    monkeypatch.setattr(persist, "PATIENCE_SECONDS", 20.0)
    monkeypatch.setattr(settle, "settle", flaky)
    ids = [refilling.submit(QUICK).task_id for _ in range(9)]
    refilling.invoke(refilling.receive(size=3))
    assert {store.get(task_id).status for task_id in ids} == {Status.COMPLETE}
    assert refilling.calls("q")["started"] == 9


def test_messages_held_for_an_end_that_is_not_written_go_back(
    refilling: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another environment, which has room, is given the message meanwhile."""
    one_slot(monkeypatch)
    monkeypatch.setattr(refill, "HOLD_SECONDS", 0.2)
    real, hide, gone, elsewhere = settle.settle, lanes.hide, threading.Event(), []

    def given_back(url: str, receipts: list[tuple[str, float]]) -> list[int]:
        refused = hide(url, receipts)
        if any(seconds == 0 for _, seconds in receipts):
            elsewhere.extend(refilling.receive())
            gone.set()
        return refused

    def slow(*args: Any, **kwargs: Any) -> None:
        assert gone.wait(60), "nothing was given back"
        real(*args, **kwargs)

    ids = [refilling.submit(QUICK).task_id for _ in range(2)]
    records = refilling.receive(size=1)
    monkeypatch.setattr(settle, "settle", slow)
    monkeypatch.setattr(lanes, "hide", given_back)
    refilling.invoke(records)
    assert len(elsewhere) == 1
    refilling.invoke(elsewhere)
    assert {store.get(task_id).status for task_id in ids} == {Status.COMPLETE}
    assert refilling.calls("q")["started"] == 2


def test_messages_held_when_the_provider_has_no_room_go_back(refilling: World, monkeypatch: pytest.MonkeyPatch) -> None:
    one_slot(monkeypatch)
    real, real_receive, taken = settle.settle, lanes.receive, threading.Event()

    def receive(*args: Any, **kwargs: Any) -> list[lanes.Received]:
        found = real_receive(*args, **kwargs)
        taken.set()
        return found

    def slow(*args: Any, **kwargs: Any) -> None:
        assert taken.wait(60)
        environment().hold(2)  # a neighbour was just refused
        real(*args, **kwargs)

    ids = [refilling.submit(QUICK).task_id for _ in range(2)]
    records = refilling.receive(size=1)
    monkeypatch.setattr(settle, "settle", slow)
    monkeypatch.setattr(lanes, "receive", receive)
    refilling.invoke(records)
    rows = [store.get(task_id) for task_id in ids]
    assert sorted(row.status for row in rows) == [Status.COMPLETE, Status.QUEUED]
    assert {row.lease_no for row in rows if row.status is Status.QUEUED} == {0}
    assert len(refilling.receive()) == 1


def test_what_follows_ends_takes_no_thread_from_runs(refilling: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many ends as there are slots are slow to be seen off; the next runs are claimed, recorded and settled."""
    real, held, go = aftermath.finished, [0], threading.Event()
    lock = threading.Lock()

    def slow(gate: Any, task: Task, **kwargs: Any) -> bool:
        with lock:
            held[0] += 1
        if held[0] > 3:  # one of the second three: they got as far
            go.set()
        assert go.wait(60), "runs wait for a thread"
        return real(gate, task, **kwargs)

    ids = [refilling.submit(QUICK).task_id for _ in range(6)]
    records = refilling.receive(size=3)
    monkeypatch.setattr(aftermath, "finished", slow)
    refilling.invoke(records)
    assert {store.get(task_id).status for task_id in ids} == {Status.COMPLETE}


def test_every_slot_has_threads_for_a_run_and_for_one_that_ended(refilling: World) -> None:
    most = 2 * settings().runs_per_environment
    all_there = threading.Barrier(most)

    async def main() -> None:
        environment()
        await asyncio.gather(*(asyncio.to_thread(all_there.wait, 20) for _ in range(most)))

    refilling.runner.run(main())
