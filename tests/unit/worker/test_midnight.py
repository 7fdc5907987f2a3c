"""Money over the border of a day, the clock set to just before it: each call is of one day, whatever becomes of it."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from functions.worker.environment.environment import Environment
from functions.worker.model import step
from shared import clock, valkey
from shared.errors import LeaseLost
from shared.limits import names, prices
from shared.settings import settings
from shared.tasks import checkpoints, days, lanes, settle, spend, store
from shared.tasks.model import Status, Task, Usage
from sluice import AgentResult, BudgetExhausted, Context
from tests.unit.worker.conftest import Install, World
from tests.unit.worker.raw_provider import Answer, RawProvider, delta, provider, refused, sse

__all__ = ["provider"]

DAY_S = 86_400
CAPS: dict[str, Any] = {"cap_tokens": 10**6, "cap_micro_usd": 10**9, "reserved_tokens": 0, "reserved_micro_usd": 0}
MODEL = "gpt-4o-mini"
USED = Usage(100, 10, prices.cost_micro_usd(MODEL, 100, 10))
GOOD = sse(
    delta("fine"), delta(finish="stop"), {"choices": [], "usage": {"prompt_tokens": 100, "completion_tokens": 10}}
)
SAID = [{"role": "user", "content": "hi"}]


class Midnight:
    """The clock of a process that stands before a midnight, and passes it on command."""

    def __init__(self) -> None:
        at = time.time()
        self.border = (at // DAY_S + 2) * DAY_S  # of tomorrow: whole minutes away, whatever the hour
        self.first, self.second = clock.day(self.border - 1), clock.day(self.border + 1)
        self.be(-5)

    def be(self, seconds: float) -> None:
        """Let it be so long after midnight."""
        clock.set_ahead(self.border + seconds - time.time())


@pytest.fixture
def midnight() -> Iterator[Midnight]:
    yield Midnight()
    clock.set_ahead(0)


@pytest.fixture(autouse=True)
def answers(provider: RawProvider) -> None:
    provider.answers = [GOOD]


def passing(midnight: Midnight, answer: Answer) -> Answer:
    """Return an answer in whose midst midnight passes."""
    assert isinstance(answer.body, bytes)
    first, rest = answer.body[:20], answer.body[20:]

    def body() -> Iterator[bytes]:
        yield first
        midnight.be(1)
        yield rest

    return Answer(body())


def balanced(task: Task, midnight: Midnight) -> dict[str, tuple[int, int]]:
    """Return what a run used on each day, after a look at the books: they agree, and nothing is held."""
    row = store.get(task.task_id)
    used = days.by_day(row)
    assert sum(one[0] for one in used.values()) == row.usage.tokens
    assert sum(one[1] for one in used.values()) == row.micro_usd
    for day in (midnight.first, midnight.second):
        assert spend.load("ann", day) == used.get(day, (0, 0)), day
        held = valkey.client().hmget(names.spend_key("ann", day), "tr", "mr")
        assert [int(one or 0) for one in held] == [0, 0], day
    assert valkey.client().zcard(names.OPEN) == 0
    return {day: one for day, one in used.items() if any(one)}


def of(*uses: Usage) -> tuple[int, int]:
    return sum(use.tokens for use in uses), sum(use.micro_usd for use in uses)


def submit(world: World, midnight: Midnight, **changes: Any) -> Task:
    return world.submit("hi", **(CAPS | changes))


def deliver(world: World, task: Task) -> Task:
    row = store.get(task.task_id)
    lanes.send(row.lane, row.task_id, row.gen, user=row.user)
    world.work()
    return store.get(task.task_id)


def two_calls(between: Callable[[Context], Any]) -> Callable[[Context], Any]:
    async def agent(ctx: Context) -> AgentResult:
        await ctx.model(SAID)
        await between(ctx)
        return AgentResult((await ctx.model(SAID)).content)

    return agent


def test_a_call_over_midnight_is_of_the_first_day_and_the_next_of_the_second(
    world: World, provider: RawProvider, install: Install, midnight: Midnight
) -> None:
    async def nothing(_: Context) -> None:
        return

    provider.answers = [passing(midnight, GOOD), GOOD]
    install(two_calls(nothing))
    task = submit(world, midnight)
    world.work()
    assert balanced(task, midnight) == {midnight.first: of(USED), midnight.second: of(USED)}


def test_a_retry_after_midnight_is_of_the_second_day_and_the_cut_call_of_the_first(
    world: World, provider: RawProvider, midnight: Midnight
) -> None:
    provider.answers = [sse(*[delta(" word")] * 40, done=False), GOOD]
    task = submit(world, midnight)
    world.work()
    assert store.get(task.task_id).status is Status.QUEUED
    midnight.be(60)
    assert deliver(world, task).status is Status.COMPLETE
    used = balanced(task, midnight)
    assert used[midnight.second] == of(USED)
    assert used[midnight.first][0] >= 40


def test_a_wait_that_a_provider_asks_for_may_pass_midnight(
    world: World, provider: RawProvider, midnight: Midnight
) -> None:
    provider.answers = [refused(429, {"error": {"message": "slow down"}}, **{"retry-after": "3600"}), GOOD]
    task = submit(world, midnight)
    world.work()
    row = store.get(task.task_id)
    assert row.next_try_at > midnight.border + 3_500
    midnight.be(row.next_try_at - midnight.border + 1)
    assert deliver(world, task).status is Status.COMPLETE
    assert balanced(task, midnight) == {midnight.second: of(USED)}


def test_a_refusal_by_the_second_days_ceiling_keeps_the_firsts_charge_and_holds_nothing(
    world: World, provider: RawProvider, install: Install, midnight: Midnight
) -> None:
    async def pass_midnight(_: Context) -> None:
        midnight.be(1)

    other = Task(task_id="o", user="ann", lane="normal", agent="chat", model="m", created=1.0, day=midnight.second)
    spend.lost(other, Usage(999_990, 0, 0, midnight.second))
    install(two_calls(pass_midnight))
    task = submit(world, midnight)
    world.work()
    row = store.get(task.task_id)
    assert row.error is not None
    assert (row.status, row.error["code"], len(provider.asked)) == (Status.FAILED, "insufficient_quota", 1)
    assert spend.load("ann", midnight.first) == of(USED)
    assert spend.load("ann", midnight.second) == (999_990, 0)
    for day in (midnight.first, midnight.second):
        assert [int(one or 0) for one in valkey.client().hmget(names.spend_key("ann", day), "tr", "mr")] == [0, 0]


@pytest.mark.parametrize("how", ["suspended", "taken over"])
def test_a_call_that_the_first_day_refused_is_refused_in_a_replay_on_the_second(
    world: World,
    provider: RawProvider,
    install: Install,
    midnight: Midnight,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
) -> None:
    """Made then, its run would not come to the step that it did without it."""
    real = checkpoints.record
    recorded: list[int] = []

    def record(*args: Any, **kwargs: Any) -> None:
        recorded.append(1)
        if how == "taken over" and len(recorded) == 2:
            raise LeaseLost("dead")
        real(*args, **kwargs)

    async def note() -> str:
        return "tomorrow"

    async def agent(ctx: Context) -> AgentResult:
        try:
            return AgentResult((await ctx.model(SAID)).content)
        except BudgetExhausted as error:
            said = f"{await ctx.step('note', note)}: {error}, "
        if how == "suspended":
            await ctx.sleep(600)
        else:
            await ctx.step("lost", note)
        return AgentResult(said + (await ctx.model(SAID)).content)

    monkeypatch.setattr(checkpoints, "record", record)
    other = Task(task_id="o", user="ann", lane="normal", agent="chat", model="m", created=1.0, day=midnight.first)
    spend.lost(other, Usage(999_990, 0, 0, midnight.first))
    install(agent)
    task = submit(world, midnight)
    records = world.receive()
    world.invoke(records)
    assert provider.asked == []
    midnight.be(601)
    if how == "suspended":
        row = deliver(world, task)
    else:
        world.lapse(task.task_id)
        world.invoke(records)
        row = store.get(task.task_id)
    assert (row.status, len(provider.asked)) == (Status.COMPLETE, 1), row.error
    assert (row.result or {})["response"] == "tomorrow: the budget tokens_per_day does not cover this call, fine"
    assert spend.load("ann", midnight.second) == of(USED)


def test_a_full_first_day_does_not_stop_a_call_of_the_second(
    world: World, provider: RawProvider, midnight: Midnight
) -> None:
    other = Task(task_id="o", user="ann", lane="normal", agent="chat", model="m", created=1.0, day=midnight.first)
    spend.lost(other, Usage(999_990, 0, 0, midnight.first))
    task = submit(world, midnight)
    midnight.be(1)
    world.work()
    assert store.get(task.task_id).status is Status.COMPLETE
    assert spend.load("ann", midnight.first) == (999_990, 0)
    assert spend.load("ann", midnight.second) == of(USED)


def test_a_takeover_on_the_second_day_repeats_nothing_and_charges_each_call_to_its_day(
    world: World, provider: RawProvider, install: Install, midnight: Midnight, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(_: Context) -> None:
        return

    real = checkpoints.record
    recorded: list[int] = []

    def dies(*args: Any, **kwargs: Any) -> None:
        """Record the first step; the second's call is paid for, and its worker has lost the run by then."""
        recorded.append(1)
        if len(recorded) == 2:
            raise LeaseLost("dead")
        real(*args, **kwargs)

    monkeypatch.setattr(checkpoints, "record", dies)
    install(two_calls(nothing))
    task = submit(world, midnight)
    records = world.receive()
    world.invoke(records)
    midnight.be(120)
    world.lapse(task.task_id)
    world.invoke(records)
    assert store.get(task.task_id).status is Status.COMPLETE
    assert len(provider.asked) == 3, "only the call that nobody had recorded is made again"
    assert spend.load("ann", midnight.first) == of(USED, USED)
    assert spend.load("ann", midnight.second) == of(USED)
    assert valkey.client().zcard(names.OPEN) == 0


