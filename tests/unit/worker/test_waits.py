"""Runs that wait: nothing is held meanwhile, and what they wait for wakes them once, whenever it comes."""

import asyncio
import contextlib
import threading
import time
from functools import cache
from types import SimpleNamespace
from typing import Any

import pytest

from functions.sweeper import sweep as sweeper
from functions.worker.lane.share import Share
from functions.worker.run import waits as run_waits
from shared import aws, clock
from shared.errors import Conflict, IdempotencyMismatch
from shared.limits.admission import Gate
from shared.limits.tiers import resolve
from shared.settings import settings
from shared.tasks import (
    claims,
    events,
    family,
    inbox,
    lanes,
    listing,
    sessions,
    settle,
    spend,
    store,
    table,
    waits,
    waking,
)
from shared.tasks.items import row_key, wait_shard
from shared.tasks.model import Status, Task
from sluice import AgentResult, Context, WaitTimeout
from tests.unit.worker.conftest import Install, World, until

HOUR = 3600.0
DAY = 86_400.0


@cache
def gate() -> Gate:
    """The limits, as another function has them."""
    return Gate(spend.load)


class Counted:
    """A step's work that counts how often it is done."""

    def __init__(self) -> None:
        self.times = 0

    async def __call__(self) -> int:
        self.times += 1
        return self.times


def sleeper(before: Counted, seconds: float) -> Any:
    async def run(ctx: Context) -> AgentResult:
        await ctx.step("before", before)
        await ctx.sleep(seconds)
        return AgentResult("awake")

    return run


def asker(name: str = "go", **how: Any) -> Any:
    async def run(ctx: Context) -> AgentResult:
        return AgentResult("got", {"payload": await ctx.wait(name, **how)})

    return run


