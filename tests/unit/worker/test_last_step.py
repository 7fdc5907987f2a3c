"""The call that a run ends with is written together with its end: paid once all the same, and nothing of it is lost."""

import asyncio
import threading
from typing import Any

import pytest

from functions.worker.record import persist
from shared import aws
from shared.errors import Contended, DependencyDown, LeaseLost, TooLarge
from shared.limits.provider import ProviderBudget
from shared.settings import settings
from shared.tasks import checkpoints, events, leases, settle, spend, store, table
from shared.tasks.model import Status, Task
from sluice import AgentResult

from .conftest import Install, World


def asked(key: str, **directives: Any) -> list[dict[str, Any]]:
    more = " ".join(f"{name}={value}" for name, value in directives.items())
    return [{"role": "user", "content": f"[[sim key={key} words=3 {more}]] hello"}]


def whole(task: Task) -> list[str]:
    """Return the types of a task's events, whose numbers must be without a gap."""
    log = events.read(task.task_id, 0).events
    assert [event.seq for event in log] == list(range(1, store.get(task.task_id).last_seq + 1))
    return [event.type for event in log]


def charged(row: Task) -> bool:
    """Return whether the books of its days hold what it used: a run may last over midnight."""
    books = [spend.load(row.user, day) for day in {row.day, *row.past}]
    return (sum(one[0] for one in books), sum(one[1] for one in books)) == (row.usage.tokens, row.micro_usd) and (
        row.micro_usd > 0
    )


def test_a_run_of_one_call_is_one_transaction(world: World) -> None:
    task = world.submit("[[sim key=one words=3]] hello")
    records = world.receive()
    made: list[str] = []
    aws.dynamodb().meta.events.register("before-call", lambda model, **_: made.append(model.name))
    world.invoke(records)
    assert made.count("TransactWriteItems") == 1, made
    row = store.get(task.task_id)
    assert (row.status, row.calls, row.usage.output_tokens) == (Status.COMPLETE, 1, 3)
    assert store.public(row)["model"] == "gpt-4o-mini"
    assert charged(row)
    assert row.started_at is not None
    assert checkpoints.load(task.task_id) == {}
    assert whole(task) == ["queued", "started", "token", "step", "complete"]


def test_an_end_whose_answer_was_lost_counts_the_call_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    real, lost = settle.settle, [True]

    def flaky(*args: Any, **kwargs: Any) -> None:
        real(*args, **kwargs)
        if lost:
            lost.clear()
            args[0].status = Status.PROCESSING
            args[0].last_seq -= len(kwargs["log"]) + 1
            raise DependencyDown("dynamodb")

    monkeypatch.setattr(settle, "settle", flaky)
    task = world.submit("[[sim key=lost words=3]] hello")
    assert world.work() == []
    row = store.get(task.task_id)
    assert (row.status, row.calls, row.usage.output_tokens) == (Status.COMPLETE, 1, 3)
    assert charged(row)
    assert whole(task)[-2:] == ["step", "complete"]


