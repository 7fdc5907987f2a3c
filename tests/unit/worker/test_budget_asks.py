"""Ceilings that a run asks about before it passes them: raised once by an answer, whatever dies or comes twice."""

import asyncio
from typing import Any

import pytest

from functions.worker import agents
from shared import clock
from shared.errors import Conflict, IdempotencyMismatch, NotFound
from shared.limits import prices
from shared.limits.admission import Gate
from shared.tasks import approvals, ceilings, checkpoints, claims, events, family, inbox, settle, spend, store, waking
from shared.tasks.model import Status, Task
from sluice import AgentResult, BudgetExhausted, Context
from tests.unit.worker.conftest import Install, OneAgent, World

USD = 1_000_000


def question(task: Task) -> dict[str, Any]:
    (one,) = approvals.pending(store.get(task.task_id))
    return one


def answer(task: Task, decision: str = "allow", *, by: int = 0, fingerprint: str | None = None) -> inbox.Receipt:
    """Answer a task's question as the API does; ``by`` in micro-USD or tokens."""
    row = store.get(task.task_id)
    asked = approvals.find(row, fingerprint or question(task)["fingerprint"])
    payload: dict[str, Any] = {"decision": decision, "user": "ann", "limit": (asked.more or {})["budget"]["limit"]}
    if by:
        payload["raise"] = by
    receipt = inbox.post(task.task_id, asked.name, payload, key=str(asked.nth), by="key-1", early=False)
    if receipt.woken:
        waking.send(Gate(spend.load), receipt.task)
    return receipt


def asking(max_cost_usd: float = 0.000001, **more: Any) -> dict[str, Any]:
    return {"max_cost_usd": max_cost_usd, "on_budget": "ask", "max_output_tokens": 100, **more}


async def one_call(ctx: Context) -> AgentResult:
    reply = await ctx.model([{"role": "user", "content": ctx.message}])
    return AgentResult(reply.content)


def test_a_run_asks_before_its_ceiling_and_goes_on_when_it_is_raised(world: World, install: Install) -> None:
    install(one_call)
    task = world.submit("[[sim key=a say=hello]]", params=asking())
    world.work()
    assert world.calls("a")["started"] == 0
    row = store.get(task.task_id)
    assert (row.status, row.waiting_for[0]["kind"]) == (Status.WAITING, "approval")
    asked = question(task)
    budget = asked["budget"]
    assert (budget["limit"], budget["unit"], budget["raised_by"], budget["ceiling"]) == (
        "max_cost_usd",
        "usd",
        "owner",
        0.000001,
    )
    assert (asked["cost_usd"], budget["next"] > 0.000001) == (0, True)
    answer(task, by=round(budget["next"] * USD))
    world.work()
    row = store.get(task.task_id)
    assert (row.status, world.calls("a")["completed"], row.raised) == (
        Status.COMPLETE,
        1,
        {"max_cost_usd": round(budget["next"] * USD)},
    )
    assert row.micro_usd <= (ceilings.own(row) or 0)
    told = [event.data for event in events.read(task.task_id, 0).events if event.type == "budget_raised"]
    assert told == [{"limit": "max_cost_usd", "by": budget["next"]}]


def test_a_denial_lets_it_fail_as_without_asking(world: World, install: Install) -> None:
    install(one_call)
    asks, fails = world.submit("x", params=asking()), world.submit("x", params={"max_cost_usd": 0.000001})
    world.work()
    answer(asks, "deny")
    world.work()
    errors = [store.get(task.task_id).error for task in (asks, fails)]
    assert errors[0] == errors[1]
    assert (errors[0] or {})["code"] == "insufficient_quota"


def test_after_a_denial_nothing_is_asked_again(world: World, install: Install) -> None:
    async def run(ctx: Context) -> AgentResult:
        for _ in range(2):
            with pytest.raises(BudgetExhausted):
                await ctx.model([{"role": "user", "content": "x"}])
        await ctx.sleep(100)
        with pytest.raises(BudgetExhausted):
            await ctx.model([{"role": "user", "content": "x"}])
        return AgentResult("cheap")

    install(run)
    task = world.submit("x", params=asking())
    world.work()
    answer(task, "deny")
    world.work()
    assert store.get(task.task_id).waiting_for[0]["kind"] == "sleep"
    clock.set_ahead(200)
    try:
        world_again(world, task)
    finally:
        clock.set_ahead(0)
    assert (settle.result_of(store.get(task.task_id)) or {})["response"] == "cheap"


