"""A run that goes on after a failure does so in every replay: what it did next stands or falls with that."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from functions.worker.record import failures
from functions.worker.record.stops import Continue
from functions.worker.run.context import Context as WorkersContext
from shared import clock
from shared.errors import BudgetExhausted, DependencyDown, LeaseLost
from shared.retry import ModelError as ModelFailure
from shared.tasks import checkpoints, events, lanes, store
from shared.tasks.model import Status, Task, dumps
from sluice import AgentResult, Context, ModelError
from sluice.errors import ReplayMismatch
from tests.unit.worker.conftest import Install, World

DIES_AFTER = "dies"


def says(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


def sim(key: str, more: str = "") -> list[dict[str, Any]]:
    return says(f"[[sim key={key} {more}]] hello")


class Odd(Exception):
    """An error of an agent's own."""

    def __init__(self, what: str, number: int = 1) -> None:
        super().__init__(what, number)
        self.number = number


class Dying:
    """Lets the worker be gone right after it recorded a step of a name."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.name = ""
        self.died = 0
        record = checkpoints.record

        def record_and_die(task: Task, step: checkpoints.Step, *args: Any, **kwargs: Any) -> None:
            record(task, step, *args, **kwargs)
            if step.name == self.name:
                self.name = ""
                self.died += 1
                raise LeaseLost("this worker is gone")

        patch.setattr(checkpoints, "record", record_and_die)


@pytest.fixture
def dying(monkeypatch: pytest.MonkeyPatch) -> Iterator[Dying]:
    made = Dying(monkeypatch)
    yield made
    assert not made.name, "the accident never came"


def run(world: World, install: Install, agent: Any, dying: Dying, after: str) -> Task:
    """Run an agent whose worker dies after a step; another one takes it over."""
    task = run_once(world, install, agent, dying, after)
    world.work_until_quiet()
    return store.get(task.task_id)


def run_once(world: World, install: Install, agent: Any, dying: Dying, after: str) -> Task:
    """Do so as far as the run comes with the message that it was sent."""
    install(agent)
    dying.name = after
    task = world.submit("hi")
    records = world.receive()
    world.invoke(records)
    if dying.died:
        world.lapse(task.task_id)
        world.invoke(records)
    return store.get(task.task_id)


async def end(ctx: Context, text: str) -> AgentResult:
    """Ask with what came so far: another text would be another step."""
    reply = await ctx.model(sim("end", f"say={text}"), name="end")
    return AgentResult(reply.content)


async def falls_back(ctx: Context) -> AgentResult:
    try:
        reply = await ctx.model(sim("first", "fail=400 times=1"))
    except ModelError as error:
        known = f"{error.status}-{error.message == str(error)}"
        reply = await ctx.model(sim("second", f"say={known}"))
    return await end(ctx, reply.content)


async def gathers(ctx: Context) -> AgentResult:
    calls = (
        ctx.model(sim(key, "fail=400 times=1" if key == "first" else "say=two"), name=key) for key in ("first", "b")
    )
    found = await asyncio.gather(*calls, return_exceptions=True)
    return await end(ctx, "-".join(type(one).__name__ for one in found))


async def in_a_group(ctx: Context) -> AgentResult:
    failed = 0
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(ctx.model(sim("first", "fail=400 times=1"), name="first"))
    except* ModelError as errors:
        failed = len(errors.exceptions)
    return await end(ctx, f"failed-{failed}")


async def streams(ctx: Context) -> AgentResult:
    said = ""
    try:
        async for piece in ctx.model_stream(sim("first", "words=40 fail=drop times=1"), name="first"):
            said += piece
    except ModelError:
        said = "cut"
    return await end(ctx, said[:20].replace(" ", "-"))


@pytest.mark.parametrize("agent", [falls_back, gathers, in_a_group, streams])
def test_a_model_that_failed_is_not_asked_again(world: World, install: Install, dying: Dying, agent: Any) -> None:
    row = run(world, install, agent, dying, "end")
    assert (row.status, row.error, row.attempt) == (Status.COMPLETE, None, 0)
    assert world.calls("first")["started"] == 1
    assert world.calls("end")["started"] == 1
    assert dying.died == 1


def test_and_costs_what_it_costs_undisturbed(world: World, install: Install, dying: Dying) -> None:
    runs = iter(("a", "b"))

    async def agent(ctx: Context) -> AgentResult:
        key = keys.setdefault(ctx.task_id, next(runs, ""))
        with contextlib.suppress(ModelError):
            await ctx.model(sim(key, "words=40 fail=drop times=1"), name="first")
        return await end(ctx, "x")

    keys: dict[str, str] = {}
    undisturbed, taken_over = (run(world, install, agent, dying, after).usage for after in ("", "end"))
    assert [world.calls(key)["started"] for key in keys.values()] == [1, 1]
    assert undisturbed.tokens > 0
    assert taken_over == undisturbed


ERRORS = (ValueError("no", 1), KeyError("x"), Odd("odd", 7), TimeoutError(), OSError(2, "no such file"), RuntimeError())


@pytest.mark.parametrize("kind", ["step", "tool"])
@pytest.mark.parametrize("error", ERRORS, ids=lambda one: type(one).__name__)
def test_a_step_that_raised_raises_the_same_again(
    world: World, install: Install, dying: Dying, error: Exception, kind: str
) -> None:
    done: list[int] = []
    seen: list[tuple[Any, ...]] = []

    async def act() -> str:
        done.append(1)
        if len(done) == 1:
            raise error
        return "fine"

    async def agent(ctx: Context) -> AgentResult:
        try:
            said = str(await (ctx.step("act", act) if kind == "step" else ctx.tool("act", act, {"a": 1})))
        except type(error) as caught:
            seen.append((type(caught), caught.args, vars(caught), str(caught)))
            said = "failed"
        return await end(ctx, said)

    row = run(world, install, agent, dying, "end")
    assert (row.status, done, len(seen)) == (Status.COMPLETE, [1], 2)
    assert seen[0] == seen[1]
    (told,) = (one.data for one in events.read(row.task_id, 0).events if "error" in one.data)
    assert told["step"] == "act"
    assert told["error"] == {"code": "agent_error", "message": type(error).__name__}


def test_one_that_cannot_be_brought_back_is_tried_again(world: World, install: Install, dying: Dying) -> None:
    done: list[int] = []

    async def act() -> str:
        done.append(1)
        raise ValueError(object())

    async def agent(ctx: Context) -> AgentResult:
        with contextlib.suppress(ValueError):
            await ctx.step("act", act)
        return await end(ctx, "failed")

    row = run(world, install, agent, dying, "end")
    assert (row.status, done) == (Status.COMPLETE, [1, 1])


async def has_no_patience(ctx: Context) -> AgentResult:
    try:
        async with asyncio.timeout(0.5):
            said = (await ctx.model(sim("first", "fail=stall times=1 hang=30"), name="first")).content
    except TimeoutError:
        said = "late"
    return await end(ctx, said[:10])


async def races(ctx: Context) -> AgentResult:
    slow = asyncio.create_task(ctx.model(sim("first", "fail=stall times=1 hang=30"), name="first"))
    quick = asyncio.create_task(ctx.model(sim("quick", "say=quick"), name="quick"))
    done, left = await asyncio.wait({slow, quick}, return_when=asyncio.FIRST_COMPLETED)
    for one in left:
        one.cancel()
    await asyncio.wait({slow, quick})
    return await end(ctx, "quick" if quick in done else "slow")


@pytest.mark.parametrize("agent", [has_no_patience, races])
def test_what_its_code_cancelled_is_cancelled_again(world: World, install: Install, dying: Dying, agent: Any) -> None:
    row = run(world, install, agent, dying, "end")
    assert (row.status, row.error) == (Status.COMPLETE, None)
    assert world.calls("first")["started"] <= 1  # on a busy machine it is cancelled before the model is asked
    assert world.calls("end")["started"] == 1


async def cleans_up(ctx: Context) -> AgentResult:
    async def release() -> str:
        return "released"

    try:
        return AgentResult((await ctx.model(sim("first", "fail=500 times=1"), name="first")).content)
    finally:
        await ctx.step("release", release)


async def one_of_a_group_fails(ctx: Context) -> AgentResult:
    async def slowly() -> str:
        await asyncio.sleep(0.3)
        return "slow"

    async def twice() -> None:
        for n in range(6):
            await ctx.step(f"slow.{n}", slowly)

    _, reply = await asyncio.gather(twice(), ctx.model(sim("first", "fail=500 times=1"), name="first"))
    return AgentResult(reply.content)


async def a_group_fails(ctx: Context) -> AgentResult:
    async def release() -> str:
        return "released"

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(ctx.model(sim("first", "fail=500 times=1"), name="first"))
            group.create_task(ctx.model(sim("beside", "fail=stall times=1 hang=30"), name="beside"))
    finally:
        await ctx.step("release", release)
    return AgentResult("")


@pytest.mark.parametrize("agent", [cleans_up, one_of_a_group_fails, a_group_fails])
@pytest.mark.parametrize("after", ["", "release"])
def test_what_ended_the_attempt_is_tried_again(
    world: World, install: Install, dying: Dying, agent: Any, after: str
) -> None:
    if after and agent is one_of_a_group_fails:
        after = "slow.0"
    row = run(world, install, agent, dying, after)
    assert (row.status, row.error) == (Status.COMPLETE, None)
    assert world.calls("first")["started"] == 2


def test_attempts_are_counted_though_failures_are_recorded(world: World, install: Install) -> None:
    async def agent(ctx: Context) -> AgentResult:
        async def release() -> str:
            return "released"

        try:
            return AgentResult((await ctx.model(sim("first", "fail=500"), name="first")).content)
        finally:
            await ctx.step("release", release)

    install(agent)
    task = world.submit("hi")
    world.work_until_quiet()
    row = store.get(task.task_id)
    assert row.error is not None
    assert (row.status, row.error["code"]) == (Status.FAILED, "provider_error")
    assert world.calls("first")["started"] == 4


async def sleeps_after(ctx: Context) -> AgentResult:
    try:
        said = (await ctx.model(sim("first", "fail=400 times=1"), name="first")).content
    except ModelError as error:
        said = str(error.status)
    await ctx.sleep(60)
    return await end(ctx, said)


async def waits_beside(ctx: Context) -> AgentResult:
    found, _ = await asyncio.gather(
        ctx.model(sim("first", "fail=400 times=1"), name="first"), ctx.sleep(60), return_exceptions=True
    )
    return await end(ctx, type(found).__name__)


@pytest.mark.parametrize("agent", [sleeps_after, waits_beside])
def test_who_waits_after_a_failure_goes_on_from_there(
    world: World, install: Install, agent: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(agent)
    task = world.submit("hi")
    world.work()
    assert store.get(task.task_id).status is Status.WAITING
    monkeypatch.setattr(clock, "time", SimpleNamespace(time=lambda: time.time() + 61))
    lanes.send(task.lane, task.task_id, store.get(task.task_id).gen, user=task.user)
    world.work(seconds=121)
    row = store.get(task.task_id)
    assert (row.status, row.error) == (Status.COMPLETE, None)
    assert world.calls("first")["started"] == 1


def test_who_goes_on_elsewhere_does_so_after_the_failure(
    world: World, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    check, asked = WorkersContext.check_time, []

    def stops_once(context: WorkersContext, needed_s: float) -> None:
        check(context, needed_s)
        asked.append(needed_s)
        if len(asked) == 5:  # between the call that answered and the last one
            raise Continue

    monkeypatch.setattr(WorkersContext, "check_time", stops_once)
    install(falls_back)
    task = world.submit("hi")
    world.work_until_quiet()
    row = store.get(task.task_id)
    assert (row.status, row.error) == (Status.COMPLETE, None)
    assert [world.calls(key)["started"] for key in ("first", "second", "end")] == [1, 1, 1]
    assert len(asked) > 5


def test_code_that_asks_something_else_now_does_it(world: World, install: Install, dying: Dying) -> None:
    asked: list[str] = []

    async def act() -> str:
        asked.append("act")
        if len(asked) == 1:
            raise ValueError("no")
        return "fine"

    async def agent(ctx: Context) -> AgentResult:
        with contextlib.suppress(ValueError):
            await ctx.step("act", act, fingerprint=len(asked))
        return await end(ctx, "x")

    row = run(world, install, agent, dying, "end")
    assert (row.status, asked) == (Status.COMPLETE, ["act", "act"])


def test_code_that_comes_to_the_failed_step_no_more_ends(world: World, install: Install, dying: Dying) -> None:
    lives: list[int] = []

    async def act() -> str:
        raise ValueError("no")

    async def agent(ctx: Context) -> AgentResult:
        lives.append(1)
        if len(lives) == 1:
            with contextlib.suppress(ValueError):
                await ctx.step("act", act)
        return await end(ctx, "x")

    assert run(world, install, agent, dying, "end").status is Status.COMPLETE


@pytest.mark.parametrize("before", [True, False])
def test_a_recorded_step_that_the_code_does_not_come_to(
    world: World, install: Install, dying: Dying, before: bool
) -> None:
    lives: list[int] = []

    async def act() -> str:
        raise ValueError("no")

    async def odd() -> str:
        return "odd"

    async def agent(ctx: Context) -> AgentResult:
        lives.append(1)
        if before and len(lives) == 1:
            await ctx.step("odd", odd)
        with contextlib.suppress(ValueError):
            await ctx.step("act", act)
        if not before and len(lives) == 1:
            await ctx.step("odd", odd)
        return await end(ctx, "x")

    row = run(world, install, agent, dying, "end")
    expected = "replay_mismatch" if before else None  # branches get less far, or further, beside one that fails
    assert (row.error or {}).get("code") == expected


def test_a_race_whose_loser_nobody_waits_for_leaves_nothing(world: World, install: Install, dying: Dying) -> None:
    left: list[asyncio.Task[Any]] = []

    async def agent(ctx: Context) -> AgentResult:
        slow = asyncio.create_task(ctx.model(sim("first", "fail=stall times=1 hang=30"), name="first"))
        left.append(slow)
        await asyncio.sleep(0)
        quick = await ctx.model(sim("quick", "say=quick"), name="quick")
        if len(left) == 1:
            slow.cancel()
            await asyncio.wait({slow})
        return await end(ctx, quick.content)

    row = run(world, install, agent, dying, "end")
    assert (row.status, world.calls("first")["started"] <= 1) == (Status.COMPLETE, True)
    assert [task.done() for task in left] == [True, True]


@pytest.mark.parametrize("over", [0, 1])
def test_an_error_is_kept_up_to_a_length(over: int) -> None:
    bare = len(dumps(failures.kept(ValueError(""))).encode())
    error = ValueError("x" * (failures.FAILURE_BYTES - bare + over))
    found = failures.kept(error)
    assert (found is None) == bool(over)
    assert found is None or str(failures.again(found)) == str(error)


@pytest.mark.parametrize(
    "error",
    [
        LeaseLost("x"),
        DependencyDown("dynamodb"),
        BudgetExhausted("usd_per_day"),
        ReplayMismatch("x"),
        asyncio.CancelledError(),
        ExceptionGroup("x", [ValueError()]),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
        ValueError(("a", "tuple")),
        ValueError(float("nan")),
        ValueError("\ud800"),
    ],
    ids=repr,
)
def test_what_is_no_result_or_does_not_come_back_is_not_kept(error: BaseException) -> None:
    assert failures.kept(error) is None


def test_what_is_no_error_is_none_either() -> None:
    with pytest.raises(TypeError, match="is no error"):
        failures.again({"module": "builtins", "class": "print", "args": ["x"], "state": {}})


def test_a_note_of_an_error_is_kept() -> None:
    error = Odd("x", 3)
    error.add_note("while reading")
    found = failures.kept(error)
    assert found is not None
    same = failures.again(found)
    assert isinstance(same, Odd)
    assert (same.number, same.__notes__) == (3, ["while reading"])


def test_a_providers_error_is_what_it_was() -> None:
    error = ModelFailure("slow down", status=429, code="rate", retry_after_s=2.5, param="messages", had_s=1.0)
    found = failures.kept(error)
    assert found is not None
    same = failures.again(json.loads(dumps(found)))
    assert (type(same), vars(same), str(same)) == (ModelFailure, vars(error), str(error))


async def gives_up_beside_a_wait(ctx: Context) -> AgentResult:
    async def slowly() -> str:
        await asyncio.sleep(30)
        return ""

    async def say() -> str:
        return "said"

    async def gives_up() -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.3):
                await ctx.step("slowly", slowly)
        for name in ("one", "two"):
            await ctx.step(name, say)

    await asyncio.gather(gives_up(), ctx.sleep(3600))
    return AgentResult("")


def test_a_branch_that_waits_to_be_cancelled_again_is_not_put_to_sleep_beside_another(
    world: World, install: Install, dying: Dying
) -> None:
    row = run_once(world, install, gives_up_beside_a_wait, dying, "one")
    assert row.status is Status.WAITING
    assert {name for name, _ in checkpoints.load(row.task_id)} == {"slowly", "one", "two"}
