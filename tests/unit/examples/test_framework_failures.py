"""Frameworks that get over a failure: what their code saw is replayed, and no tool or model is asked again for it.

The Agents SDK gets over no failure of a model: its adapter passes that by it, and Sluice tries again.
They need the frameworks, as `test_frameworks` does.
"""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from shared.tasks import store
from shared.tasks.model import Status, Task
from sluice import AgentResult
from tests.unit.examples.conftest import crash_and_take_over, die_after, result_of
from tests.unit.worker.conftest import World

TOLD = '[[sim key=tool tool=risky rounds=1 args={"n": 1}]] Try it.'


class Refused(Exception):
    """An error of a tool's own."""


def told_agents(done: list[int]) -> Any:
    """The SDK answers for a tool that raises."""
    from agents import Agent, function_tool

    from examples.agents._openai_agents import recorded, run_on_sluice

    @function_tool
    async def risky(n: int) -> str:
        """Do something that may fail."""
        done.append(n)
        if len(done) == 1:
            raise Refused("not today")
        return "fine"

    agent: Agent[Any] = Agent(name="one", instructions="Try.", tools=[recorded(risky)])

    async def run(ctx: Any) -> AgentResult:
        return AgentResult(str((await run_on_sluice(ctx, agent)).final_output))

    return run


def told_agents_outside(done: list[int]) -> Any:
    """A tool of the SDK that makes the step itself: its error leaves the step and is answered for outside of it."""
    from agents import Agent, RunContextWrapper, function_tool

    from examples.agents._openai_agents import run_on_sluice

    @function_tool
    async def risky(run: RunContextWrapper[Any], n: int) -> str:
        """Do something that may fail."""

        async def work() -> str:
            done.append(n)
            if len(done) == 1:
                raise Refused("not today")
            return "fine"

        return str(await run.context.tool("risky", work, {"n": n}))

    agent: Agent[Any] = Agent(name="one", instructions="Try.", tools=[risky])

    async def run(ctx: Any) -> AgentResult:
        return AgentResult(str((await run_on_sluice(ctx, agent)).final_output))

    return run


def told_pydantic_ai(done: list[int]) -> Any:
    """A toolset around the recorded one answers for a tool that raises."""
    from pydantic_ai import Agent, RunContext
    from pydantic_ai.toolsets import FunctionToolset, WrapperToolset

    from examples.agents._pydantic_ai import Recorded, SluiceModel

    async def risky(_: RunContext[Any], n: int) -> str:
        """Do something that may fail."""
        done.append(n)
        if len(done) == 1:
            raise Refused("not today")
        return "fine"

    class Answers(WrapperToolset[Any]):
        async def call_tool(self, name: str, tool_args: Any, ctx: Any, tool: Any) -> Any:
            try:
                return await super().call_tool(name, tool_args, ctx, tool)
            except Refused as error:
                return f"it failed: {error}"

    agent = Agent(deps_type=object, instructions="Try.", toolsets=[Answers(Recorded(FunctionToolset([risky])))])

    async def run(ctx: Any) -> AgentResult:
        return AgentResult((await agent.run(ctx.message, deps=ctx, model=SluiceModel(ctx))).output)

    return run


def falls_back(_: list[int]) -> Any:
    """A model that its framework falls back from, on another step of the same conversation."""
    from pydantic_ai import Agent
    from pydantic_ai.models.fallback import FallbackModel

    from examples.agents._pydantic_ai import SluiceModel

    agent = Agent(deps_type=object, instructions="Be brief.")

    async def run(ctx: Any) -> AgentResult:
        models = FallbackModel(SluiceModel(ctx), SluiceModel(ctx, "gpt-4o"), fallback_on=(Exception,))
        first = (await agent.run(ctx.message, deps=ctx, model=models)).output
        more = (await agent.run(f"[[sim key=more]] {first}", deps=ctx, model=SluiceModel(ctx))).output
        return AgentResult(more)

    return run


def asks_again(_: list[int]) -> Any:
    """A client around the adapter's model that asks again, as frameworks' clients do."""
    from pydantic_ai import Agent
    from pydantic_ai.models.wrapper import WrapperModel

    from examples.agents._pydantic_ai import SluiceModel

    class Stubborn(WrapperModel):
        async def request(self, *args: Any, **kwargs: Any) -> Any:
            for _ in range(3):
                try:
                    return await super().request(*args, **kwargs)
                except Exception as error:
                    last = error
            raise last

    agent = Agent(deps_type=object, instructions="Be brief.")

    async def run(ctx: Any) -> AgentResult:
        first = (await agent.run(ctx.message, deps=ctx, model=Stubborn(SluiceModel(ctx)))).output
        more = (await agent.run(f"[[sim key=more]] {first}", deps=ctx, model=Stubborn(SluiceModel(ctx)))).output
        return AgentResult(more)

    return run


@pytest.fixture
def use(install: Callable[[ModuleType], None]) -> Callable[[Any], list[int]]:
    """Install an agent that is made with a list of what its tool does."""

    def made(make: Any) -> list[int]:
        package = "agents" if "agents" in make.__name__ else "pydantic_ai"
        pytest.importorskip(package, reason=f"{package} is not installed (it is optional)")
        done: list[int] = []
        module = ModuleType("example")
        module.run = make(done)  # type: ignore[attr-defined]
        install(module)
        return done

    return made


def completed(task: Task) -> Task:
    result_of(task)
    return store.get(task.task_id)


def is_complete(world: World, patch: pytest.MonkeyPatch, message: str, steps: int) -> Task:
    """Have a run end well whose worker dies after so many steps; 0: it does not."""
    task = world.submit(message, agent="example")
    if steps:
        die_after(patch, steps)
        crash_and_take_over(world)
    else:
        world.work_until_quiet()
    row = completed(task)
    assert (row.status, row.error, row.attempt) == (Status.COMPLETE, None, 0)
    return row


@pytest.mark.parametrize("steps", [0, 1, 2, 3])
@pytest.mark.parametrize("make", [told_agents, told_agents_outside, told_pydantic_ai])
def test_a_tool_whose_failure_the_model_was_told_is_not_done_again(
    world: World, use: Any, monkeypatch: pytest.MonkeyPatch, make: Any, steps: int
) -> None:
    done = use(make)
    row = is_complete(world, monkeypatch, TOLD, steps)
    assert done == [1]
    assert world.calls("tool")["started"] == row.calls == 2


@pytest.mark.parametrize("steps", [0, 1, 2, 3])
@pytest.mark.parametrize("make", [falls_back, asks_again])
def test_a_model_that_failed_once_is_not_asked_again_for_what_is_recorded(
    world: World, use: Any, monkeypatch: pytest.MonkeyPatch, make: Any, steps: int
) -> None:
    use(make)
    is_complete(world, monkeypatch, "[[sim key=m fail=500 times=1]] Hello.", steps)
    assert (world.calls("m")["started"], world.calls("m")["completed"], world.calls("more")["started"]) == (2, 1, 1)