class Clock:
    """Sluice's clock, which may be put forward."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def time(self) -> float:
        return time.time() + self.ahead


@pytest.fixture(autouse=True)
def _fresh_gate() -> None:
    gate.cache_clear()


@pytest.fixture
def ahead(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(clock, "time", SimpleNamespace(time=made.time))
    return made


def bring(world: World, task: Task, ahead: Clock | None = None, *, gen: int | None = None) -> Task:
    """Deliver a message for a task, as its timer or a duplicate does; returns its row afterwards."""
    lanes.send(task.lane, task.task_id, store.get(task.task_id).gen if gen is None else gen, user=task.user)
    world.work(seconds=60 + (ahead.ahead if ahead else 0))
    return store.get(task.task_id)


def sweep() -> dict[str, int]:
    return sweeper.sweep(clock.now() + 60)


def in_lane(world: World, lane: str = "normal") -> tuple[int, int]:
    """Return how many messages are visible and delayed."""
    names: Any = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesDelayed"]
    found = aws.sqs().get_queue_attributes(QueueUrl=world.queues[lane], AttributeNames=names)["Attributes"]
    return int(found[names[0]]), int(found[names[1]])


def types(task: Task) -> list[str]:
    return [event.type for event in events.read(task.task_id, 0).events]


def signal(task: Task, name: str = "go", payload: Any = None, **more: Any) -> inbox.Receipt:
    """Send a signal and see to what follows it, as the API does."""
    receipt = inbox.post(task.task_id, name, payload, **more)
    if receipt.woken:
        waking.send(gate(), receipt.task)
    return receipt


def test_a_sleeping_run_holds_nothing_and_goes_on_when_it_is_due(world: World, install: Install, ahead: Clock) -> None:
    before = Counted()
    install(sleeper(before, 600))
    task = world.submit("nap", running_cap=1)
    world.work()
    row = store.get(task.task_id)
    assert row.status is Status.WAITING
    assert in_lane(world) == (0, 1)
    assert gate().take_slot("ann", "another", 1, 60)  # its slot is free
    gate().release_slot("ann", "another")
    shown = store.public(row)
    assert (shown["status"], shown["waiting_for"][0]["kind"], shown["next_try_at"][:4]) == ("waiting", "sleep", "2026")
    assert types(row)[-1] == "waiting"
    assert bring(world, task).status is Status.WAITING  # a message that comes too soon starts nothing
    ahead.ahead = 599.5
    ended = bring(world, task, ahead)
    assert (ended.status, before.times, ended.crashes) == (Status.COMPLETE, 1, 0)
    assert types(ended).count("woken") == 1
    assert (ended.ended_at or 0) >= row.next_try_at


def test_what_is_due_within_moments_is_waited_for_in_place(world: World, install: Install) -> None:
    install(sleeper(Counted(), 0.3))
    task = world.submit("nap")
    world.work()
    assert store.get(task.task_id).status is Status.COMPLETE
    assert "waiting" not in types(task)


def test_a_timer_fires_though_its_message_was_lost(world: World, install: Install, ahead: Clock) -> None:
    install(sleeper(Counted(), 600))
    task = world.submit("nap")
    world.work()
    aws.sqs().purge_queue(QueueUrl=world.queues["normal"])
    assert sweep().get("timer sent", 0) == 0
    ahead.ahead = 600 + waits.REPAIR_SECONDS + 1
    assert sweep()["timer sent"] == 1
    assert sweep().get("timer sent", 0) == 0  # not again at once
    world.work(seconds=60 + ahead.ahead)
    assert store.get(task.task_id).status is Status.COMPLETE


def test_a_long_sleep_has_no_message_until_the_sweeper_brings_it_within_reach(
    world: World, install: Install, ahead: Clock
) -> None:
    install(sleeper(Counted(), 2 * HOUR))
    task = world.submit("nap")
    world.work()
    row = store.get(task.task_id)
    assert in_lane(world) == (0, 0)
    ahead.ahead = 2 * HOUR - waits.REACH_SECONDS - 60
    sweep()
    assert in_lane(world) == (0, 0)
    ahead.ahead = 2 * HOUR - waits.REACH_SECONDS + 1
    assert sweep()["timer sent"] == 1
    assert in_lane(world) == (0, 1)
    assert store.get(task.task_id).gen == row.gen
    ahead.ahead = 2 * HOUR
    assert bring(world, task, ahead).status is Status.COMPLETE


def test_a_year_is_the_longest_sleep_and_its_items_are_kept_that_long(
    world: World, install: Install, ahead: Clock
) -> None:
    before = Counted()
    install(sleeper(before, waits.LONGEST_SECONDS))
    task = world.submit("x" * 3_000)
    world.work()
    row = store.get(task.task_id)
    assert row.status is Status.WAITING
    ahead.ahead = settings().task_ttl_days * DAY / 2 + 60
    assert sweep()["kept for longer"] == 1
    ahead.ahead += DAY
    assert "kept for longer" not in sweep()
    kept = [
        int(item["ttl"]["N"])
        for item in table.query(
            KeyConditionExpression="pk = :pk", ExpressionAttributeValues={":pk": {"S": f"TASK#{task.task_id}"}}
        )
        if "ttl" in item
    ]
    assert len(kept) >= 3
    assert min(kept) >= row.next_try_at + settings().task_ttl_days * DAY - 1
    ahead.ahead = waits.LONGEST_SECONDS - 300
    assert sweep()["timer sent"] == 1
    ahead.ahead = waits.LONGEST_SECONDS
    assert (bring(world, task, ahead).status, before.times) == (Status.COMPLETE, 1)


@pytest.mark.parametrize("how", [{"seconds": "60"}, {"until": "2027-01-01T00:00:00Z"}])
def test_a_time_of_another_kind_is_told_what_it_is_to_be(world: World, install: Install, how: dict[str, Any]) -> None:
    async def run(ctx: Context) -> AgentResult:
        with pytest.raises(TypeError, match="datetime or epoch seconds"):
            await ctx.sleep(**how)
        return AgentResult("told")

    install(run)
    task = world.submit("nap")
    world.work()
    assert store.get(task.task_id).status is Status.COMPLETE


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), waits.LONGEST_SECONDS + 1])
def test_no_such_sleep(world: World, install: Install, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_RETRIES", "0")
    settings.cache_clear()
    install(sleeper(Counted(), seconds))
    task = world.submit("nap")
    world.work()
    assert "ValueError" in (store.get(task.task_id).error or {})["message"]


@pytest.mark.parametrize(("name", "ok"), [(".", False), ("..", False), ("...", True), (".a", True), ("..a", True)])
def test_a_signals_name_can_stand_in_an_address(world: World, install: Install, name: str, ok: bool) -> None:
    async def run(ctx: Context) -> AgentResult:
        try:
            await ctx.wait(name, timeout=3_600)
        except ValueError as error:
            return AgentResult(str(error))
        return AgentResult("waited")

    install(run)
    task = world.submit("wait")
    world.work()
    row = store.get(task.task_id)
    assert row.status is (Status.WAITING if ok else Status.COMPLETE)


def test_a_signal_wakes_its_run_at_once(world: World, install: Install) -> None:
    install(asker())
    task = world.submit("ask")
    world.work()
    row = store.get(task.task_id)
    assert (row.status, [(one["kind"], one["name"]) for one in row.waiting_for]) == (Status.WAITING, [("signal", "go")])
    assert in_lane(world) == (0, 0)
    receipt = signal(task, "go", {"answer": [1, "é"]}, by="key-1")
    assert (receipt.woken, receipt.task.status, in_lane(world)[0]) == (True, Status.QUEUED, 1)
    world.work()
    ended = store.get(task.task_id)
    assert settle.result_of(ended)["data"] == {"payload": {"answer": [1, "é"]}}  # type: ignore[index]
    assert types(ended) == ["queued", "started", "waiting", "woken", "resumed", "step", "complete"]


def test_a_signal_of_another_name_is_kept_and_wakes_nothing(world: World, install: Install) -> None:
    async def run(ctx: Context) -> AgentResult:
        return AgentResult(f"{await ctx.wait('first')} {await ctx.wait('second')}")

    install(run)
    task = world.submit("ask")
    world.work()
    assert not signal(task, "second", 2).woken
    assert store.get(task.task_id).status is Status.WAITING
    assert signal(task, "first", 1).woken
    world.work()
    assert settle.result_of(store.get(task.task_id))["response"] == "1 2"  # type: ignore[index]


def test_signals_that_come_early_are_taken_in_order_each_once(world: World, install: Install) -> None:
    async def run(ctx: Context) -> AgentResult:
        return AgentResult(",".join([str(await ctx.wait("item")) for _ in range(3)]))

    install(run)
    task = world.submit("ask")
    for n in (1, 2):
        assert not signal(task, "item", n).woken
    world.work()
    assert store.get(task.task_id).status is Status.WAITING
    assert signal(task, "item", 3).woken
    world.work()
    assert settle.result_of(store.get(task.task_id))["response"] == "1,2,3"  # type: ignore[index]


def test_signals_that_follow_each_other_are_taken_so_whatever_the_clocks_say(
    world: World, install: Install, ahead: Clock
) -> None:
    """One machine that took a signal is 90 s behind the other."""

    async def run(ctx: Context) -> AgentResult:
        return AgentResult(f"{await ctx.wait('go')} {await ctx.wait('go')}")

    install(run)
    task = world.submit("ask")
    for n, seconds in enumerate((90, 0)):
        ahead.ahead = seconds
        signal(task, "go", n)
    world.work()
    assert settle.result_of(store.get(task.task_id))["response"] == "0 1"  # type: ignore[index]


def test_a_signal_that_comes_while_the_run_goes_to_wait_is_not_lost(
    world: World, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(asker())
    task = world.submit("ask")
    real = waits.suspend

    def late(held: Task, *args: Any, **more: Any) -> bool:
        monkeypatch.setattr(waits, "suspend", real)
        assert not signal(task, "go", "just now").woken
        return real(held, *args, **more)

    monkeypatch.setattr(waits, "suspend", late)
    world.work()
    assert store.get(task.task_id).status is Status.QUEUED
    world.work_until_quiet()
    assert settle.result_of(store.get(task.task_id))["data"] == {"payload": "just now"}  # type: ignore[index]


def test_a_repeated_signal_counts_once_and_another_payload_is_refused(world: World, install: Install) -> None:
    async def run(ctx: Context) -> AgentResult:
        return AgentResult(f"{await ctx.wait('go')} {await ctx.wait('go')}")

    install(run)
    task = world.submit("ask")
    world.work()
    assert signal(task, "go", 1, key="k" * 64).woken
    assert signal(task, "go", 1, key="k" * 64).repeat
    with pytest.raises(IdempotencyMismatch):
        signal(task, "go", 2, key="k" * 64)
    world.work()
    assert store.get(task.task_id).status is Status.WAITING
    signal(task, "go", 3)
    world.work()
    assert settle.result_of(store.get(task.task_id))["response"] == "1 3"  # type: ignore[index]
    with pytest.raises(Conflict):
        signal(task, "go", 4)
    assert signal(task, "go", 1, key="k" * 64).repeat  # what was taken stays taken


def test_no_signal_in_time_is_an_error_that_can_be_caught(world: World, install: Install, ahead: Clock) -> None:
    async def run(ctx: Context) -> AgentResult:
        try:
            await ctx.wait("go", timeout=100)
        except WaitTimeout:
            return AgentResult(f"late, then {await ctx.wait('go')}")
        return AgentResult("in time")

    install(run)
    task = world.submit("ask")
    world.work()
    ahead.ahead = 100
    assert bring(world, task, ahead).status is Status.WAITING
    assert signal(task, "go", "better").woken
    world.work(seconds=160)
    assert settle.result_of(store.get(task.task_id))["response"] == "late, then better"  # type: ignore[index]


def test_a_timeout_that_nobody_catches_fails_the_run_at_once(world: World, install: Install, ahead: Clock) -> None:
    install(asker(timeout=100))
    task = world.submit("ask")
    world.work()
    ahead.ahead = 100
    ended = bring(world, task, ahead)
    assert (ended.status, (ended.error or {})["code"], ended.attempt) == (Status.FAILED, "wait_timeout", 0)


def test_a_time_to_wait_does_not_start_again_with_a_crash(world: World, install: Install, ahead: Clock) -> None:
    install(asker(timeout=100))
    task = world.submit("ask")
    world.work()
    until = store.get(task.task_id).waiting_for[0]["until"]
    signal(task, "other")
    ahead.ahead = 98.5
    taken = claims.claim(task.task_id, store.get(task.task_id).gen)
    assert isinstance(taken, Task)
    table.update(table.update_op(row_key(task.task_id), sets={"lease_until": clock.now() - 1}))
    ended = bring(world, task, ahead)
    assert ended.status is Status.FAILED
    assert until <= (ended.ended_at or 0) < until + 30


def test_an_early_signal_that_does_not_fit_is_passed_over(world: World, install: Install) -> None:
    schema = {"type": "object", "required": ["ok"], "properties": {"ok": {"type": "boolean"}}}
    install(asker(schema=schema))
    task = world.submit("ask")
    signal(task, "go", {"ok": "yes"})
    world.work()
    row = store.get(task.task_id)
    assert row.status is Status.WAITING
    assert "signal_refused" in types(row)
    assert "schema" not in str(store.public(row))
    signal(task, "go", {"ok": True})
    world.work()
    assert settle.result_of(store.get(task.task_id))["data"] == {"payload": {"ok": True}}  # type: ignore[index]


def test_a_waiting_run_is_cancelled_at_once(world: World, install: Install) -> None:
    install(asker())
    task = world.submit("ask")
    world.work()
    assert settle.cancel(task.task_id, "ann").status is Status.CANCELLED
    with pytest.raises(Conflict):
        signal(task)
    assert listing.due(wait_shard(task.task_id), before=clock.now() + 1e9, limit=10) == {}
    assert bring(world, task).status is Status.CANCELLED


def test_a_cancel_that_comes_while_the_run_goes_to_wait_ends_it(
    world: World, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(asker())
    task = world.submit("ask")
    real = waits.suspend

    def late(*args: Any, **more: Any) -> bool:
        settle.cancel(task.task_id, "ann")
        return real(*args, **more)

    monkeypatch.setattr(waits, "suspend", late)
    world.work()
    assert store.get(task.task_id).status is Status.CANCELLED


def test_branches_at_work_are_not_cut_off_by_one_that_waits(world: World, install: Install) -> None:
    slow = Counted()

    async def work() -> int:
        await asyncio.sleep(0.5)
        return await slow()

    async def run(ctx: Context) -> AgentResult:
        _, payload = await asyncio.gather(ctx.step("slow", work), ctx.wait("go"))
        return AgentResult(str(payload))

    install(run)
    task = world.submit("both")
    world.work()
    assert (store.get(task.task_id).status, slow.times) == (Status.WAITING, 1)
    signal(task, "go", "yes")
    world.work()
    assert (settle.result_of(store.get(task.task_id))["response"], slow.times) == ("yes", 1)  # type: ignore[index]


def test_a_signal_reaches_a_run_whose_other_branch_is_at_work(
    world: World, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_waits, "LOOK_SECONDS", 0.1)
    order: list[str] = []

    async def run(ctx: Context) -> AgentResult:
        async def slow() -> None:
            await asyncio.to_thread(signal, task, "go", "yes")
            await asyncio.to_thread(until, lambda: order)
            order.append("slow")

        async def waiter() -> None:
            order.append(str(await ctx.wait("go")))

        await asyncio.gather(ctx.step("slow", slow), waiter())
        return AgentResult(" ".join(order))

    install(run)
    task = world.submit("both")
    world.work()
    assert settle.result_of(store.get(task.task_id))["response"] == "yes slow"  # type: ignore[index]


def test_a_signal_that_was_accepted_in_time_is_taken_when_the_time_is_over(
    world: World, install: Install, ahead: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run waits in place, and looks for signals seldom: a person who was told that it is allowed has allowed it."""
    monkeypatch.setattr(run_waits, "LOOK_SECONDS", 1_000)
    looked = threading.Event()
    real = inbox.load

    def load(task_id: str) -> list[inbox.Signal]:
        found = real(task_id)
        looked.set()
        return found

    async def run(ctx: Context) -> AgentResult:
        async def answer() -> None:
            await asyncio.to_thread(looked.wait)
            await asyncio.to_thread(signal, task, "go", "in time")
            ahead.ahead = 16

        got, _ = await asyncio.gather(ctx.wait("go", timeout=15), ctx.step("answer", answer))
        return AgentResult(str(got))

    monkeypatch.setattr(inbox, "load", load)
    install(run)
    task = world.submit("ask")
    world.work()
    assert settle.result_of(store.get(task.task_id))["response"] == "in time"  # type: ignore[index]


