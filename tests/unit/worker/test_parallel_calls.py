"""Calls beside each other: each counts against the ceilings all the time, and none outlives its run unpaid."""

import asyncio
import itertools
import time
from collections.abc import Callable
from typing import Any

import pytest

from functions.worker import agents
from functions.worker.environment.environment import Environment
from functions.worker.model.asked import Call
from functions.worker.run.room import Room
from shared.limits import prices
from shared.tasks import checkpoints, settle, spend, store
from shared.tasks.model import Status, Task
from sluice import AgentResult, BudgetExhausted

from .conftest import LASTING, Install, World, until, written


def asked(key: str, directives: str = "words=2") -> list[dict[str, Any]]:
    return [{"role": "user", "content": f"[[sim key={key} {directives}]] hello"}]


def before_the_first_recording(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """Do something in the loop once the first reply is in, and record it a little later."""
    real, met = checkpoints.record, []
    loops: list[asyncio.AbstractEventLoop] = []
    real_load = agents.load

    def load(name: str) -> Any:
        loops.append(asyncio.get_running_loop())
        return real_load(name)

    def record(*args: Any, **kwargs: Any) -> None:
        if not met:
            met.append(True)
            loops[0].call_soon_threadsafe(act)
            time.sleep(0.5)
        real(*args, **kwargs)

    monkeypatch.setattr(agents, "load", load)
    monkeypatch.setattr(checkpoints, "record", record)


LONG = asked("w", "words=900")


@pytest.mark.parametrize("ceiling", ["max_cost", "day"])
@pytest.mark.parametrize("room", [1.2, 2.1])
def test_a_reply_counts_while_it_is_being_recorded(
    world: World, install: Install, monkeypatch: pytest.MonkeyPatch, ceiling: str, room: float
) -> None:
    """The second call starts between the first one's reply and its recording."""
    replied: list[asyncio.Event] = []

    async def run(ctx: Any) -> AgentResult:
        replied.append(asyncio.Event())

        async def second() -> Any:
            await replied[0].wait()
            return await ctx.model(LONG, name="b")

        await asyncio.gather(ctx.model(LONG, name="a"), second())
        return AgentResult("done")

    install(run)
    before_the_first_recording(monkeypatch, lambda: replied[0].set())
    tokens, micro_usd = prices.worst_case("gpt-4o-mini", Call("", LONG, None, None, 1024).payload_bytes, 1024)
    bounds: dict[str, Any] = {"params": {"max_cost_usd": micro_usd * room / 1e6}}
    if ceiling == "day":
        bounds = {"cap_tokens": int(tokens * room)}
    task = world.submit("x", reserved_tokens=tokens, reserved_micro_usd=micro_usd, **bounds)
    world.work()
    row = store.get(task.task_id)
    enough = room > 2
    assert (row.status, world.calls("w")["started"]) == ((Status.COMPLETE, 2) if enough else (Status.FAILED, 1))
    assert row.usage.tokens <= tokens * room
    assert row.micro_usd <= micro_usd * room
    if not enough:
        assert row.error is not None
        assert row.error["code"] == "insufficient_quota"
    elif ceiling == "day":  # what the first did not use of its worst case is there for the second
        assert row.reserved_tokens < 2 * tokens


@pytest.mark.parametrize("ceiling", ["max_cost", "day"])
@pytest.mark.parametrize("on_budget", ["fail", "ask"])
def test_calls_that_do_not_fit_together_are_made_one_after_the_other(
    world: World, install: Install, on_budget: str, ceiling: str
) -> None:
    """Each may cost nearly all that the run may; together they cost a few per cent of it."""

    async def run(ctx: Any) -> AgentResult:
        replies = await asyncio.gather(*(ctx.model(asked("w"), name=name) for name in "abc"))
        return AgentResult(str(len(replies)))

    install(run)
    tokens, micro_usd = prices.worst_case("gpt-4o-mini", Call("", asked("w"), None, None, 1024).payload_bytes, 1024)
    params: dict[str, Any] = {"on_budget": on_budget}
    bounds: dict[str, Any] = {"cap_tokens": int(tokens * 1.2)} if ceiling == "day" else {}
    if ceiling == "max_cost":
        params["max_cost_usd"] = micro_usd * 1.2 / 1e6
    row = ended(world, world.submit("x", params=params, **bounds))
    assert (row.status, row.calls, row.attempt) == (Status.COMPLETE, 3, 0)
    assert 0 < row.micro_usd <= micro_usd * 1.2
    assert world.calls("w") == {"started": 3, "completed": 3, "failed": 0, "aborted": 0}
    calls = world.sim.get("/calls", params={"key": "w"}).json()["calls"]
    assert all(one["ended"] <= after["started"] for one, after in itertools.pairwise(calls))


def test_what_a_call_leaves_is_too_little_for_the_next(world: World, install: Install) -> None:
    async def run(ctx: Any) -> AgentResult:
        found = await asyncio.gather(*(ctx.model(LONG, name=name) for name in "ab"), return_exceptions=True)
        return AgentResult(",".join(type(one).__name__ for one in found))

    install(run)
    _, micro_usd = prices.worst_case("gpt-4o-mini", Call("", LONG, None, None, 1024).payload_bytes, 1024)
    row = ended(world, world.submit("x", params={"max_cost_usd": micro_usd * 1.2 / 1e6}))
    assert (row.status, row.calls) == (Status.COMPLETE, 1)
    assert row.result is not None
    assert row.result["response"] == "ModelReply,BudgetExhausted"
    assert row.micro_usd <= micro_usd * 1.2


@pytest.mark.parametrize("ceiling", ["max_cost_usd", "tokens_per_day", "usd_per_day"])
@pytest.mark.parametrize("over", [0, 1])
def test_a_call_waits_for_another_only_where_it_fits_alone(
    world: World, install: Install, monkeypatch: pytest.MonkeyPatch, ceiling: str, over: int
) -> None:
    """What the other did cost is too much beside it in the end, but nobody knows that before."""
    real = Room.after

    async def after(self: Room, *args: Any, **kwargs: Any) -> bool:
        world.hurry("long")
        return await real(self, *args, **kwargs)

    async def run(ctx: Any) -> AgentResult:
        first = asyncio.create_task(ctx.model(asked("long", LASTING), name="first"))
        await asyncio.to_thread(until, lambda: written(world, "long") > 0)
        with pytest.raises(BudgetExhausted) as refused:
            await ctx.model(asked("w"), max_output_tokens=2048, name="second")
        ended = world.calls("long")["completed"]
        world.hurry("long")
        await first
        assert refused.value.needs == (tokens, micro_usd)
        return AgentResult(f"{refused.value.limit} {ended}")

    monkeypatch.setattr(Room, "after", after)
    install(run)
    tokens, micro_usd = prices.worst_case("gpt-4o-mini", Call("", asked("w"), None, None, 2048).payload_bytes, 2048)
    bounds: dict[str, Any] = {
        "max_cost_usd": {"params": {"max_cost_usd": (micro_usd - over) / 1e6}},
        "tokens_per_day": {"cap_tokens": tokens - over, "reserved_tokens": 0},
        "usd_per_day": {"cap_micro_usd": micro_usd - over, "reserved_micro_usd": 0},
    }[ceiling]
    row = ended(world, world.submit("x", **bounds))
    assert row.result is not None, row.error
    assert row.result["response"] == f"{ceiling} {1 - over}"
    assert world.calls("w")["started"] == 0


def test_calls_that_a_days_ceiling_refuses_do_not_have_each_other_try_again(
    world: World, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one is under way, each of them asks the day's ceiling once, and once more when that is over."""
    asks: list[int] = []
    real = Environment.reserve

    def reserve(*args: Any) -> None:
        asks.append(1)
        if len(asks) == 5:
            world.hurry("long")
        real(*args)

    async def run(ctx: Any) -> AgentResult:
        first = asyncio.create_task(ctx.model(asked("long", LASTING), name="first"))
        await asyncio.to_thread(until, lambda: written(world, "long") > 0)
        others = (ctx.model(asked("w", "words=900"), name=name) for name in "abcd")
        found = await asyncio.gather(first, *others, return_exceptions=True)
        return AgentResult(",".join(type(one).__name__ for one in found))

    monkeypatch.setattr(Environment, "reserve", reserve)
    install(run)
    tokens, micro_usd = prices.worst_case("gpt-4o-mini", Call("", asked("w"), None, None, 1024).payload_bytes, 1024)
    task = world.submit("x", reserved_tokens=tokens, reserved_micro_usd=micro_usd, cap_tokens=int(tokens * 1.1))
    row = ended(world, task)
    assert row.result is not None, row.error
    assert row.result["response"].count("BudgetExhausted") in (3, 4)
    # The first that finds room may end before another looks: once more for each, at most.
    assert len(asks) <= 4 * 3


def test_what_waits_for_room_goes_on_when_the_other_call_fails(world: World, install: Install) -> None:
    async def run(ctx: Any) -> AgentResult:
        calls = (ctx.model(asked("bad", "fail=400"), name="a"), ctx.model(asked("good"), name="b"))
        found = await asyncio.gather(*calls, return_exceptions=True)
        return AgentResult(",".join(type(one).__name__ for one in found))

    install(run)
    _, micro_usd = prices.worst_case("gpt-4o-mini", Call("", asked("good"), None, None, 1024).payload_bytes, 1024)
    row = ended(world, world.submit("x", params={"max_cost_usd": micro_usd * 1.2 / 1e6}))
    assert row.result is not None, row.error
    assert row.result["response"] == "ModelError,ModelReply"


def test_a_call_under_way_when_the_agent_returns_is_aborted_and_charged(world: World, install: Install) -> None:
    async def run(ctx: Any) -> AgentResult:
        fast = asyncio.create_task(ctx.model(asked("fast"), name="fast"))
        slow = asyncio.create_task(ctx.model(asked("slow", LASTING), name="slow"))
        done, _ = await asyncio.wait({fast, slow}, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.to_thread(until, lambda: written(world, "slow") > 10)
        return AgentResult(done.pop().result().content)

    install(run)
    row = ended(world, world.submit("x"))
    assert (row.status, row.calls, row.attempt) == (Status.COMPLETE, 1, 0)
    assert row.usage.output_tokens > 2
    assert spend.load("ann", row.day) == (row.usage.tokens, row.micro_usd)
    assert (world.calls("slow")["completed"], world.calls("slow")["aborted"]) == (0, 1)


def test_a_step_that_begins_after_its_run_is_not_done(world: World, install: Install) -> None:
    late: list[asyncio.Task[Any]] = []

    async def run(ctx: Any) -> AgentResult:
        async def again() -> None:
            for n in range(50):
                try:
                    await ctx.model(asked("slow", LASTING), name=f"again.{n}")
                except asyncio.CancelledError:
                    await asyncio.sleep(0.01)

        late.append(asyncio.create_task(again()))
        late.append(asyncio.create_task(ctx.model(asked("never"))))
        if ctx.message == "later":
            await asyncio.to_thread(until, lambda: all(world.calls(key)["started"] for key in ("slow", "never")))
        return AgentResult("done")

    install(run)
    for message, started in (("now", 0), ("later", 1)):
        row = ended(world, world.submit(message))
        assert row.status is Status.COMPLETE
        world.runner.run(asyncio.sleep(0.3))
        assert world.calls("slow")["started"] == started
    assert world.calls("never")["started"] == 1


def test_an_agent_that_does_not_let_go_pays_no_more(world: World, install: Install) -> None:
    async def run(ctx: Any) -> AgentResult:
        for n in range(1000):
            try:
                await ctx.model(asked("slow", LASTING), name=f"again.{n}")
            except asyncio.CancelledError:
                continue
        return AgentResult("done")

    install(run)
    row = ended(world, world.submit("x", params={"timeout_s": 0.7}))
    assert row.error is not None
    assert row.error["code"] == "timeout"
    started = world.calls("slow")["started"]
    world.runner.run(asyncio.sleep(0.5))
    assert world.calls("slow")["started"] == started <= 2  # one that takes the first for its own error asks once more


def test_calls_under_way_when_a_run_is_cancelled_are_aborted_and_charged(world: World, install: Install) -> None:
    """The agent waits for them in a way that does not cancel them."""

    async def run(ctx: Any) -> AgentResult:
        call = asyncio.create_task(ctx.model(asked("c", LASTING)))
        await asyncio.to_thread(until, lambda: world.calls("c")["started"])
        await asyncio.to_thread(settle.cancel, ctx.task_id, ctx.user)
        await asyncio.wait({call})
        return AgentResult("done")

    install(run)
    task = world.submit("x")
    row = ended(world, task)
    assert (row.status, world.calls("c")["aborted"]) == (Status.CANCELLED, 1)
    assert row.usage.input_tokens > 0
    assert spend.load("ann", row.day) == (row.usage.tokens, row.micro_usd)


def ended(world: World, task: Task) -> Task:
    assert world.work() == []

    def none_is_under_way() -> bool:
        counts = world.calls("slow")
        return counts["started"] == 0 or counts["completed"] + counts["aborted"] == counts["started"]

    until(none_is_under_way, 30)  # else the provider still works for a run that ended
    return store.get(task.task_id)


def test_an_agent_that_cancels_itself_has_failed(world: World, install: Install) -> None:
    runs: list[int] = []

    async def run(ctx: Any) -> AgentResult:
        runs.append(1)
        part = asyncio.create_task(asyncio.sleep(10))
        part.cancel()
        await part
        return AgentResult("done")

    install(run)
    task = world.submit("x")
    world.work()
    row = store.get(task.task_id)
    assert (row.status, row.attempt, row.continuations) == (Status.QUEUED, 1, 0)
    world.work_until_quiet()
    row = store.get(task.task_id)
    assert row.error is not None
    assert (row.status, row.error["code"], len(runs)) == (Status.FAILED, "agent_error", 4)
    assert "CancelledError" in row.error["message"]
