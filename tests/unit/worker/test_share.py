"""Slots of a lane shared among owners by a worker: free ones in reach, owed ones given back, none in a paused lane."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from functions.worker.environment.environment import Environment, environment
from functions.worker.lane.deliveries import Delivery
from functions.worker.lane.refill import CROWDED_LINGER_SECONDS, Refill
from functions.worker.lane.share import Share
from functions.worker.lane.slots import Slots
from shared import aws, valkey
from shared.clock import day
from shared.errors import DependencyDown
from shared.limits import names
from shared.limits.admission import Ask, Gate
from shared.limits.lane import GRACE_S, HAND_S, Lanes, Look
from shared.limits.tiers import resolve
from shared.settings import settings
from shared.tasks import lanes, spend, store, table
from shared.tasks.items import row_key
from shared.tasks.model import Status, Task
from sluice import AgentResult

from .conftest import Install, World, meanwhile, until

LONG = "[[sim key=long latency=60 ttft=0.05 words=60]] long"
"""Goes on until it is hurried."""
QUICK = "[[sim key=q latency=0.05 words=1]] quick"


@pytest.fixture
def sharing(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("REFILL_SECONDS", "0.1")
    settings.cache_clear()
    return world


def submit(world: World, message: str, *, user: str, **more: Any) -> Task:
    """Submit as the API does: admitted, written, sent."""
    task = world.submit(message, user=user, **more)
    timeout_s = task.params.get("timeout_s")
    ends = task.created + timeout_s if timeout_s else 0.0
    ask = Ask(user, task.task_id, task.day, 1, 1, resolve("load"), task.lane, ends)
    assert Gate(spend.load).admit(ask).admitted
    return task


def beside_a_long_run(world: World, records: list[dict[str, Any]], act: Callable[[], object]) -> None:
    """Run an invocation whose long run ends when something was done beside it."""

    def come() -> None:
        until(lambda: world.calls("long")["started"])
        act()
        world.hurry("long")

    with meanwhile(come):
        world.invoke(records)


def has_ended(task: Task) -> bool:
    return store.get(task.task_id).status.terminal


def test_free_slots_are_in_reach_for_as_long_as_a_run_lasts(sharing: World) -> None:
    long = submit(sharing, LONG, user="demo")
    first = sharing.receive()
    came: list[Task] = []

    def come() -> None:
        for user in ("other", "demo"):  # its owner's own, too
            time.sleep(1)
            came.append(submit(sharing, QUICK, user=user))
            until(lambda: has_ended(came[-1]))

    beside_a_long_run(sharing, first, come)
    ended = store.get(long.task_id).ended_at
    assert ended is not None
    for task in came:
        row = store.get(task.task_id)
        assert row.status is Status.COMPLETE
        assert row.ended_at is not None
        assert row.ended_at < ended


def test_a_message_far_behind_in_the_queue_is_no_obstacle(sharing: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service holds both slots, and hundreds of its messages stand before the one of another."""
    monkeypatch.setenv("RUNS_PER_ENVIRONMENT", "2")
    monkeypatch.setenv("BATCH_SIZE", "2")
    settings.cache_clear()
    ids = [submit(sharing, "[[sim latency=1 words=1]] x", user=f"svc/{n}").task_id for n in range(12)]
    other = submit(sharing, QUICK, user="other")
    sharing.invoke(sharing.receive(size=2))
    ended = store.get(other.task_id).ended_at
    assert ended is not None
    later = [task_id for task_id in ids if not (at := store.get(task_id).ended_at) or at > ended]
    assert len(later) >= 8, "it did not wait for all that stood before it"
    sharing.work_until_quiet(seconds=60)
    assert {store.get(task_id).status for task_id in ids} == {Status.COMPLETE}
    assert sharing.calls("q")["started"] == 1
    assert lanes.backlog(sharing.queues["normal"])["visible"] == 0