def world_again(world: World, task: Task) -> None:
    """Have a worker take a task whose wait is over."""
    from shared.tasks import lanes

    lanes.send(task.lane, task.task_id, store.get(task.task_id).gen, user=task.user)
    world.work()


def test_a_raise_that_is_too_small_is_asked_about_again(world: World, install: Install) -> None:
    install(one_call)
    task = world.submit("[[sim key=a say=hello]]", params=asking())
    world.work()
    first = question(task)
    answer(task, by=1)
    world.work()
    second = question(task)
    assert first["fingerprint"] != second["fingerprint"]
    assert second["budget"]["ceiling"] == 0.000002
    with pytest.raises(NotFound):  # the first question is answered; it takes no second answer
        answer(task, by=USD, fingerprint=first["fingerprint"])
    answer(task, by=USD)
    world.work()
    assert store.get(task.task_id).status is Status.COMPLETE
    assert world.calls("a")["completed"] == 1


def test_the_first_answer_counts_and_the_same_once_more_raises_nothing(world: World, install: Install) -> None:
    install(one_call)
    task = world.submit("x", params=asking())
    world.work()
    fingerprint = question(task)["fingerprint"]
    answer(task, by=USD)
    assert answer(task, by=USD, fingerprint=fingerprint).repeat
    with pytest.raises(IdempotencyMismatch):
        answer(task, by=2 * USD, fingerprint=fingerprint)
    with pytest.raises(IdempotencyMismatch):
        answer(task, "deny", fingerprint=fingerprint)
    world.work()
    row = store.get(task.task_id)
    assert (row.status, row.raised) == (Status.COMPLETE, {"max_cost_usd": USD})


@pytest.mark.parametrize("dies_before", [True, False])
def test_a_worker_that_dies_beside_the_raise_raises_once(
    world: World, install: Install, monkeypatch: pytest.MonkeyPatch, dies_before: bool
) -> None:
    install(one_call)
    task = world.submit("[[sim key=a say=hello]]", params=asking())
    world.work()
    answer(task, by=USD)
    record, died = checkpoints.record, []

    def record_and_die(*args: Any, **kwargs: Any) -> None:
        if kwargs.get("raised") and not died:
            died.append(1)
            if not dies_before:
                record(*args, **kwargs)
            from shared.errors import LeaseLost

            raise LeaseLost("this worker is gone")
        record(*args, **kwargs)

    monkeypatch.setattr(checkpoints, "record", record_and_die)
    records = world.receive()
    world.invoke(records)
    world.lapse(task.task_id)
    world.invoke(records)
    row = store.get(task.task_id)
    assert died
    assert (row.status, row.raised, world.calls("a")["completed"]) == (Status.COMPLETE, {"max_cost_usd": USD}, 1)


def test_a_message_that_comes_twice_asks_and_raises_once(world: World, install: Install) -> None:
    install(one_call)
    task = world.submit("[[sim key=a say=hello]]", params=asking())
    world.work()
    first = question(task)
    for gen in range(3):
        assert isinstance(claims.claim(task.task_id, gen), claims.Refused)
    assert question(task) == first
    answer(task, by=USD)
    world_again(world, task)
    world.work()
    assert store.get(task.task_id).raised == {"max_cost_usd": USD}
    assert world.calls("a")["completed"] == 1


def test_branches_that_trip_together_ask_one_question(world: World, install: Install) -> None:
    async def run(ctx: Context) -> AgentResult:
        messages = [{"role": "user", "content": ctx.message}]
        replies = await asyncio.gather(*(ctx.model(messages, name=f"m{n}") for n in range(3)))
        return AgentResult(" ".join(reply.content for reply in replies))

    install(run)
    task = world.submit("[[sim key=a say=hi]]", params=asking())
    world.work()
    question(task)  # one
    answer(task, by=USD)
    world.work()
    row = store.get(task.task_id)
    assert (row.status, world.calls("a")["completed"], row.raised) == (Status.COMPLETE, 3, {"max_cost_usd": USD})


