"""What failed for a while only is tried again, whatever a run does on the way to its attempt's end."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from functions.api.door.gate import gate
from functions.worker.record import caught
from shared import retry
from shared.retry import ModelError as ModelFailure
from shared.tasks import checkpoints, events, store
from shared.tasks.model import Status, Task
from sluice import AgentResult, Context, ModelError
from tests.unit.worker.conftest import Install, World
from tests.unit.worker.test_caught import Dying, dying, end, run, sim
from tests.unit.worker.test_forks import ended, fork

__all__ = ["dying"]

TIMES: Counter[str] = Counter()
"""How often each step was really done."""


@pytest.fixture(autouse=True)
def _count_anew() -> None:
    TIMES.clear()
    gate.cache_clear()


def does(name: str) -> Callable[[], Awaitable[str]]:
    async def work() -> str:
        TIMES[name] += 1
        return f"{name} {TIMES[name]}"

    return work


def fails(name: str, times: int = 1, status: int = 500) -> Callable[[], Awaitable[str]]:
    """Make a step's work that a provider refuses so often."""

    async def work() -> str:
        TIMES[name] += 1
        if TIMES[name] <= times:
            raise ModelFailure("not now", status=status)
        return "fine"

    return work


def stalls(name: str) -> Callable[[], Awaitable[str]]:
    """Make a step's work that comes to nothing the first time."""

    async def work() -> str:
        TIMES[name] += 1
        if TIMES[name] == 1:
            await asyncio.sleep(60)
        return "fine"

    return work


async def says_so(ctx: Context) -> AgentResult:
    try:
        said = await ctx.step("first", fails("first"))
    except ModelError:
        await ctx.step("log", does("log"))
        raise
    return AgentResult(said)


async def says_what(ctx: Context) -> AgentResult:
    try:
        said = await ctx.step("first", fails("first"))
    except ModelError:
        await ctx.tool("notify", does("notify"), {"text": "failed"})
        raise
    return AgentResult(said + await ctx.tool("notify", does("notify"), {"text": "fine"}))


async def hides_it(ctx: Context) -> AgentResult:
    try:
        said = await ctx.step("first", fails("first"))
    except ModelError:
        await ctx.step("log", does("log"))
        raise RuntimeError("it did not work") from None
    return AgentResult(said)


async def gives_up(ctx: Context) -> AgentResult:
    for _ in range(2):
        with contextlib.suppress(ModelError):
            return AgentResult(await ctx.step("first", fails("first", times=2)))
        await ctx.step("log", does("log"))
    raise RuntimeError("nothing worked")


async def looks_at_all(ctx: Context) -> AgentResult:
    calls = (ctx.step(name, fails(name)) for name in ("first", "other"))
    found = await asyncio.gather(*calls, return_exceptions=True)
    await ctx.step("log", does("log"), fingerprint=[isinstance(one, str) for one in found])
    if not all(isinstance(one, str) for one in found):
        raise RuntimeError("some did not work")
    return AgentResult(str(found[0]))


async def looks_at_many(ctx: Context) -> AgentResult:
    calls = (ctx.step("first", fails("first", times=n)) for n in range(1, caught.MOST_KEPT + 2))
    found = await asyncio.gather(*calls, return_exceptions=True)
    await ctx.step("log", does("log"))
    for one in found:
        if isinstance(one, BaseException):
            raise one
    return AgentResult("fine")


async def has_no_patience(ctx: Context) -> AgentResult:
    try:
        async with asyncio.timeout(0.05):
            return AgentResult(await ctx.step("first", stalls("first")))
    except TimeoutError:
        await ctx.step("log", does("log"))
        raise RuntimeError("too late") from None


async def has_anyios_patience(ctx: Context) -> AgentResult:
    try:
        with anyio.fail_after(0.05):
            said = await ctx.step("first", stalls("first"))
    finally:
        await ctx.step("release", does("release"))
    return AgentResult(said)


async def cleans_up_beside(ctx: Context) -> AgentResult:
    async def beside() -> None:
        try:
            await ctx.step("beside", stalls("beside"))
        finally:
            await ctx.step("close", does("close"))

    async with asyncio.TaskGroup() as group:
        group.create_task(beside())
        await asyncio.sleep(0.05)
        first = group.create_task(ctx.step("first", fails("first")))
    return AgentResult(first.result())


async def cleans_up_in_anyio(ctx: Context) -> AgentResult:
    found: list[str] = []

    async def beside() -> None:
        try:
            await ctx.step("beside", stalls("beside"))
        finally:
            with anyio.CancelScope(shield=True):
                await ctx.step("close", does("close"))

    async def first() -> None:
        found.append(await ctx.step("first", fails("first")))

    async with anyio.create_task_group() as group:
        group.start_soon(beside)
        await asyncio.sleep(0.05)
        group.start_soon(first)
    return AgentResult(found[0])


