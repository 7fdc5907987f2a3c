"""Frameworks inside a run: nothing is paid twice across a handoff, and a ceiling ends an inner loop, once and by name.

They need the frameworks, as `test_frameworks` does.
"""

import asyncio
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from shared.tasks import checkpoints, store
from shared.tasks.model import Status, Task
from sluice import AgentResult
from tests.unit.examples.conftest import crash_and_take_over, die_after, result_of, stop_before
from tests.unit.worker.conftest import World

LOOP = '[[sim key=loop tool=note rounds=60 args={"text": "more"}]] Go on and on.'
"""A model that never has enough of its tool."""
CEILING = 0.0006
"""USD: two or three calls' worst cases."""
SHARED = 0.002


def noting(notes: list[str]) -> Any:
    from agents import function_tool

    from examples.agents._openai_agents import recorded

    @function_tool
    async def note(text: str) -> str:
        """Write something down."""
        notes.append(text)
        return f"noted {text}"

    return recorded(note)


def handing(notes: list[str]) -> Any:
    from agents import Agent

    from examples.agents._openai_agents import run_on_sluice

    second: Agent[Any] = Agent(name="second", instructions="You end it.", tools=[noting(notes)])
    first: Agent[Any] = Agent(name="first", instructions="You hand it over.", handoffs=[second], tools=[noting(notes)])

    async def run(ctx: Any) -> AgentResult:
        done = await run_on_sluice(ctx, first)
        return AgentResult(f"{done.last_agent.name}: {done.final_output}")

    return run


def looping_agents(notes: list[str]) -> Any:
    from agents import Agent

    from examples.agents._openai_agents import run_on_sluice

    agent: Agent[Any] = Agent(name="loop", instructions="Go on.", tools=[noting(notes)])

    async def run(ctx: Any) -> AgentResult:
        return AgentResult(str((await run_on_sluice(ctx, agent)).final_output))

    return run


def looping_pydantic_ai(notes: list[str]) -> Any:
    from pydantic_ai import Agent, RunContext
    from pydantic_ai.toolsets import FunctionToolset

    from examples.agents._pydantic_ai import Recorded, SluiceModel

    async def note(_: RunContext[Any], text: str) -> str:
        """Write something down."""
        notes.append(text)
        return f"noted {text}"

    agent = Agent(deps_type=object, instructions="Go on.", retries=5, toolsets=[Recorded(FunctionToolset([note]))])

    async def run(ctx: Any) -> AgentResult:
        return AgentResult((await agent.run(ctx.message, deps=ctx, model=SluiceModel(ctx))).output)

    return run


def falling_back(notes: list[str]) -> Any:
    """Two models of Pydantic AI, one behind the other, whatever the first one's error is."""
    from pydantic_ai import Agent
    from pydantic_ai.models.fallback import FallbackModel

    from examples.agents._pydantic_ai import SluiceModel

    agent = Agent(deps_type=object, instructions="Be brief.", retries=5)

    async def run(ctx: Any) -> AgentResult:
        models = FallbackModel(SluiceModel(ctx), SluiceModel(ctx, "gpt-4o"), fallback_on=(Exception,))
        return AgentResult((await agent.run(ctx.message, deps=ctx, model=models)).output)

    return run


def graph(notes: list[str]) -> Any:
    """Nodes that hand a state on, each tried again whatever it raises, as graph frameworks do."""

    async def run(ctx: Any) -> AgentResult:
        rounds = 60 if "60" in ctx.message else 4

        async def plan(state: dict[str, Any]) -> str:
            said = [{"role": "user", "content": f"[[sim key=loop]] plan {state['round']}"}]
            state["plan"] = (await ctx.model(said, name="plan", max_output_tokens=500)).content
            return "act"

        async def act(state: dict[str, Any]) -> str:
            async def noted() -> str:
                notes.append(str(state["round"]))
                return "noted"

            await ctx.step("act", noted)
            state["round"] += 1
            return "plan" if state["round"] < rounds else "end"

        nodes, state, at = {"plan": plan, "act": act}, {"round": 0}, "plan"
        while at != "end":
            for tries in range(5):
                try:
                    at = await nodes[at](state)
                    break
                except Exception as error:
                    if tries == 4:
                        raise RuntimeError(f"node {at} failed") from error
                    await asyncio.sleep(0.01)
        return AgentResult("done")

    return run


LOOPS: dict[str, Any] = {"agents": looping_agents, "pydantic_ai": looping_pydantic_ai, "graph": graph}