def test_a_run_that_comes_to_a_wait_after_its_time_takes_what_was_accepted_in_time(
    world: World, install: Install, ahead: Clock
) -> None:
    tries = Counted()

    async def run(ctx: Context) -> AgentResult:
        tries.times += 1
        if tries.times == 1:  # the time begins, and an error of another branch ends the stay

            async def fail() -> None:
                await asyncio.to_thread(until, ctx.waits.pending)  # type: ignore[attr-defined]
                raise OSError("once")

            await asyncio.gather(ctx.wait("go", timeout=15), fail())
        with contextlib.suppress(WaitTimeout):
            await ctx.wait("other", timeout=0.01)
        await asyncio.to_thread(signal, task, "go", "in time")
        ahead.ahead = 16
        return AgentResult(str(await ctx.wait("go", timeout=15)))

    install(run)
    task = world.submit("ask")
    world.work()
    row = bring(world, task, ahead)
    assert (tries.times, settle.result_of(row)["response"]) == (2, "in time")  # type: ignore[index]


def test_whichever_of_several_waits_comes_wakes_the_run(world: World, install: Install, ahead: Clock) -> None:
    async def run(ctx: Context) -> AgentResult:
        a, b, _ = await asyncio.gather(ctx.wait("a"), ctx.wait("b"), ctx.sleep(600))
        return AgentResult(f"{a}{b}")

    install(run)
    task = world.submit("three")
    world.work()
    assert sorted(one["name"] for one in store.get(task.task_id).waiting_for) == ["a", "b", "sleep"]
    signal(task, "b", 2)
    world.work()
    row = store.get(task.task_id)
    assert (row.status, sorted(one["name"] for one in row.waiting_for)) == (Status.WAITING, ["a", "sleep"])
    ahead.ahead = 600
    bring(world, task, ahead)
    signal(task, "a", 1)
    world.work(seconds=660)
    assert settle.result_of(store.get(task.task_id))["response"] == "12"  # type: ignore[index]


