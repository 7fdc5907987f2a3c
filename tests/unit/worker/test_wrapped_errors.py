"""What stops a run is what it is, whatever a task group or a framework wraps it in; and no loop asks for ever."""

import asyncio
from typing import Any

import pytest

from functions.worker.record import persist as persisting
from functions.worker.record.stops import Continue, Defer
from functions.worker.run import budget
from functions.worker.run.wrapped import behind
from shared.errors import BudgetExhausted, DependencyDown, LeaseLost
from shared.retry import ModelError
from shared.tasks import checkpoints, store
from shared.tasks.model import Status, Task
from sluice import AgentResult, Context
from tests.unit.worker.conftest import Install, World

SAID = [{"role": "user", "content": "[[sim key=k]] hi"}]
BROKE: dict[str, Any] = {"params": {"max_cost_usd": 0.0000001}}


class FrameworkError(Exception):
    """What a framework makes of any error."""


def run(world: World, install: Install, agent: Any, **changes: Any) -> Task:
    install(agent)
    task = world.submit("hi", **changes)
    world.work()
    return store.get(task.task_id)


def is_refused(row: Task) -> bool:
    assert row.error is not None, row.status
    assert (row.status, row.error["code"], row.attempt) == (Status.FAILED, "insufficient_quota", 0)
    return True


async def in_a_group(ctx: Context) -> AgentResult:
    async with asyncio.TaskGroup() as group:
        calls = [group.create_task(ctx.model(SAID, name=name)) for name in ("a", "b")]
    return AgentResult("".join(call.result().content for call in calls))


async def in_groups(ctx: Context) -> AgentResult:
    async with asyncio.TaskGroup() as group:
        group.create_task(in_a_group(ctx))
    return AgentResult("")


async def wrapped(ctx: Context) -> AgentResult:
    try:
        return AgentResult((await ctx.model(SAID)).content)
    except Exception as error:
        raise FrameworkError("the graph failed") from error


async def wrapped_in_passing(ctx: Context) -> AgentResult:
    try:
        return AgentResult((await ctx.model(SAID)).content)
    except Exception:
        raise FrameworkError("the graph failed")  # noqa: B904 - as many do


@pytest.mark.parametrize("agent", [in_a_group, in_groups, wrapped, wrapped_in_passing])
def test_a_ceilings_refusal_ends_the_run_at_once_and_by_its_name(world: World, install: Install, agent: Any) -> None:
    assert is_refused(run(world, install, agent, **BROKE))
    assert world.calls("k")["started"] == 0


@pytest.mark.parametrize("stop", [Defer(5.0, "breaker_open"), Continue()])
def test_a_stop_in_a_task_group_is_no_failure(world: World, install: Install, stop: BaseException) -> None:
    async def stops() -> None:
        raise stop

    async def agent(ctx: Context) -> AgentResult:
        await ctx.model(SAID)
        async with asyncio.TaskGroup() as group:
            group.create_task(stops())
        return AgentResult("")

    row = run(world, install, agent)
    assert (row.status, row.attempt, row.last_error) == (Status.QUEUED, 0, None)
    assert row.reason == ("breaker_open" if isinstance(stop, Defer) else "continuation")


def test_a_model_that_refuses_for_good_is_not_asked_again_because_a_framework_spoke(
    world: World, install: Install
) -> None:
    said = [{"role": "user", "content": "[[sim key=k fail=400]] hi"}]

    async def agent(ctx: Context) -> AgentResult:
        try:
            return AgentResult((await ctx.model(said)).content)
        except ModelError as error:
            raise FrameworkError("no answer") from error

    row = run(world, install, agent)
    assert row.error is not None
    assert (row.status, row.error["type"], row.attempt) == (Status.FAILED, "model_error", 0)
    assert world.calls("k")["started"] == 1


def test_code_that_asks_again_and_again_for_what_it_cannot_have_is_ended_and_stops_nobody(
    world: World, install: Install
) -> None:
    asked = []

    async def agent(ctx: Context) -> AgentResult:
        while ctx.message == "stubborn":
            try:
                await ctx.model(SAID)
            except Exception:
                asked.append(1)
        return AgentResult("polite")

    install(agent)
    stubborn = world.submit("stubborn", **BROKE)
    polite = world.submit("polite")
    world.work()
    assert is_refused(store.get(stubborn.task_id))
    assert store.get(polite.task_id).status is Status.COMPLETE
    assert len(asked) == budget.MOST_REFUSALS - 1


def test_a_run_may_heed_a_refusal(world: World, install: Install) -> None:
    async def agent(ctx: Context) -> AgentResult:
        for _ in range(budget.MOST_REFUSALS - 1):
            with pytest.raises(BudgetExhausted):
                await ctx.model(SAID)
        return AgentResult("without a model, then")

    assert run(world, install, agent, **BROKE).status is Status.COMPLETE


@pytest.mark.parametrize("error", [LeaseLost("gone"), DependencyDown("dynamodb")])
def test_a_step_that_nobody_could_record_is_not_paid_for_again_by_a_loop_that_swallows_errors(
    world: World, install: Install, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    async def agent(ctx: Context) -> AgentResult:
        for _ in range(5):
            try:
                return AgentResult((await ctx.model(SAID)).content)
            except Exception:
                await asyncio.sleep(0)
        return AgentResult("never")

    def away(*_: object, **__: object) -> None:
        raise error

    real = checkpoints.record
    monkeypatch.setattr(persisting, "PATIENCE_SECONDS", 0.05)
    monkeypatch.setattr(checkpoints, "record", away)
    row = run(world, install, agent)
    assert (world.calls("k")["started"], row.attempt) == (1, 0)
    assert row.status is (Status.PROCESSING if isinstance(error, LeaseLost) else Status.QUEUED)
    monkeypatch.setattr(checkpoints, "record", real)


def made(error: BaseException, cause: BaseException | None = None, context: BaseException | None = None) -> Any:
    if cause is not None:
        error.__cause__ = cause
    error.__context__ = context
    return error


REFUSED, LOST, OWN, MODEL = BudgetExhausted("tokens_per_day"), LeaseLost("gone"), KeyError("x"), ModelError("busy")


@pytest.mark.parametrize(
    ("error", "right"),
    [
        (OWN, OWN),
        (ExceptionGroup("", [OWN]), OWN),
        (ExceptionGroup("", [OWN, MODEL]), MODEL),
        (BaseExceptionGroup("", [OWN, ExceptionGroup("", [REFUSED])]), REFUSED),
        (BaseExceptionGroup("", [REFUSED, LOST]), LOST),
        (made(FrameworkError(), made(ValueError(), REFUSED)), REFUSED),
        (made(FrameworkError(), context=REFUSED), REFUSED),
    ],
)
def test_what_says_most_is_found(error: BaseException, right: BaseException) -> None:
    assert behind(error) is right


def test_a_bug_while_a_models_error_is_handled_stays_the_agents_own() -> None:
    bug = made(KeyError("x"), context=MODEL)
    assert behind(bug) is bug


def test_a_chain_that_goes_in_circles_ends() -> None:
    one, two = ValueError(), KeyError()
    one.__cause__, two.__cause__ = two, one
    assert behind(one) is one


def test_a_group_of_several_of_its_own_errors_stays_one() -> None:
    group = ExceptionGroup("two", [ValueError(), KeyError()])
    assert behind(group) is group