@pytest.fixture
def use(install: Callable[[ModuleType], None]) -> Callable[[Any, str], list[str]]:
    """Install an agent that is made with a list of what its tool writes down."""

    def made(make: Any, framework: str) -> list[str]:
        if framework != "graph":
            pytest.importorskip(framework, reason=f"{framework} is not installed (it is optional)")
        notes: list[str] = []
        module = ModuleType("example")
        module.run = make(notes)  # type: ignore[attr-defined]
        install(module)
        return notes

    return made


HANDOFF = "[[sim key=h tool=transfer_to_second rounds=1]] Hand it over."


def handed_over(world: World, task: Task) -> None:
    assert str(result_of(task)["response"]).startswith("second: ")
    row = store.get(task.task_id)
    assert (row.calls, world.calls("h")["completed"]) == (2, 2)


@pytest.mark.parametrize("steps", [0, 1])
def test_a_crash_around_a_handoff_pays_nothing_twice(
    world: World, use: Any, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    use(handing, "agents")
    task = world.submit(HANDOFF, agent="example")
    if steps:
        die_after(monkeypatch, steps)
        crash_and_take_over(world)
    else:
        world.work()
    handed_over(world, task)


@pytest.mark.parametrize("step", [1, 2])
def test_a_handoff_moves_on_in_the_middle(world: World, use: Any, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    use(handing, "agents")
    stop_before(monkeypatch, step)
    task = world.submit(HANDOFF, agent="example")
    world.work_until_quiet()
    handed_over(world, task)


@pytest.mark.parametrize("framework", LOOPS)
def test_a_ceiling_ends_an_inner_loop_once_and_by_its_name(world: World, use: Any, framework: str) -> None:
    notes = use(LOOPS[framework], framework)
    task = world.submit(LOOP, agent="example", params={"max_cost_usd": CEILING, "max_output_tokens": 500})
    world.work_until_quiet()
    row = store.get(task.task_id)
    assert row.error is not None, row.status
    assert (row.status, row.error["code"], row.attempt) == (Status.FAILED, "insufficient_quota", 0)
    assert 1 < world.calls("loop")["started"] == row.calls
    assert len(notes) == row.calls
    assert 0 < row.micro_usd / 1e6 <= CEILING


@pytest.mark.parametrize("framework", LOOPS)
def test_a_loop_that_dies_in_between_never_pays_for_a_step_again(
    world: World, use: Any, monkeypatch: pytest.MonkeyPatch, framework: str
) -> None:
    notes = use(LOOPS[framework], framework)
    die_after(monkeypatch, 5)
    task = world.submit(LOOP.replace("60", "4"), agent="example", params={"max_cost_usd": 1})
    records = world.receive()
    world.invoke(records)
    world.lapse(task.task_id)
    world.invoke(records)
    row = store.get(task.task_id)
    assert row.status is Status.COMPLETE, row.error
    tools = [name for name, _ in checkpoints.load(task.task_id) if name.startswith(("act", "note"))]
    assert len(notes) == len(tools) == 4
    assert world.calls("loop")["completed"] == row.calls == (4 if framework == "graph" else 5)


def test_a_fallback_of_a_framework_does_not_hide_a_ceiling(world: World, use: Any) -> None:
    use(falling_back, "pydantic_ai")
    task = world.submit("[[sim key=f]] hi", agent="example", params={"max_cost_usd": 0.0000001})
    world.work_until_quiet()
    row = store.get(task.task_id)
    assert row.error is not None, row.status
    assert (row.status, row.error["code"], row.attempt) == (Status.FAILED, "insufficient_quota", 0)
    assert world.calls("f")["started"] == 0


def test_inner_agents_side_by_side_share_one_ceiling(world: World, use: Any) -> None:
    """Each would fit by itself; together they do not, and none of them is begun beyond what is left."""

    def make(notes: list[str]) -> Any:
        async def run(ctx: Any) -> AgentResult:
            async def inner(name: str) -> None:
                for n in range(40):  # 640 millionths of a dollar each, whether they overlap or not
                    said = [{"role": "user", "content": f"[[sim key=par latency=0.02]] {name} {n}"}]
                    await ctx.model(said, name=name, max_output_tokens=500)
                    notes.append(name)

            async with asyncio.TaskGroup() as group:
                for name in ("a", "b", "c", "d"):
                    group.create_task(inner(name))
            return AgentResult("all")

        return run

    use(make, "graph")
    task = world.submit("go", agent="example", params={"max_cost_usd": SHARED})
    world.work_until_quiet()
    row = store.get(task.task_id)
    assert row.error is not None, row.status
    assert (row.status, row.error["code"], row.attempt) == (Status.FAILED, "insufficient_quota", 0)
    assert row.micro_usd / 1e6 <= SHARED
    assert row.calls <= world.calls("par")["started"]