def test_an_end_that_cannot_be_stored_is_charged_for_its_call(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    real, refused = settle.settle, [True]

    def settling(*args: Any, **kwargs: Any) -> None:
        if refused:
            refused.clear()
            raise TooLarge("fits nowhere")
        real(*args, **kwargs)

    monkeypatch.setattr(settle, "settle", settling)
    task = world.submit("[[sim key=large words=3]] hello")
    assert world.work() == []
    row = store.get(task.task_id)
    assert row.error is not None
    assert (row.status, row.error["code"], row.calls, world.calls("large")["started"]) == (
        Status.FAILED,
        "too_large",
        1,
        1,
    )
    assert charged(row)
    assert whole(task)[-2:] == ["step", "failed"]


@pytest.mark.parametrize("how", ["another step", "an error"])
def test_an_agent_that_goes_on_after_its_last_call_pays_it_once(world: World, install: Install, how: str) -> None:
    """It promised not to; then the call is recorded before anything else is done."""
    tries: list[set[tuple[str, int]]] = []

    async def run(ctx: Any) -> AgentResult:
        reply = await ctx.model(asked("on"), last=True)

        async def look() -> str:
            tries.append(set(checkpoints.load(ctx.task_id)))
            if len(tries) == 1:
                raise ConnectionError("network")
            return str(reply.content)

        return AgentResult(await (ctx.step("after", look) if how == "another step" else look()))

    install(run)
    task = world.submit("x")
    world.work_until_quiet()
    row = store.get(task.task_id)
    assert (row.status, row.calls, world.calls("on")["started"]) == (Status.COMPLETE, 1, 1)
    assert tries[-1] == {("model", 1)}
    assert how == "an error" or tries[0] == {("model", 1)}
    assert charged(row)


def test_a_call_said_to_be_last_by_its_reply_is_recorded_when_it_is_not(world: World, install: Install) -> None:
    async def run(ctx: Any) -> AgentResult:
        for n in range(3):
            reply = await ctx.model(asked("said"), last=lambda reply, n=n: n == 2 and bool(reply.content))
        return AgentResult(reply.content)

    install(run)
    task = world.submit("x")
    world.work()
    row = store.get(task.task_id)
    assert (row.status, row.calls, world.calls("said")["started"]) == (Status.COMPLETE, 3, 3)
    assert sorted(checkpoints.load(task.task_id)) == [("model", 1), ("model", 2)]
    assert whole(task).count("step") == 3


def test_a_run_cancelled_behind_its_last_call_is_charged(world: World, install: Install) -> None:
    async def run(ctx: Any) -> AgentResult:
        reply = await ctx.model(asked("cancel"), last=True)
        threading.Timer(0.1, settle.cancel, (ctx.task_id, "ann")).start()
        await asyncio.sleep(50)
        return AgentResult(reply.content)

    install(run)
    task = world.submit("x")
    world.work()
    row = store.get(task.task_id)
    assert (row.status, row.calls, row.usage.output_tokens) == (Status.CANCELLED, 1, 3)
    assert charged(row)


def test_a_run_that_moves_on_behind_its_last_call_repeats_it_not(world: World, install: Install) -> None:
    """The function's time ends first: the next one finds the reply recorded."""
    seconds = [30.0, 0.0]

    async def run(ctx: Any) -> AgentResult:
        reply = await ctx.model(asked("move"), last=True)
        await asyncio.sleep(seconds.pop(0))
        return AgentResult(reply.content)

    install(run)
    task = world.submit("x")
    world.work(seconds=10)
    assert set(checkpoints.load(task.task_id)) == {("model", 1)}
    world.work_until_quiet()
    row = store.get(task.task_id)
    assert (row.status, row.continuations, row.calls, world.calls("move")["started"]) == (Status.COMPLETE, 1, 1, 1)
    assert charged(row)


def test_a_worker_that_dies_at_the_end_repeats_that_call_only(
    world: World, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, dead = settle.settle, [True]

    async def run(ctx: Any) -> AgentResult:
        await ctx.model(asked("first"))
        reply = await ctx.model(asked("second"), last=True)
        return AgentResult(reply.content)

    def dying(*args: Any, **kwargs: Any) -> None:
        if dead:
            dead.clear()
            raise LeaseLost("dead")
        real(*args, **kwargs)

    monkeypatch.setattr(settle, "settle", dying)
    install(run)
    task = world.submit("x")
    records = world.receive()
    assert world.invoke(records) == [records[0]["messageId"]]
    world.lapse(task.task_id)
    world.invoke(records)
    row = store.get(task.task_id)
    assert (row.status, world.calls("first")["started"], world.calls("second")["started"]) == (Status.COMPLETE, 1, 2)


def test_an_end_that_an_outage_holds_up_is_written_when_it_is_over(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, down = settle.settle, [True] * 5

    def settling(*args: Any, **kwargs: Any) -> None:
        if down:
            down.pop()
            raise DependencyDown("dynamodb")
        real(*args, **kwargs)

    monkeypatch.setattr(settle, "settle", settling)
    monkeypatch.setattr(persist, "PATIENCE_SECONDS", 30)
    task = world.submit("[[sim key=held words=3]] hello")
    assert world.work() == []
    row = store.get(task.task_id)
    assert (row.status, row.calls, world.calls("held")["started"]) == (Status.COMPLETE, 1, 1)
    assert charged(row)


def test_of_calls_beside_each_other_none_is_lost(world: World, install: Install) -> None:
    async def run(ctx: Any) -> AgentResult:
        replies = await asyncio.gather(*(ctx.model(asked(f"p{n}"), name=f"m{n}", last=True) for n in range(3)))
        return AgentResult(replies[0].content)

    install(run)
    task = world.submit("x")
    world.work()
    row = store.get(task.task_id)
    assert (row.status, row.calls, row.usage.output_tokens) == (Status.COMPLETE, 3, 9)
    assert charged(row)
    assert whole(task).count("step") == 3


@pytest.mark.parametrize("answer", ["an error", "a coroutine"])
def test_a_reply_is_recorded_whatever_the_agents_function_says_of_it(
    world: World, install: Install, answer: str
) -> None:
    tries: list[int] = []

    def last(_reply: Any) -> Any:
        if answer == "an error":
            raise KeyError("done")
        return [True]

    async def run(ctx: Any) -> AgentResult:
        reply = await ctx.model(asked("odd"), last=last)
        tries.append(1)
        if len(tries) == 1:
            raise ConnectionError("network")
        return AgentResult(reply.content)

    install(run)
    task = world.submit("x")
    world.work_until_quiet()
    row = store.get(task.task_id)
    assert (row.status, row.calls, world.calls("odd")["started"]) == (Status.COMPLETE, 1, 1)
    assert charged(row)


@pytest.mark.parametrize("last", [False, True])
def test_an_outage_longer_than_patience_takes_no_charge_away(
    world: World, install: Install, monkeypatch: pytest.MonkeyPatch, last: bool
) -> None:
    down: list[bool] = []
    real = {name: getattr(table, name) for name in ("transact", "update", "put")}

    async def run(ctx: Any) -> AgentResult:
        def ends(_reply: Any) -> bool:
            if not world.calls("out")["completed"] > 1:
                down.append(True)
            return last

        return AgentResult((await ctx.model(asked("out"), last=ends)).content)

    def gone(name: str) -> Any:
        def call(op: Any) -> Any:
            if down:
                raise DependencyDown("dynamodb", retry_after_s=0.1)
            return real[name](op)

        return call

    given_back = leases.requeue

    def over(*args: Any, **kwargs: Any) -> bool:
        down.clear()  # when the worker has given up
        return given_back(*args, **kwargs)

    monkeypatch.setattr(leases, "requeue", over)
    for name in real:
        monkeypatch.setattr(table, name, gone(name))
    monkeypatch.setattr(persist, "PATIENCE_SECONDS", 0.3)
    install(run)
    task = world.submit("x")
    assert world.work() == []
    row = store.get(task.task_id)
    assert (row.status, row.reason, row.usage.output_tokens) == (Status.QUEUED, "dynamodb_down", 3)
    world.work_until_quiet()
    row = store.get(task.task_id)
    assert (row.status, row.crashes, row.usage.output_tokens) == (Status.COMPLETE, 0, 6)
    assert world.calls("out")["started"] == 2
    assert charged(row)
    assert whole(task).count("step") == 1


@pytest.mark.parametrize("last", [False, True])
def test_nothing_begins_after_the_end(world: World, install: Install, last: bool) -> None:
    kept: list[asyncio.Task[Any]] = []

    async def run(ctx: Any) -> AgentResult:
        reply = await ctx.model(asked("end"), last=last)
        kept.append(asyncio.create_task(ctx.model(asked("late"), name="late")))
        await asyncio.sleep(0)
        return AgentResult(reply.content)

    async def rest() -> Any:
        return await asyncio.gather(*kept, return_exceptions=True)

    install(run)
    task = world.submit("x")
    world.work()
    world.runner.run(rest())
    assert store.get(task.task_id).status is Status.COMPLETE
    assert world.calls("late")["started"] <= store.get(task.task_id).calls - 1


def test_every_step_behind_the_last_call_finds_it_recorded(world: World, install: Install) -> None:
    seen: list[set[tuple[str, int]]] = []

    async def run(ctx: Any) -> AgentResult:
        await ctx.model(asked("both"), last=True)

        async def look() -> None:
            seen.append(set(checkpoints.load(ctx.task_id)))

        await asyncio.gather(ctx.step("a", look), ctx.step("b", look))
        return AgentResult("done")

    install(run)
    world.submit("x")
    world.work()
    assert len(seen) == 2
    assert all(("model", 1) in steps for steps in seen)


def test_the_start_is_kept_when_the_end_needs_a_second_try(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    real, refused = settle.fenced_write, [True]

    def contended(*args: Any, **kwargs: Any) -> None:
        if refused:
            refused.clear()
            raise Contended("busy")
        real(*args, **kwargs)

    monkeypatch.setattr(settle, "fenced_write", contended)
    task = world.submit("[[sim key=start words=1]] hello")
    world.work()
    row = store.get(task.task_id)
    assert row.status is Status.COMPLETE
    assert row.started_at is not None


def test_the_scaler_is_told_of_every_call(world: World) -> None:
    """The share of refused calls decides whether it lets environments go."""
    for n in range(4):
        world.submit(f"[[sim key=w words=1]] {n}")
    world.work()
    assert sum(minute.calls for minute in ProviderBudget().windows(3)) == 4


def test_an_agent_that_does_not_let_go_in_an_outage_is_given_back_with_its_charge(
    world: World, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    def record(*args: Any, **kwargs: Any) -> None:
        raise DependencyDown("dynamodb")

    async def run(ctx: Any) -> AgentResult:
        await ctx.model(asked("holds"), last=True)
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            await asyncio.sleep(30)
        return AgentResult("late")

    monkeypatch.setenv("MODEL_TIMEOUT_SECONDS", "2")  # so that the invocation has room for a call
    settings.cache_clear()
    monkeypatch.setattr(checkpoints, "record", record)
    monkeypatch.setattr(persist, "PATIENCE_SECONDS", 0.2)
    install(run)
    task = world.submit("x")
    assert world.work(seconds=8) == []
    row = store.get(task.task_id)
    assert (row.status, row.reason, row.usage.output_tokens) == (Status.QUEUED, "continuation", 3)