def test_other_branches_go_on_while_it_asks(world: World, install: Install) -> None:
    done: list[str] = []

    async def cheap(ctx: Context) -> None:
        async def work() -> str:
            done.append("cheap")
            return "ok"

        await ctx.step("cheap", work)

    async def run(ctx: Context) -> AgentResult:
        reply, _ = await asyncio.gather(ctx.model([{"role": "user", "content": "x"}]), cheap(ctx))
        return AgentResult(reply.content)

    install(run)
    task = world.submit("x", params=asking())
    world.work()
    assert (store.get(task.task_id).status, done) == (Status.WAITING, ["cheap"])
    answer(task, by=USD)
    world.work()
    assert (store.get(task.task_id).status, done) == (Status.COMPLETE, ["cheap"])


def test_it_ends_while_it_asks_when_it_is_cancelled(world: World, install: Install) -> None:
    install(one_call)
    task = world.submit("x", params=asking())
    world.work()
    fingerprint = question(task)["fingerprint"]
    settle.cancel(task.task_id, "ann")
    assert store.get(task.task_id).status is Status.CANCELLED
    with pytest.raises((NotFound, Conflict)):
        answer(task, by=USD, fingerprint=fingerprint)


def worst(message: str, output_tokens: int = 100) -> int:
    from shared.tasks.model import dumps

    return prices.worst_case(
        "gpt-4o-mini", len(dumps([[{"role": "user", "content": message}], None, {}]).encode()), output_tokens
    )[1]


