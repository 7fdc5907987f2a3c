"""Calls that a person must allow: bound to the very call, made once, and what was answered is kept."""

import asyncio
from typing import Any

import pytest

from functions.worker.agents import tools
from shared.errors import Conflict, IdempotencyMismatch, NotFound
from shared.limits.admission import Gate
from shared.tasks import approvals, checkpoints, events, inbox, settle, spend, store, waking
from shared.tasks.model import Status, Task
from sluice import AgentResult, Context, Denied
from tests.unit.worker.conftest import Install, World


def answer(task: Task, decision: str, fingerprint: str | None = None, **more: Any) -> inbox.Receipt:
    """Answer a task's approval, its only one if none is named, as the API does."""
    row = store.get(task.task_id)
    asked = approvals.find(row, fingerprint or approvals.pending(row)[0]["fingerprint"])
    payload = {"decision": decision, "user": "ann", **more}
    receipt = inbox.post(task.task_id, asked.name, payload, key=str(asked.nth), by="key-1", early=False)
    if receipt.woken:
        waking.send(Gate(spend.load), receipt.task)
    return receipt


def response(task: Task) -> str:
    return str((settle.result_of(store.get(task.task_id)) or {})["response"])


class Payment:
    """A tool that must not be called twice."""

    def __init__(self) -> None:
        self.made: list[dict[str, Any]] = []

    async def __call__(self, arguments: dict[str, Any]) -> str:
        self.made.append(arguments)
        return f"paid {arguments['amount']}"


def payer(pay: Payment, **how: Any) -> Any:
    async def run(ctx: Context) -> AgentResult:
        try:
            return AgentResult(await ctx.tool("pay", pay, {"amount": 100}, **({"approve": True} | how)))
        except Denied as denied:
            return AgentResult(f"no: {denied.reason}")

    return run


def test_a_call_waits_until_it_is_allowed_and_is_made_once(world: World, install: Install) -> None:
    pay = Payment()
    install(payer(pay))
    task = world.submit("buy")
    world.work()
    (asked,) = approvals.pending(store.get(task.task_id))
    assert (asked["tool"], asked["arguments"], asked["editable"], asked["cost_usd"]) == (
        "pay",
        {"amount": 100},
        True,
        0,
    )
    assert asked["fingerprint"] == checkpoints.fingerprint(["pay", {"amount": 100}])
    assert pay.made == []
    answer(task, "allow")
    world.work()
    assert (response(task), pay.made) == ("paid 100", [{"amount": 100}])
    recorded = checkpoints.load(task.task_id)[asked["name"], 1].value
    assert (recorded["by"], recorded["payload"]["user"], recorded["payload"]["decision"]) == ("key-1", "ann", "allow")
    assert recorded["at"].startswith("20")


def test_a_denied_call_is_not_made_and_the_reason_is_told(world: World, install: Install) -> None:
    pay = Payment()
    install(payer(pay))
    task = world.submit("buy")
    world.work()
    answer(task, "deny", reason="too dear")
    world.work()
    assert (response(task), pay.made) == ("no: too dear", [])


def test_a_denial_that_nobody_catches_ends_the_run(world: World, install: Install) -> None:
    async def run(ctx: Context) -> AgentResult:
        return AgentResult(await ctx.tool("pay", Payment(), {"amount": 1}, approve=True))

    install(run)
    task = world.submit("buy")
    world.work()
    answer(task, "deny")
    world.work()
    assert (store.get(task.task_id).error or {})["code"] == "denied"


def test_arguments_can_be_changed_with_the_answer(world: World, install: Install) -> None:
    pay = Payment()
    install(payer(pay))
    task = world.submit("buy")
    world.work()
    answer(task, "allow", arguments={"amount": 50})
    world.work()
    assert (response(task), pay.made) == ("paid 50", [{"amount": 50}])
    shown = [event.data["arguments"] for event in events.read(task.task_id, 0).events if event.type == "tool_call"]
    assert shown == [{"amount": 50}]


@pytest.mark.parametrize(("limit", "asks"), [(99, True), (100, False)])
def test_a_rule_says_which_calls_must_be_allowed(world: World, install: Install, limit: int, asks: bool) -> None:
    pay = Payment()
    install(payer(pay, approve=lambda arguments: arguments["amount"] > limit))
    task = world.submit("buy")
    world.work()
    assert (store.get(task.task_id).status is Status.WAITING) == asks
    assert len(pay.made) == (not asks)


def test_an_answer_is_for_one_call_only(world: World, install: Install) -> None:
    amount = 100

    async def run(ctx: Context) -> AgentResult:
        return AgentResult(await ctx.tool("pay", pay, {"amount": amount}, approve=True))

    pay = Payment()
    install(run)
    task = world.submit("buy")
    world.work()
    first = approvals.pending(store.get(task.task_id))[0]["fingerprint"]
    inbox.post(task.task_id, "other", None)
    amount = 10_000  # its code or its data changed meanwhile
    answer(task, "allow", first)
    world.work()
    row = store.get(task.task_id)
    assert (row.status, pay.made) == (Status.WAITING, [])
    assert approvals.pending(row)[0]["fingerprint"] != first
    with pytest.raises(NotFound):
        approvals.find(row, first)