def test_a_branch_that_is_slow_to_wait_is_waited_for(
    world: World, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Signals are read before a branch waits for one. Were the run suspended meanwhile, none would wake it."""
    real = inbox.load

    def slow(*args: Any) -> Any:
        time.sleep(0.4)
        return real(*args)

    async def run(ctx: Context) -> AgentResult:
        _, done = await asyncio.gather(ctx.sleep(600), ctx.wait("done"), return_exceptions=True)
        return AgentResult(str(done))

    monkeypatch.setattr(inbox, "load", slow)
    install(run)
    task = world.submit("slow")
    world.work()
    assert sorted(one["name"] for one in store.get(task.task_id).waiting_for) == ["done", "sleep"]
    assert signal(task, "done", 1).woken


def test_what_a_branch_reads_and_starts_is_waited_for(
    world: World, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its history and its children: each takes as long as DynamoDB takes."""
    for module, name in ((sessions, "read_whole"), (family, "begin"), (store, "submit")):
        real = getattr(module, name)

        def slow(*args: Any, real: Any = real, **more: Any) -> Any:
            time.sleep(0.3)
            return real(*args, **more)

        monkeypatch.setattr(module, name, slow)

    async def run(ctx: Context) -> AgentResult:
        async def others() -> None:
            await ctx.history()
            await ctx.map("chat", ["a", "b"])

        await asyncio.gather(ctx.sleep(600), others())
        return AgentResult("both")

    install(run)
    task = world.submit("x", session_id="talk")
    world.work()
    assert sorted(one["kind"] for one in store.get(task.task_id).waiting_for) == ["children", "sleep"]


def test_a_step_whose_place_is_asked_for_is_waited_for(
    world: World, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def slow(self: Share, task: Task) -> bool:
        await asyncio.sleep(0.4)
        return False

    async def run(ctx: Context) -> AgentResult:
        await asyncio.gather(ctx.sleep(600), ctx.step("work", work))
        return AgentResult("both")

    monkeypatch.setattr(Share, "gives_back", slow)
    work = Counted()
    install(run)
    task = world.submit("x")
    world.work()
    assert (store.get(task.task_id).status, work.times) == (Status.WAITING, 1)


def test_an_old_timer_wakes_nothing(world: World, install: Install) -> None:
    install(asker(timeout=600))
    task = world.submit("ask")
    world.work()
    gen = store.get(task.task_id).gen
    signal(task, "other")
    signal(task, "go", 1)
    assert bring(world, task, gen=gen).status is Status.COMPLETE  # by the signal's own message, once
    assert types(task).count("woken") == 1


def test_a_worker_that_dies_before_it_could_write_the_wait_is_followed(
    world: World, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(asker())
    task = world.submit("ask")
    real = waits.suspend

    def die(*args: Any, **more: Any) -> bool:
        monkeypatch.setattr(waits, "suspend", real)
        raise RuntimeError("killed")

    monkeypatch.setattr(waits, "suspend", die)
    world.work()
    world.lapse(task.task_id)
    assert bring(world, task).status is Status.WAITING


def test_a_woken_run_beyond_the_running_cap_is_parked_and_has_its_turn(world: World, install: Install) -> None:
    install(asker())
    first, second = world.submit("one", running_cap=1), world.submit("two", running_cap=1)
    for task in (first, second):  # as they were admitted
        waking.count_again(gate(), task)
    for _ in range(50):  # one runs and waits, the other is parked meanwhile
        world.work()
        if all(store.get(one.task_id).status is Status.WAITING for one in (first, second)):
            break
    assert {store.get(one.task_id).status for one in (first, second)} == {Status.WAITING}
    signal(first)
    signal(second)
    assert store.get(second.task_id).parked
    world.work()
    assert store.get(first.task_id).status is Status.COMPLETE
    world.work()
    assert store.get(second.task_id).status is Status.COMPLETE


def test_time_spent_waiting_counts_for_a_timeout_that_was_asked_for(
    world: World, install: Install, ahead: Clock
) -> None:
    install(asker())
    task = world.submit("ask", params={"timeout_s": 300})
    world.work()
    row = store.get(task.task_id)
    assert abs(row.next_try_at - row.created - 300) < 0.01
    ahead.ahead = 300
    assert (bring(world, task, ahead).error or {})["code"] == "timeout"


def test_time_spent_waiting_does_not_count_for_the_longest_run(world: World, install: Install, ahead: Clock) -> None:
    install(sleeper(Counted(), 3 * DAY))
    task = world.submit("nap")
    world.work()
    ahead.ahead = 3 * DAY
    ended = bring(world, task, ahead)
    assert ended.status is Status.COMPLETE
    assert ended.waited_s == 0 or ended.waited_s > 2 * DAY


def test_a_waiting_run_is_in_nobodys_count_and_its_spending_is_of_the_day(world: World, install: Install) -> None:
    async def run(ctx: Context) -> AgentResult:
        await ctx.model([{"role": "user", "content": "hello"}])
        return AgentResult(str(await ctx.wait("go")))

    install(run)
    task = world.submit("ask")
    world.work()
    row = store.get(task.task_id)
    assert row.usage.tokens > 0
    assert spend.load("ann", task.day) == (row.usage.tokens, row.micro_usd)
    assert gate().overdue(100) == []
    signal(task)
    world.work()
    ended = store.get(task.task_id)
    assert (ended.status, ended.calls) == (Status.COMPLETE, 1)
    assert spend.load("ann", task.day) == (ended.usage.tokens, ended.micro_usd)


def test_sweeps_do_not_meet_those_that_wait(world: World, install: Install) -> None:
    install(asker())
    tasks = [world.submit("ask") for _ in range(5)]
    world.work()
    seen: list[str] = []
    real = table.get_many
    table_get, store_get = table.get, store.get
    try:
        table.get_many = lambda keys: seen.extend(map(str, keys)) or real(keys)  # type: ignore[func-returns-value]
        store.get = lambda task_id: seen.append(task_id) or store_get(task_id)  # type: ignore[func-returns-value]
        sweep()
    finally:
        table.get_many, table.get, store.get = real, table_get, store_get
    assert seen == []
    assert all(store.get(task.task_id).status is Status.WAITING for task in tasks)


def test_what_a_waiting_run_used_is_counted_once(world: World, install: Install, ahead: Clock) -> None:
    """In the copy that admission and ``GET /limits`` ask, too, at each of its waits and after its end."""
    if DAY - time.time() % DAY < 1000:
        ahead.ahead = 1000  # all of it is of one day

    async def run(ctx: Context) -> AgentResult:
        for n in range(3):
            await ctx.model([{"role": "user", "content": f"[[sim words=5]] {n}"}], max_output_tokens=20)
            await ctx.sleep(60 * (n + 1))
        return AgentResult("done")

    install(run)
    limits = resolve("load", {"tokens_per_day": 1_000_000, "usd_per_day": 5.0})
    task = world.submit("hi", cap_tokens=limits.tokens_per_day, cap_micro_usd=limits.micro_usd_per_day)
    gate().adopt(task.user, task.task_id, task.day, task.reserved_tokens, task.reserved_micro_usd, limits)
    world.work()
    for waited in range(1, 4):
        row = store.get(task.task_id)
        shown = gate().usage(task.user, limits)
        assert shown["tokens_per_day"]["used"] == row.usage.tokens == spend.load(task.user, task.day)[0]
        assert shown["usd_per_day"]["used"] == row.micro_usd / 1_000_000
        assert shown["tokens_per_day"]["reserved"] == 0
        ahead.ahead += 60 * waited + 1
        row = bring(world, row, ahead)
    assert row.status is Status.COMPLETE, row
    shown = gate().usage(task.user, limits)
    assert shown["tokens_per_day"]["used"] == row.usage.tokens == spend.load(task.user, task.day)[0]
    assert (shown["tokens_per_day"]["reserved"], shown["queued"]["used"]) == (0, 0)


def test_a_woken_run_reserves_only_what_it_may_yet_use(world: World, install: Install) -> None:
    async def run(ctx: Context) -> AgentResult:
        await ctx.model([{"role": "user", "content": "[[sim words=200]] long"}], max_output_tokens=300)
        await ctx.wait("go")
        return AgentResult("done")

    install(run)
    limits = resolve("load", {"tokens_per_day": 1_000_000})
    task = world.submit("hi", cap_tokens=limits.tokens_per_day)
    gate().adopt(task.user, task.task_id, task.day, task.reserved_tokens, task.reserved_micro_usd, limits)
    world.work()
    row = store.get(task.task_id)
    assert row.status is Status.WAITING
    waking.count_again(gate(), row)
    shown = gate().usage(task.user, limits)["tokens_per_day"]
    assert shown["used"] == row.usage.tokens >= 200
    assert shown["used"] + shown["reserved"] == row.reserved_tokens