@pytest.fixture
def team(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    runs: dict[str, Any] = {"worker": one_call}
    monkeypatch.setattr(agents, "load", lambda name: OneAgent(runs[name]))
    monkeypatch.setattr(agents, "names", lambda: tuple(runs))
    return runs


def test_a_childs_raise_is_one_of_its_whole_tree(world: World, team: dict[str, Any]) -> None:
    """What the child does not use of it is its parent's again, and the tree never costs more than its ceilings."""
    message = "[[sim key=a say=hello]]"

    async def boss(ctx: Context) -> AgentResult:
        await ctx.map("worker", [message, message], max_output_tokens=100)
        reply = await ctx.model([{"role": "user", "content": "[[sim key=b say=bye]]"}])
        return AgentResult(reply.content)

    team["boss"] = boss
    each = worst(message) // 2  # too little for any call
    task = world.submit("go", agent="boss", params=asking(2 * each / USD))
    world.work()
    world.work()
    (group,) = family.groups(task.task_id)
    children = [store.get(one) for one in family.ids(task.task_id, group)]
    assert [child.status for child in children] == [Status.WAITING] * 2
    for child in children:
        answer(child, by=2 * worst(message))
    world.work_until_quiet()
    row = store.get(task.task_id)
    spent = row.micro_usd + sum(store.get(child.task_id).micro_usd for child in children)
    assert (row.status, world.calls("a")["completed"], world.calls("b")["completed"]) == (Status.COMPLETE, 2, 1)
    assert row.raised == {"max_cost_usd": 4 * worst(message)}
    assert spent <= (ceilings.own(row) or 0)


def test_a_parent_asks_when_nothing_is_left_for_its_children(world: World, team: dict[str, Any]) -> None:
    async def boss(ctx: Context) -> AgentResult:
        found = await ctx.map("worker", ["[[sim key=a say=hello]]"] * 3, max_output_tokens=100)
        return AgentResult(found[0].response)

    team["boss"] = boss
    task = world.submit("go", agent="boss", params=asking(2 / USD))
    world.work()
    row = store.get(task.task_id)
    assert (row.children, question(task)["budget"]["next"]) == (0, None)
    answer(task, by=USD)
    world.work_until_quiet()
    assert (store.get(task.task_id).status, world.calls("a")["completed"]) == (Status.COMPLETE, 3)


def test_a_denied_child_fails_and_its_parent_is_told(world: World, team: dict[str, Any]) -> None:
    async def boss(ctx: Context) -> AgentResult:
        found = await ctx.map("worker", ["x"], on_error="return", max_output_tokens=100)
        return AgentResult(found[0].error["code"])

    team["boss"] = boss
    task = world.submit("go", agent="boss", params=asking(0.000002))
    world.work()
    world.work()
    (group,) = family.groups(task.task_id)
    (child,) = (store.get(one) for one in family.ids(task.task_id, group))
    answer(child, "deny")
    world.work_until_quiet()
    assert (settle.result_of(store.get(task.task_id)) or {})["response"] == "insufficient_quota"
    assert world.calls("x")["started"] == 0


DAY = {"tier": "standard", "reserved_tokens": 0, "reserved_micro_usd": 0}


def test_a_days_budget_is_raised_for_the_run_alone(world: World, install: Install) -> None:
    install(one_call)
    task = world.submit("[[sim key=a say=hello]]", params=asking(1.0), cap_micro_usd=1, **DAY)
    other = world.submit("[[sim key=b say=hello]]", params={"max_output_tokens": 100}, cap_micro_usd=1, **DAY)
    world.work()
    budget = question(task)["budget"]
    assert (budget["limit"], budget["raised_by"], budget["ceiling"]) == ("usd_per_day", "operator", 0.000001)
    answer(task, by=USD)
    world.work()
    row = store.get(task.task_id)
    assert (row.status, row.raised) == (Status.COMPLETE, {"usd_per_day": USD})
    assert (store.get(other.task_id).error or {})["code"] == "insufficient_quota"


def test_a_days_tokens_are_asked_for_in_tokens(world: World, install: Install) -> None:
    install(one_call)
    task = world.submit("[[sim key=a say=hello]]", params=asking(1.0), cap_tokens=5, **DAY)
    world.work()
    budget = question(task)["budget"]
    assert (budget["limit"], budget["unit"], budget["ceiling"], budget["next"] > 100) == (
        "tokens_per_day",
        "tokens",
        5,
        True,
    )
    answer(task, by=budget["next"])
    world.work()
    assert store.get(task.task_id).status is Status.COMPLETE


def test_another_days_budget_ends_the_question(world: World, install: Install) -> None:
    async def run(ctx: Context) -> AgentResult:
        messages = [{"role": "user", "content": ctx.message}]
        await ctx.model(messages)
        return AgentResult((await ctx.model(messages)).content)

    install(run)
    message = "[[sim key=a words=40]]"
    task = world.submit(message, params=asking(1.0), cap_micro_usd=worst(message), **DAY)
    world.work()
    waiting = store.get(task.task_id)
    assert (waiting.status, question(task)["budget"]["limit"]) == (Status.WAITING, "usd_per_day")
    midnight = (int(clock.now()) // 86_400 + 1) * 86_400
    assert midnight <= waiting.next_try_at <= midnight + 60
    clock.set_ahead(waiting.next_try_at - clock.now() + 1)
    try:
        world_again(world, task)
    finally:
        clock.set_ahead(0)
    assert (store.get(task.task_id).status, world.calls("a")["completed"]) == (Status.COMPLETE, 2)


def test_children_are_held_against_every_ceiling_of_their_parent(world: World, team: dict[str, Any]) -> None:
    async def boss(ctx: Context) -> AgentResult:
        return await ctx.run("worker", "x")

    team["boss"] = boss
    caps = {"cap_tokens": 1_000_001, "cap_micro_usd": 1_000_002, "cap_key_tokens": 1_000_003, "cap_key_micro_usd": 4}
    task = world.submit("go", agent="boss", user="shop/ann", raised={"usd_per_day": 7}, **caps)
    world.work()
    (group,) = family.groups(task.task_id)
    child = store.get(family.ids(task.task_id, group)[0])
    assert {name: getattr(child, name) for name in caps} == caps
    assert child.raised == {"usd_per_day": 7}