async def fails_itself_beside(ctx: Context) -> AgentResult:
    async def beside() -> None:
        try:
            await ctx.step("first", stalls("first"))
        finally:
            await ctx.step("close", does("close"))

    async def own() -> None:
        await asyncio.sleep(0.05)
        TIMES["own"] += 1
        if TIMES["own"] == 1:
            raise OSError("no answer")

    async with asyncio.TaskGroup() as group:
        group.create_task(beside())
        group.create_task(own())
    return AgentResult("fine")


AGENTS = [
    says_so,
    says_what,
    hides_it,
    gives_up,
    looks_at_all,
    looks_at_many,
    has_no_patience,
    has_anyios_patience,
    cleans_up_beside,
    cleans_up_in_anyio,
    fails_itself_beside,
]


@pytest.mark.parametrize("agent", AGENTS)
def test_what_failed_for_a_while_is_tried_again(
    world: World, install: Install, agent: Any, caplog: pytest.LogCaptureFixture
) -> None:
    install(agent)
    task = world.submit("hi")
    world.work_until_quiet()
    row = store.get(task.task_id)
    assert (row.status, row.error) == (Status.COMPLETE, None)
    assert TIMES["first"] >= 2
    assert "not cancelled again" not in caplog.text


@pytest.mark.parametrize("times", [3, 4])
def test_what_is_told_of_a_failure_gives_no_attempts(world: World, install: Install, times: int) -> None:
    """Each attempt tells another text: none of that is progress."""

    async def agent(ctx: Context) -> AgentResult:
        try:
            said = await ctx.step("first", fails("first", times))
        except ModelError:
            await ctx.tool("notify", does("notify"), {"text": f"try {TIMES['first']}"})
            raise
        return AgentResult(said)

    install(agent)
    task = world.submit("hi")
    world.work_until_quiet()
    row = store.get(task.task_id)
    assert row.status is (Status.COMPLETE if times == 3 else Status.FAILED)
    assert (TIMES["first"], TIMES["notify"]) == (4, times)


def test_a_fallback_is_kept_when_it_fails_itself(world: World, install: Install) -> None:
    """Only what failed last: what came before it was got over."""

    async def agent(ctx: Context) -> AgentResult:
        try:
            said = await ctx.step("first", fails("first", 9))
        except ModelError:
            await ctx.step("log", does("log"))
            said = await ctx.step("second", fails("second", 3))
        return AgentResult(said)

    install(agent)
    task = world.submit("hi")
    world.work_until_quiet()
    assert store.get(task.task_id).status is Status.COMPLETE
    assert TIMES == {"first": 1, "log": 1, "second": 4}


def test_a_fork_tries_again_what_ended_the_other_run(world: World, install: Install) -> None:
    async def agent(ctx: Context) -> AgentResult:
        try:
            return AgentResult(await ctx.step("first", fails("first", status=402)))
        finally:
            await ctx.step("release", does("release"))

    install(agent)
    first = world.submit("x")
    ended(world, first, Status.FAILED)
    second = ended(world, fork(first, "release"))
    assert (TIMES["first"], TIMES["release"]) == (2, 1)
    ended(world, fork(second, second.last_seq))
    assert (TIMES["first"], TIMES["release"]) == (2, 1)


def test_a_fork_of_a_run_that_got_over_it_need_not_tell(world: World, install: Install) -> None:
    install(says_what)
    first = ended(world, world.submit("x"))
    assert TIMES == {"first": 2, "notify": 2}
    ended(world, fork(first, first.last_seq))
    assert TIMES == {"first": 2, "notify": 2}
    TIMES.clear()
    install(says_so)
    first = ended(world, world.submit("x"))
    ended(world, fork(first, first.last_seq))
    assert TIMES == {"first": 2, "log": 1}


def test_a_run_is_not_suspended_before_what_is_cancelled_again(world: World, install: Install, dying: Dying) -> None:
    async def hurries(ctx: Context) -> None:
        try:
            async with asyncio.timeout(0.3):
                await ctx.step("first", stalls("first"))
        except TimeoutError:
            await ctx.step("second", does("second"))

    async def agent(ctx: Context) -> AgentResult:
        await asyncio.gather(hurries(ctx), ctx.wait("go"))
        return AgentResult("")

    install(agent)
    dying.name = "first"
    task = world.submit("hi")
    records = world.receive()
    world.invoke(records)
    world.lapse(task.task_id)
    world.invoke(records)
    assert store.get(task.task_id).status is Status.WAITING
    assert TIMES == {"first": 1, "second": 1}


