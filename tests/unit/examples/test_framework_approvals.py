"""Approvals by the means of Pydantic AI and the Agents SDK: asked for by Sluice, decided together, each call once."""

import importlib
from collections.abc import Awaitable, Callable
from types import ModuleType
from typing import Any

import pytest

from shared.tasks import approvals, checkpoints, events, store
from shared.tasks.model import Status, Task
from sluice import AgentResult
from tests.unit.examples.conftest import die_after, result_of
from tests.unit.worker.conftest import World
from tests.unit.worker.test_approvals import answer

PACKAGES = ("pydantic_ai", "agents")
TWO = '[[sim key=f tool=pay parallel=2 args={"amount": 100} rounds=1]] Pay, please.'
ONE = TWO.replace("parallel=2 ", "")


class Pay:
    """What the tool does, which must be done once a call."""

    def __init__(self) -> None:
        self.made: list[float] = []

    def __call__(self, amount: float) -> str:
        self.made.append(amount)
        return f"paid {amount:.0f}"


def pydantic_ai_agent(pay: Pay, how: str) -> Callable[[Any], Awaitable[AgentResult]]:
    from pydantic_ai import Agent, ApprovalRequired, RunContext
    from pydantic_ai.toolsets import FunctionToolset

    from examples.agents._pydantic_ai import APPROVALS, Recorded, SluiceModel
    from sluice import Context

    tools: FunctionToolset[Context] = FunctionToolset()

    async def asks_when_it_sees(run: RunContext[Context], amount: float) -> str:
        if not run.tool_call_approved and amount > 50:
            raise ApprovalRequired
        return pay(amount)

    async def plain(run: RunContext[Context], amount: float) -> str:
        return pay(amount)

    if how == "rule":
        tools.add_function(asks_when_it_sees, name="pay")
    else:
        tools.add_function(plain, name="pay", requires_approval=how == "declared")
    agent = Agent(deps_type=Context, toolsets=[Recorded(tools)], capabilities=[APPROVALS])

    async def run(ctx: Context) -> AgentResult:
        return AgentResult((await agent.run(ctx.message, deps=ctx, model=SluiceModel(ctx))).output)

    return run


def agents_sdk_agent(pay: Pay, how: str) -> Callable[[Any], Awaitable[AgentResult]]:
    from agents import Agent, function_tool

    from examples.agents._openai_agents import recorded, run_on_sluice

    async def over_50(_run: Any, arguments: dict[str, Any], _call: str) -> bool:
        return bool(arguments["amount"] > 50)

    needs: Any = {"declared": True, "rule": over_50, "client": False}[how]

    @function_tool(name_override="pay", needs_approval=needs)
    async def tool(amount: float) -> str:
        return pay(amount)

    agent: Agent[Any] = Agent(name="payer", tools=[recorded(tool)])

    async def run(ctx: Any) -> AgentResult:
        return AgentResult((await run_on_sluice(ctx, agent)).final_output)

    return run


MAKERS = {"pydantic_ai": pydantic_ai_agent, "agents": agents_sdk_agent}


@pytest.fixture(params=PACKAGES)
def make(request: pytest.FixtureRequest, install: Callable[[ModuleType], None]) -> Callable[[Pay, str], dict[str, Any]]:
    pytest.importorskip(request.param, reason=f"{request.param} is not installed (it is optional)")

    def made(pay: Pay, how: str) -> dict[str, Any]:
        module = ModuleType("payer")
        module.run = MAKERS[request.param](pay, how)  # type: ignore[attr-defined]
        install(module)
        return {"params": {"approve": ["pay"]}} if how == "client" else {}

    return made


def asked(task: Task) -> list[dict[str, Any]]:
    row = store.get(task.task_id)
    assert row.status is Status.WAITING, (row.status, row.error)
    return approvals.pending(row)


@pytest.mark.parametrize("how", ["declared", "rule", "client"])
def test_a_call_waits_for_a_person_and_is_made_once(world: World, make: Any, how: str) -> None:
    pay = Pay()
    task = world.submit(ONE, agent="example", **make(pay, how))
    world.work()
    (one,) = asked(task)
    assert (one["tool"], one["arguments"], pay.made) == ("pay", {"amount": 100}, [])
    answer(task, "allow")
    world.work()
    assert "paid 100" in result_of(task)["response"]
    assert pay.made == [100]
    assert world.calls("f")["completed"] == 2