def test_several_calls_are_asked_for_together_and_each_made_once(world: World, install: Install) -> None:
    pay = Payment()

    async def run(ctx: Context) -> AgentResult:
        calls = (ctx.tool(f"pay.{n}", pay, {"amount": n}, approve=True, tool="pay") for n in (1, 2, 3))
        return AgentResult(" ".join(await asyncio.gather(*calls)))

    install(run)
    task = world.submit("buy")
    world.work()
    asked = approvals.pending(store.get(task.task_id))
    assert {one["tool"] for one in asked} == {"pay"}
    assert answer(task, "allow", asked[0]["fingerprint"]).woken
    assert not answer(task, "allow", asked[1]["fingerprint"]).woken  # it is on its way already
    world.work()
    assert store.get(task.task_id).status is Status.WAITING
    assert answer(task, "allow", asked[2]["fingerprint"]).woken
    world.work()
    assert response(task) == "paid 1 paid 2 paid 3"
    assert sorted(one["amount"] for one in pay.made) == [1, 2, 3]


@pytest.mark.parametrize("second", ["allow", "deny"])
def test_the_same_call_made_twice_beside_itself_takes_two_answers(world: World, install: Install, second: str) -> None:
    """Whichever branch looks first, an answer is for one of them: the other one's must not count as a repeat."""
    pay = Payment()

    async def run(ctx: Context) -> AgentResult:
        async def one(n: int) -> str:
            await asyncio.sleep(0.02 * (2 - n) if store.get(ctx.task_id).signals else 0)  # the second comes first now
            return str(await ctx.tool(f"pay.{n}", pay, {"amount": 1}, approve=True, tool="pay"))

        results = await asyncio.gather(one(1), one(2), return_exceptions=True)
        return AgentResult(" ".join("denied" if isinstance(result, Denied) else str(result) for result in results))

    install(run)
    task = world.submit("buy")
    world.work()
    assert len(approvals.pending(store.get(task.task_id))) == 2
    answer(task, "allow")
    world.work()
    assert (len(approvals.pending(store.get(task.task_id))), len(pay.made)) == (1, 1)
    assert answer(task, second).woken
    world.work()
    assert len(pay.made) == (2 if second == "allow" else 1), response(task)


def test_the_first_answer_counts(world: World, install: Install) -> None:
    pay = Payment()
    install(payer(pay))
    task = world.submit("buy")
    world.work()
    fingerprint = approvals.pending(store.get(task.task_id))[0]["fingerprint"]
    answer(task, "allow")
    assert answer(task, "allow", fingerprint).repeat
    with pytest.raises(IdempotencyMismatch):
        answer(task, "deny", fingerprint)
    world.work()
    assert response(task) == "paid 100"
    with pytest.raises(NotFound):
        answer(task, "deny", fingerprint)


def test_large_arguments_stand_beside_the_row(world: World, install: Install) -> None:
    async def run(ctx: Context) -> AgentResult:
        return AgentResult(await ctx.tool("save", Payment(), {"amount": 1, "text": "é" * 50_000}, approve=True))

    install(run)
    task = world.submit("save")
    world.work()
    row = store.get(task.task_id)
    assert row.waiting_for[0]["more"]["arguments"] is None
    assert approvals.pending(row)[0]["arguments"]["text"] == "é" * 50_000


def test_nobody_answers_in_time(world: World, install: Install) -> None:
    install(payer(Payment(), approve_within=0.2))
    task = world.submit("buy")
    world.work()
    assert (store.get(task.task_id).error or {})["code"] == "wait_timeout"


def test_what_an_answer_nobody_waits_for_gets(world: World, install: Install) -> None:
    install(payer(Payment()))
    task = world.submit("buy")
    with pytest.raises(Conflict):
        inbox.post(task.task_id, "approval:0", {}, early=False)


def test_the_tools_agent_asks_where_its_client_wants_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tools.run
    call = '[[sim tool=calculator args={"expression":"6*7"}]] what is 6*7?'
    task = world.submit(call, agent="tools", params={"approve": ["calc*"]})
    world.work()
    row = store.get(task.task_id)
    assert row.status is Status.WAITING, row.error
    (asked,) = approvals.pending(row)
    assert (asked["tool"], asked["cost_usd"] > 0) == ("calculator", True)
    calls = row.calls
    answer(task, "deny", reason="ask me another time")
    world.work()
    ended = store.get(task.task_id)
    assert (ended.status, ended.calls > calls) == (Status.COMPLETE, True)
    assert "tool_call" not in [event.type for event in events.read(task.task_id, 0).events]