@pytest.mark.parametrize(
    ("room", "during"),
    [(None, False), (3, False), (None, True)],
    ids=["slots alone", "a full lane", "it comes free during a look"],
)
def test_a_message_that_was_received_for_a_slot_leaves_it_to_whom_it_is_owed(
    sharing: World, monkeypatch: pytest.MonkeyPatch, room: int | None, during: bool
) -> None:
    """While a run's end is being written, the next message of a service that has all slots is received already."""
    monkeypatch.setenv("RUNS_PER_ENVIRONMENT", "3")
    monkeypatch.setenv("BATCH_SIZE", "3")
    monkeypatch.setenv("REFILL_SECONDS", "60")
    settings.cache_clear()
    received, may_end, armed = threading.Event(), threading.Event(), threading.Event()
    receive, end, look = lanes.receive, Environment.end, Lanes.look

    def notes(*args: Any, **kwargs: Any) -> list[lanes.Received]:
        found = receive(*args, **kwargs)
        received.set()
        return found

    async def waits(self: Environment, what: Any) -> None:
        assert await asyncio.to_thread(may_end.wait, 60)
        await end(self, what)

    def looks(self: Lanes, *args: Any, **kwargs: Any) -> Look:
        found = look(self, *args, **kwargs)
        if armed.is_set() and not may_end.is_set():
            may_end.set()
            until(lambda: has_ended(service[0]))
            time.sleep(0.2)  # for the event loop to hear of it
        return found

    service = [submit(sharing, f"[[sim key=s{n} latency=60 ttft=0.05 words=60]] x", user=f"svc/{n}") for n in range(6)]
    first = sharing.receive(size=3)
    monkeypatch.setattr(lanes, "receive", notes)
    monkeypatch.setattr(Environment, "end", waits)
    monkeypatch.setattr(Lanes, "look", looks)

    def come() -> None:
        until(lambda: all(sharing.calls(f"s{n}")["started"] for n in range(3)))
        sharing.hurry("s0")
        until(received.is_set)
        other = submit(sharing, QUICK, user="other")
        time.sleep(2 * GRACE_S)
        if room is not None:  # the run that ends is counted until everything that follows its end is done
            Lanes().limit({"normal": room})
        (armed if during else may_end).set()
        until(lambda: has_ended(other))
        for n in range(1, 6):
            sharing.hurry(f"s{n}")

    with meanwhile(come):
        sharing.invoke(first)
    sharing.work_until_quiet(seconds=60)
    assert {store.get(one.task_id).status for one in service} == {Status.COMPLETE}
    assert sharing.calls("q")["started"] == 1