def test_no_branch_goes_on_before_all_failures_are_recorded(
    world: World, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded: list[str] = []
    seen: list[int] = []
    record = checkpoints.record

    def note(task: Task, step: checkpoints.Step, *args: Any, **kwargs: Any) -> None:
        record(task, step, *args, **kwargs)
        if step.failed:
            recorded.append(step.name)

    monkeypatch.setattr(checkpoints, "record", note)

    async def look() -> str:
        seen.append(len(recorded))
        return ""

    async def agent(ctx: Context) -> AgentResult:
        await asyncio.gather(*(ctx.step(f"bad.{n}", fails(str(n))) for n in range(3)), return_exceptions=True)
        await asyncio.gather(*(ctx.step(f"good.{n}", look) for n in range(3)))
        return AgentResult("")

    install(agent)
    task = world.submit("hi")
    world.work_until_quiet()
    assert store.get(task.task_id).status is Status.COMPLETE
    assert seen == [3, 3, 3]


def test_a_branch_that_is_cancelled_meanwhile_takes_no_failure_with_it(
    world: World, install: Install, dying: Dying, monkeypatch: pytest.MonkeyPatch
) -> None:
    cancels: list[Callable[[], object]] = []
    record = checkpoints.record

    def cancel_first(task: Task, step: checkpoints.Step, *args: Any, **kwargs: Any) -> None:
        if step.failed and cancels:
            cancels.pop()()
        record(task, step, *args, **kwargs)

    monkeypatch.setattr(checkpoints, "record", cancel_first)

    async def agent(ctx: Context) -> AgentResult:
        await asyncio.gather(*(ctx.step(f"bad.{n}", fails(str(n))) for n in range(3)), return_exceptions=True)
        loop, given_up = asyncio.get_running_loop(), asyncio.ensure_future(ctx.step("given-up", does("given-up")))
        TIMES["lives"] += 1
        if TIMES["lives"] == 1:
            cancels.append(lambda: loop.call_soon_threadsafe(given_up.cancel))
        else:
            loop.call_later(0.05, given_up.cancel)
        await asyncio.wait({given_up})
        return await end(ctx, "x")

    row = run(world, install, agent, dying, "end")
    assert (row.status, row.error) == (Status.COMPLETE, None)
    assert [TIMES[str(n)] for n in range(3)] == [1, 1, 1]


def test_the_owner_sees_what_is_tried_again(world: World, install: Install) -> None:
    install(says_so)
    row = ended(world, world.submit("x"))
    (told,) = (one.data for one in events.read(row.task_id, 0).events if one.type == "retry")
    assert told[checkpoints.AGAIN] == [["first", 1]]


def test_no_failure_is_recorded_once_its_attempt_has_ended(
    world: World, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next attempt would find its place in the log taken, and count a crash."""
    monkeypatch.setattr(retry, "backoff", lambda *_: 0.0)
    under_way = threading.Event()
    record = checkpoints.record

    def slowly(task: Task, step: checkpoints.Step, *args: Any, **kwargs: Any) -> None:
        if step.failed and TIMES["lives"]:  # the first is recorded before the second begins
            under_way.set()
            time.sleep(0.05)
        record(task, step, *args, **kwargs)

    monkeypatch.setattr(checkpoints, "record", slowly)

    async def breaks() -> None:
        TIMES["lives"] += 1
        if TIMES["lives"] == 1:
            await asyncio.to_thread(under_way.wait, 10)
            raise RuntimeError("own")

    async def agent(ctx: Context) -> AgentResult:
        await asyncio.gather(*(ctx.step(f"bad.{n}", fails(str(n))) for n in range(4)), return_exceptions=True)
        await asyncio.gather(ctx.step("good", does("good")), breaks())
        return AgentResult("")

    install(agent)
    row = ended(world, world.submit("x"))
    assert (row.crashes, TIMES["lives"]) == (0, 2)
    assert [TIMES[str(n)] for n in range(4)] == [1] * 4


def test_what_was_paid_for_after_a_failure_is_not_paid_again_for_an_error_of_the_code(
    world: World, install: Install
) -> None:
    tries: list[int] = []

    async def agent(ctx: Context) -> AgentResult:
        try:
            said = (await ctx.model(sim("first", "fail=400 times=1"), name="first")).content
        except ModelError as error:
            said = str(error.status)
        reply = await ctx.model(sim("paid", f"say={said}"), name="paid")
        tries.append(1)
        if len(tries) < 4:
            raise ValueError("what this code does by itself fails for a while")
        return AgentResult(reply.content)

    install(agent)
    task = world.submit("hi")
    world.work_until_quiet()
    row = store.get(task.task_id)
    assert (row.status, len(tries)) == (Status.COMPLETE, 4)
    assert [world.calls(key)["started"] for key in ("first", "paid")] == [1, 1]