def test_what_a_rule_lets_pass_asks_nobody(world: World, make: Any) -> None:
    pay = Pay()
    make(pay, "rule")
    task = world.submit(ONE.replace("100", "10"), agent="example")
    world.work()
    assert "paid 10" in result_of(task)["response"]
    assert pay.made == [10]


def test_the_model_is_told_why_a_call_was_denied(world: World, make: Any) -> None:
    pay = Pay()
    make(pay, "declared")
    task = world.submit(ONE, agent="example")
    world.work()
    answer(task, "deny", reason="too dear")
    world.work()
    assert "too dear" in result_of(task)["response"]
    assert pay.made == []


@pytest.mark.parametrize("second", ["allow", "deny"])
def test_calls_of_a_turn_are_asked_for_together_and_the_framework_goes_on_once(
    world: World, make: Any, second: str
) -> None:
    """After the first answer nothing is called yet: a framework that goes on twice calls twice."""
    pay = Pay()
    make(pay, "declared")
    task = world.submit(TWO, agent="example")
    world.work()
    assert len(asked(task)) == 2
    answer(task, "allow")
    world.work()
    assert (len(asked(task)), pay.made) == (1, [])
    answer(task, second)
    world.work()
    result_of(task)
    assert pay.made == [100] * (2 if second == "allow" else 1)
    assert world.calls("f")["completed"] == 2


@pytest.mark.parametrize("steps", range(1, 7))
def test_a_worker_that_dies_anywhere_calls_nothing_again(
    world: World, make: Any, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    """Two model calls, two approvals, two calls of the tool: recorded once each."""
    pay = Pay()
    make(pay, "declared")
    die_after(monkeypatch, steps)
    task = world.submit(TWO, agent="example")
    for _ in range(12):
        if (row := store.get(task.task_id)).status.terminal:
            break
        if row.status is Status.WAITING:
            answer(task, "allow")
        records = world.receive()
        assert records, row.status
        if world.invoke(records):
            world.lapse(task.task_id)
            world.invoke(records)
    result_of(task)
    assert pay.made == [100, 100]
    assert (world.calls("f")["completed"], store.get(task.task_id).crashes) == (2, 1)
    assert len(checkpoints.load(task.task_id)) == 6
    told = [event.type for event in events.read(task.task_id, 0).events]
    assert told.count("tool_result") == 2


def test_pydantic_ai_takes_changed_arguments(world: World, install: Callable[[ModuleType], None]) -> None:
    pytest.importorskip("pydantic_ai", reason="pydantic_ai is not installed (it is optional)")
    pay, module = Pay(), ModuleType("payer")
    module.run = pydantic_ai_agent(pay, "declared")  # type: ignore[attr-defined]
    install(module)
    task = world.submit(ONE, agent="example")
    world.work()
    assert asked(task)[0]["editable"]
    answer(task, "allow", arguments={"amount": 40})
    world.work()
    assert "paid 40" in result_of(task)["response"]
    assert pay.made == [40]


def test_the_agents_sdk_asks_for_the_tools_of_an_agent_that_is_a_tool(
    world: World, install: Callable[[ModuleType], None]
) -> None:
    pytest.importorskip("agents", reason="agents is not installed (it is optional)")
    from agents import Agent, function_tool

    sdk = importlib.import_module("examples.agents._openai_agents")
    pay, module = Pay(), ModuleType("payer")

    @function_tool(name_override="pay", needs_approval=True)
    async def tool(amount: float) -> str:
        return pay(amount)

    inner: Agent[Any] = Agent(name="inner", tools=[sdk.recorded(tool)])

    async def run(ctx: Any) -> AgentResult:
        return AgentResult((await sdk.run_on_sluice(ctx, outer)).final_output)

    module.run = run  # type: ignore[attr-defined]
    install(module)

    def built(_given: Any) -> str:
        return '[[sim key=i tool=pay rounds=1 args={"amount": 7}]] pay'

    outer: Agent[Any] = Agent(
        name="outer", tools=[inner.as_tool("ask_inner", "Ask another agent.", input_builder=built)]
    )

    task = world.submit('[[sim key=o tool=ask_inner rounds=1 args={"input": "please"}]] go', agent="example")
    world.work()
    assert [one["arguments"] for one in asked(task)] == [{"amount": 7}]
    answer(task, "allow")
    world.work()
    result_of(task)
    assert pay.made == [7]
    assert (world.calls("o")["completed"], world.calls("i")["completed"]) == (2, 2)