def test_nothing_is_received_for_a_slot_that_somebody_is_owed(sharing: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would go back, and be counted as received: a dead letter after some times."""
    monkeypatch.setenv("RUNS_PER_ENVIRONMENT", "3")
    monkeypatch.setenv("BATCH_SIZE", "3")
    monkeypatch.setenv("REFILL_SECONDS", "60")
    settings.cache_clear()
    received: list[str] = []
    owed = threading.Event()
    receive, end, look = lanes.receive, Environment.end, Lanes.look

    def notes(*args: Any, **kwargs: Any) -> list[lanes.Received]:
        found = receive(*args, **kwargs)
        received.extend(lanes.parse(one.body).task_id for one in found)
        return found

    def looks(self: Lanes, *args: Any, **kwargs: Any) -> Look:
        found = look(self, *args, **kwargs)
        if found.owing:
            owed.set()
        return found

    async def takes_long(self: Environment, what: Any) -> None:
        await asyncio.sleep(5 * CROWDED_LINGER_SECONDS)
        await end(self, what)

    for n in range(4):
        submit(sharing, f"[[sim key=s{n} latency=60 ttft=0.05 words=60]] x", user=f"svc/{n}")
    first = sharing.receive(size=3)
    monkeypatch.setattr(lanes, "receive", notes)
    monkeypatch.setattr(Environment, "end", takes_long)
    monkeypatch.setattr(Lanes, "look", looks)
    before: list[str] = []

    def come() -> None:
        until(lambda: all(sharing.calls(f"s{n}")["started"] for n in range(3)))
        other = submit(sharing, "[[sim key=o latency=60 ttft=0.05 words=60]] y", user="other")
        until(owed.is_set)
        sharing.hurry("s0")
        until(lambda: sharing.calls("o")["started"])
        before.extend(received)
        for key in ("o", "s1", "s2", "s3"):
            sharing.hurry(key)
        until(lambda: has_ended(other))

    with meanwhile(come):
        sharing.invoke(first)
    assert before == []
    sharing.work_until_quiet(seconds=60)
    assert len(received) >= 1


def test_runs_that_fill_every_slot_give_one_back_at_their_next_step(
    sharing: World, monkeypatch: pytest.MonkeyPatch, install: Install
) -> None:
    monkeypatch.setenv("RUNS_PER_ENVIRONMENT", "2")
    monkeypatch.setenv("BATCH_SIZE", "2")
    settings.cache_clear()
    done: Counter[tuple[str, int]] = Counter()
    began: dict[str, float] = {}

    async def run(ctx: Any) -> AgentResult:
        began.setdefault(ctx.user, time.time())
        more = 4 if ctx.user.startswith("svc") else 1  # steps, once the other one had its turn
        for n in range(60):

            async def work(n: int = n) -> bool:
                done[ctx.task_id, n] += 1
                await asyncio.sleep(0.6)
                return "other" in began

            more -= await ctx.step(f"step{n}", work)
            if not more:
                break
        return AgentResult("done")

    install(run)
    service = [submit(sharing, "x", user=f"svc/{n}") for n in range(2)]
    first = sharing.receive(size=2)

    def come() -> None:
        until(lambda: len(done) >= 2)
        submit(sharing, "y", user="other")

    with meanwhile(come):
        sharing.invoke(first)
    sharing.work_until_quiet(seconds=60)
    rows = [store.get(task.task_id) for task in service]
    assert {row.status for row in rows} == {Status.COMPLETE}
    assert set(done.values()) == {1}, "nothing is done twice"
    assert sum(row.continuations for row in rows) == 1, "one gave way, once"
    assert {(row.attempt, row.crashes, row.deferrals) for row in rows} == {(0, 0, 0)}
    assert all(row.ended_at is not None and began["other"] < row.ended_at for row in rows)


def test_a_run_that_slept_is_owed_a_slot_when_its_time_is_over(
    sharing: World, monkeypatch: pytest.MonkeyPatch, install: Install
) -> None:
    """Its timer's message stands in a lane that is full, and that nobody asks."""
    monkeypatch.setenv("RUNS_PER_ENVIRONMENT", "2")
    monkeypatch.setenv("BATCH_SIZE", "2")
    settings.cache_clear()

    async def run(ctx: Any) -> AgentResult:
        if ctx.user == "other":
            await ctx.sleep(4)
            return AgentResult("slept")
        for n in range(60):

            async def work() -> bool:
                await asyncio.sleep(0.6)
                return await asyncio.to_thread(has_ended, other)

            if await ctx.step(f"step{n}", work):
                break
        return AgentResult("done")

    install(run)
    other = submit(sharing, "y", user="other")
    sharing.invoke(sharing.receive(size=1))
    assert store.get(other.task_id).status is Status.WAITING
    service = [submit(sharing, "x", user=f"svc/{n}") for n in range(2)]
    sharing.invoke(sharing.receive(size=2))
    sharing.work_until_quiet(seconds=60)
    slept = store.get(other.task_id)
    rows = [store.get(task.task_id) for task in service]
    assert {row.status for row in (slept, *rows)} == {Status.COMPLETE}
    assert slept.ended_at is not None
    assert all(row.ended_at is not None and slept.ended_at < row.ended_at for row in rows)
    assert sum(row.continuations for row in rows) == 1, "one gave way, once"


def test_a_task_that_is_admitted_and_not_written_yet_is_not_forgotten(sharing: World) -> None:
    """A submit may take longer than a free slot does to find it."""
    at = time.time()
    task = Task(
        task_id="task_late", user="other", lane="normal", agent="chat", tier="load", model="gpt-4o-mini",
        created=at, day=day(at), reserved_tokens=1, reserved_micro_usd=1,
    )  # fmt: skip
    for n in range(3):
        assert Gate(spend.load).take_slot("svc/a", f"s{n}", 0, 60, lane="normal", starts=True)
    assert Gate(spend.load).admit(Ask("other", task.task_id, task.day, 1, 1, resolve("load"), "normal", 0.0)).admitted
    ahead = 1.0
    share = Share("normal", sharing.queues["normal"], Lanes(now_us=lambda: round((time.time() + ahead) * 1_000_000)))

    async def look() -> list[str]:
        share.next = 0.0
        taken = await share.refresh(1, takes=True, held=0, report=lambda _: None)
        return [one.message.task_id for one in taken]

    assert sharing.runner.run(look()) == []
    store.submit(task, QUICK)
    assert sharing.runner.run(look()) == [], "it is handed out still"
    ahead += HAND_S + 1
    assert sharing.runner.run(look()) == [task.task_id]


def test_a_paused_lane_starts_nothing_more(sharing: World) -> None:
    submit(sharing, LONG, user="demo")
    first = sharing.receive()
    came: list[Task] = []

    def come() -> None:
        Lanes().pause({"normal": 60})
        time.sleep(1)
        came.append(submit(sharing, QUICK, user="other"))
        time.sleep(2)  # for whoever would start it all the same

    beside_a_long_run(sharing, first, come)
    assert store.get(came[0].task_id).lease_no == 0
    Lanes().pause({})
    sharing.work_until_quiet(seconds=30)
    assert store.get(came[0].task_id).status is Status.COMPLETE


def test_what_the_poller_had_taken_of_a_paused_lane_goes_back_as_new(world: World) -> None:
    task = submit(world, QUICK, user="demo")
    Lanes().pause({"normal": 60})
    for _ in range(3):
        records = world.receive()
        assert [world.invoke(records)] == [[]]
        time.sleep(2.1)
    got: Any = aws.sqs().receive_message(
        QueueUrl=world.queues["normal"], MessageSystemAttributeNames=["ApproximateReceiveCount"], VisibilityTimeout=0
    )
    assert [one["Attributes"]["ApproximateReceiveCount"] for one in got["Messages"]] == ["1"]
    assert store.get(task.task_id).lease_no == 0
    Lanes().pause({})
    world.work_until_quiet(seconds=30)
    assert store.get(task.task_id).status is Status.COMPLETE


def lost_for(monkeypatch: pytest.MonkeyPatch, *task_ids: str) -> None:
    """Let SQS refuse the messages of these tasks."""
    send = lanes.send

    def refusing(lane: str, task_id: str, gen: int, **more: Any) -> None:
        if task_id in task_ids:
            raise DependencyDown("sqs")
        send(lane, task_id, gen, **more)

    monkeypatch.setattr(lanes, "send", refusing)


def test_what_could_not_be_sent_anew_is_left_to_come_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The poller deletes what the answer does not name: of a paused lane, only what a newer message carries."""
    sent, lost = (submit(world, QUICK, user=user) for user in ("demo", "other"))
    aws.sqs().send_message(QueueUrl=world.queues["normal"], MessageBody="?", MessageGroupId="g")
    Lanes().pause({"normal": 60})
    records: list[dict[str, Any]] = []
    while len(records) < 3:
        records += world.receive()
    with monkeypatch.context() as patch:
        lost_for(patch, lost.task_id)
        kept = world.invoke(records)
    bodies = {record["messageId"]: record["body"] for record in records}
    assert len(kept) == 2
    assert {"?"} < {bodies[message_id] for message_id in kept}, "what cannot be read is the dead-letter queue's"
    assert [lanes.parse(body).task_id for body in map(bodies.__getitem__, kept) if body != "?"] == [lost.task_id]
    assert {store.get(task.task_id).lease_no for task in (sent, lost)} == {0}
    for record in records:  # its time hidden is over: it is there again
        if record["messageId"] in kept:
            lanes.hide(world.queues["normal"], [(record["receiptHandle"], 0)])
    Lanes().pause({})
    world.work_until_quiet(seconds=30)
    assert {store.get(task.task_id).status for task in (sent, lost)} == {Status.COMPLETE}


def test_what_a_slot_had_received_when_the_lane_was_paused_is_lost_neither(
    sharing: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same for what an environment received by itself: deleted is what a newer message carries, nothing else."""
    sent, lost = (submit(sharing, QUICK, user=user) for user in ("demo", "other"))
    url = sharing.queues["normal"]
    deliveries: list[Delivery] = []
    while len(deliveries) < 2:
        for one in lanes.receive(url, 2, hidden_s=60):
            deliveries.append(Delivery(lanes.parse(one.body), "normal", url, one.receipt))

    async def main() -> None:
        refill = Refill(deliveries, time.time() + 900, environment(), environment().begin("normal", url))
        refill._held = list(deliveries)
        Lanes().pause({"normal": 60})
        refill._share.next = 0.0
        await refill.more(Slots(10))
        assert not refill.holds

    with monkeypatch.context() as patch:
        lost_for(patch, lost.task_id)
        sharing.runner.run(main())
    receipts = {one.message.task_id: one.receipt for one in deliveries}
    assert lanes.backlog(url) == {"visible": 0, "in_flight": 1, "delayed": 1}
    lanes.hide(url, [(receipts[lost.task_id], 0)])
    Lanes().pause({})
    sharing.work_until_quiet(seconds=30)
    assert {store.get(task.task_id).status for task in (sent, lost)} == {Status.COMPLETE}


def test_a_parked_task_ends_when_its_time_is_over(sharing: World) -> None:
    submit(sharing, LONG, user="demo")
    first = sharing.receive()
    parked = submit(sharing, QUICK, user="demo", params={"timeout_s": 1.0}, parked=True)
    beside_a_long_run(sharing, first, lambda: until(lambda: has_ended(parked)))
    row = store.get(parked.task_id)
    assert (row.status, (row.error or {})["code"]) == (Status.FAILED, "timeout")
    assert row.ended_at is not None
    assert row.ended_at < store.get(first_task(first)).ended_at  # type: ignore[operator]


def first_task(records: list[dict[str, Any]]) -> str:
    return lanes.parse(records[0]["body"]).task_id


def test_without_valkey_free_slots_are_in_reach_by_asking_the_queue(
    sharing: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from shared import valkey

    sharing.submit(LONG)
    first = sharing.receive()

    def away(*_: object, **__: object) -> Any:
        raise valkey.Away("no server")

    monkeypatch.setattr(Lanes, "look", away)
    monkeypatch.setattr(Lanes, "is_paused", away)
    came: list[Task] = []

    def come() -> None:
        time.sleep(1)
        came.append(sharing.submit(QUICK))
        until(lambda: has_ended(came[0]))

    beside_a_long_run(sharing, first, come)
    ended, quick = store.get(first_task(first)).ended_at, store.get(came[0].task_id).ended_at
    assert quick is not None
    assert ended is not None
    assert quick < ended


def test_a_damaged_row_that_is_handed_out_by_name_ends_no_invocation(
    sharing: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = (submit(sharing, QUICK, user="demo") for _ in range(2))
    table.update(table.update_op(row_key(bad.task_id), sets={"params": 1}))
    with pytest.raises((TypeError, ValueError)):
        store.get(bad.task_id)
    assert valkey.client().hget(names.LANES[0], bad.task_id)
    book = Lanes()
    monkeypatch.setattr(book, "look", lambda *_, **__: Look(picks=(bad.task_id, good.task_id)))
    share = Share("normal", sharing.queues["normal"], book)
    found = asyncio.run(share.refresh(2, takes=True, held=0, report=lambda _: None))
    assert [one.message.task_id for one in found] == [good.task_id]
    assert valkey.client().hget(names.LANES[0], bad.task_id) is None