def test_a_run_that_waits_over_midnight_goes_on_on_the_second_days_money(
    world: World, provider: RawProvider, install: Install, midnight: Midnight
) -> None:
    async def sleep(ctx: Context) -> None:
        await ctx.sleep(600)

    install(two_calls(sleep))
    task = submit(world, midnight)
    world.work()
    assert store.get(task.task_id).status is Status.WAITING
    assert spend.load("ann", midnight.first) == of(USED), "a run that waits has paid"
    midnight.be(601)
    assert deliver(world, task).status is Status.COMPLETE
    assert len(provider.asked) == 2
    assert balanced(task, midnight) == {midnight.first: of(USED), midnight.second: of(USED)}


def test_a_fallback_that_answers_on_the_second_day_is_charged_there_under_its_own_name(
    world: World, provider: RawProvider, install: Install, midnight: Midnight, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FALLBACK_MODELS", "gpt-4o")
    monkeypatch.setenv("BREAKER_FAILURES", "1")
    settings.cache_clear()

    quota = {"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}}
    provider.answers = [GOOD, refused(429, quota), GOOD]

    async def broken(ctx: Context) -> None:
        from shared.retry import ModelError

        with pytest.raises(ModelError):
            await ctx.model(SAID)
        midnight.be(1)

    install(two_calls(broken))
    task = submit(world, midnight)
    world.work()
    row = store.get(task.task_id)
    assert row.status is Status.COMPLETE, row.error
    assert [one["model"] for one in provider.asked] == [MODEL, MODEL, "gpt-4o"]
    dear = Usage(100, 10, prices.cost_micro_usd("gpt-4o", 100, 10))
    assert balanced(task, midnight) == {midnight.first: of(USED), midnight.second: of(dear)}
    assert days.by_model(row)[midnight.second] == {"gpt-4o": of(dear)}


def test_parallel_calls_on_both_sides_of_midnight_are_each_of_their_day(
    world: World, provider: RawProvider, install: Install, midnight: Midnight
) -> None:
    import asyncio

    provider.answers = [passing(midnight, GOOD), GOOD]

    async def agent(ctx: Context) -> AgentResult:
        async def later() -> Any:
            while clock.now() < midnight.border:  # noqa: ASYNC110 - the clock tells nobody
                await asyncio.sleep(0.01)
            return await ctx.model(SAID, name="two")

        await asyncio.gather(ctx.model(SAID, name="one"), later())
        return AgentResult("both")

    install(agent)
    task = submit(world, midnight)
    world.work()
    assert balanced(task, midnight) == {midnight.first: of(USED), midnight.second: of(USED)}


def test_a_run_that_is_cancelled_after_midnight_is_charged_for_the_call_of_the_first_day(
    world: World, provider: RawProvider, midnight: Midnight
) -> None:
    task = submit(world, midnight)

    def body() -> Iterator[bytes]:
        word = sse(delta(" word"), done=False).body
        assert isinstance(word, bytes)
        yield word * 40
        midnight.be(1)
        settle.cancel(task.task_id, "ann")
        for _ in range(1200):  # who has cancelled hangs up
            yield b": waiting\n\n"
            time.sleep(0.05)

    provider.answers = [Answer(body())]
    world.work()
    assert store.get(task.task_id).status is Status.CANCELLED
    used = balanced(task, midnight)
    assert list(used) == [midnight.first]
    assert used[midnight.first][0] >= 40


def test_calls_that_meet_at_midnight_have_one_ceiling(
    world: World, install: Install, midnight: Midnight, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One begins the day, and the other comes meanwhile: there is room for one of them at a time."""
    asked: list[int] = []
    at_once: list[int] = []
    both = threading.Event()
    real, change_day = step.reserved, Environment.change_day

    async def reserved(task: Task, ledger: Any, tokens: int, micro_usd: int, *rest: Any) -> Any:
        asked.append(micro_usd)
        if len(asked) > 2:  # behind the run that finds out what a call may cost
            both.set()
        made = await real(task, ledger, tokens, micro_usd, *rest)
        at_once.append(ledger.calls)
        return made

    def change(*given: Any) -> None:
        assert len(asked) < 2 or both.wait(60)
        change_day(*given)

    async def agent(ctx: Context) -> AgentResult:
        if len(asked):
            midnight.be(1)
        calls = (ctx.model(SAID, name=name) for name in ("a", "b")[: 1 + len(asked)])
        made = await asyncio.gather(*calls, return_exceptions=True)
        return AgentResult(" ".join(sorted(type(one).__name__ for one in made)))

    monkeypatch.setattr(step, "reserved", reserved)
    monkeypatch.setattr(Environment, "change_day", change)
    install(agent)
    deliver(world, submit(world, midnight))
    task = submit(world, midnight, params={"max_cost_usd": asked[0] * 1.5 / 1e6})
    ended = deliver(world, task)
    assert (settle.result_of(ended) or {})["response"] == "ModelReply ModelReply"
    assert at_once == [1, 1, 1]
