"""Agents that run others, side by side: each step once, and no error of the model or of Sluice becomes an answer.

They need the frameworks, as `test_frameworks` does.
"""

import asyncio
from collections.abc import Awaitable, Callable
from types import ModuleType
from typing import Any

import pytest

from shared.tasks import checkpoints, events, store
from shared.tasks.model import Status
from sluice import AgentResult
from tests.unit.examples.conftest import crash_and_take_over, die_after, result_of, stop_before
from tests.unit.worker.conftest import World

Run = Callable[[Any], Awaitable[AgentResult]]
OUTER = '[[sim key=outer tools=slow,fast parallel=2 rounds=1 args={"input": "please"}]] Ask both.'
SUB = '[[sim key={0} latency={1} tool=note rounds=1 args={{"text": "{0}"}}]] the {0} one'
ASKED = {"slow": SUB.format("slow", 0.3), "fast": SUB.format("fast", 0.02)}
STEPS = 2 + 2 * 3
"""Two calls of the outer agent; of each inner one two calls and a tool call."""


def agents_sdk(notes: list[str], asked: dict[str, str]) -> Run:
    from agents import Agent, function_tool

    from examples.agents._openai_agents import recorded, run_on_sluice

    @function_tool
    async def note(text: str) -> str:
        """Write something down."""
        notes.append(text)
        return f"noted {text}"

    def tool_of(name: str) -> Any:
        inner: Agent[Any] = Agent(name=name, instructions=f"You are the {name} one.", tools=[recorded(note)])

        async def built(_: Any) -> str:
            return asked[name]

        return inner.as_tool(name, f"Asks the {name} one", input_builder=built)

    outer: Agent[Any] = Agent(name="outer", instructions="Ask both.", tools=[tool_of(name) for name in asked])

    async def run(ctx: Any) -> AgentResult:
        done = await run_on_sluice(ctx, outer)
        return AgentResult(done.final_output)

    return run


def pydantic_ai(notes: list[str], asked: dict[str, str]) -> Run:
    from pydantic_ai import Agent, RunContext
    from pydantic_ai.toolsets import FunctionToolset

    from examples.agents._pydantic_ai import Recorded, SluiceModel

    async def note(_: RunContext[Any], text: str) -> str:
        """Write something down."""
        notes.append(text)
        return f"noted {text}"

    def tool_of(name: str) -> Any:
        inner = Agent(
            deps_type=object, instructions=f"You are the {name} one.", toolsets=[Recorded(FunctionToolset([note]))]
        )

        async def ask(run: RunContext[Any], input: str) -> str:
            done = await inner.run(asked[name], deps=run.deps, model=SluiceModel(run.deps))
            return done.output

        ask.__name__ = name
        return ask

    outer = Agent(deps_type=object, instructions="Ask both.", tools=[tool_of(name) for name in asked])

    async def run(ctx: Any) -> AgentResult:
        done = await outer.run(ctx.message, deps=ctx, model=SluiceModel(ctx))
        return AgentResult(done.output)

    return run


FRAMEWORKS = {"agents": agents_sdk, "pydantic_ai": pydantic_ai}


class Sub:
    """An installed agent with two inner ones, and what their tool wrote down."""

    def __init__(self, framework: str, install: Callable[[ModuleType], None]) -> None:
        self.notes: list[str] = []
        self.asked = dict(ASKED)
        self._framework, self._install = framework, install

    def install(self) -> None:
        module = ModuleType("example")
        module.run = FRAMEWORKS[self._framework](self.notes, self.asked)  # type: ignore[attr-defined]
        self._install(module)


@pytest.fixture(params=list(FRAMEWORKS))
def sub(request: pytest.FixtureRequest, install: Callable[[ModuleType], None]) -> Sub:
    pytest.importorskip(request.param, reason=f"{request.param} is not installed (it is optional)")
    made = Sub(request.param, install)
    made.install()
    return made


def finished_once(world: World, task_id: str, sub: Sub, result: dict[str, Any]) -> None:
    assert "noted slow" in result["response"] or "noted" in str(result), result
    assert sorted(sub.notes) == ["fast", "slow"]
    assert {key: world.calls(key)["completed"] for key in ("outer", "slow", "fast")} == dict.fromkeys(
        ("outer", "slow", "fast"), 2
    )
    row = store.get(task_id)
    assert (row.calls, row.attempt) == (6, 0)
    assert len(checkpoints.load(task_id)) == STEPS


def test_inner_agents_run_side_by_side(world: World, sub: Sub) -> None:
    task = world.submit(OUTER, agent="example")
    world.work()
    finished_once(world, task.task_id, sub, result_of(task))


@pytest.mark.parametrize("steps", range(1, STEPS))
def test_a_crash_in_their_midst_repeats_nothing_that_was_recorded(
    world: World, sub: Sub, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    die_after(monkeypatch, steps)
    task = world.submit(OUTER, agent="example")
    crash_and_take_over(world)
    result_of(task)
    row = store.get(task.task_id)
    assert (row.attempt, len(checkpoints.load(task.task_id))) == (0, STEPS)
    # What the other one had in flight at the crash may be done again; what was recorded is not.
    assert {one: sub.notes.count(one) in (1, 2) for one in ("slow", "fast")} == {"slow": True, "fast": True}
    assert len(sub.notes) <= 3


@pytest.mark.parametrize("step", range(1, STEPS + 1))
def test_they_move_on_in_the_middle(world: World, sub: Sub, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    stop_before(monkeypatch, step)
    task = world.submit(OUTER, agent="example")
    world.work_until_quiet()
    finished_once(world, task.task_id, sub, result_of(task))


@pytest.mark.parametrize("name", ["slow", "fast"])
def test_an_inner_agents_model_that_fails_is_asked_again(world: World, sub: Sub, name: str) -> None:
    sub.asked[name] = sub.asked[name].replace("]]", " fail=500 times=1]]")
    task = world.submit(OUTER, agent="example")
    world.work_until_quiet()
    result = result_of(task)
    (retry,) = [event for event in events.read(task.task_id, 0).events if event.type == "retry"]
    assert retry.data["error"]["type"] == "model_error"
    assert "error" not in result["response"].lower()
    assert sorted(sub.notes) == ["fast", "slow"]


def test_an_inner_agents_ceiling_ends_the_run(world: World, sub: Sub) -> None:
    task = world.submit(OUTER, agent="example", params={"max_cost_usd": 0.0007})
    world.work_until_quiet()
    row = store.get(task.task_id)
    assert row.status is Status.FAILED
    assert row.error is not None
    assert row.error["type"] == "insufficient_quota"


def test_agents_may_be_run_side_by_side_by_hand(world: World, install: Callable[[ModuleType], None]) -> None:
    pytest.importorskip("agents", reason="agents is not installed (it is optional)")
    from agents import Agent

    from examples.agents._openai_agents import run_on_sluice

    async def run(ctx: Any) -> AgentResult:
        inner: Agent[Any] = Agent(name="inner", instructions="Be brief.")
        texts = ["[[sim key=a latency=0.1]] one", "[[sim key=b fail=503 times=1]] two"]
        done = await asyncio.gather(*(run_on_sluice(ctx, inner, text) for text in texts))
        return AgentResult(" ".join(str(one.final_output) for one in done))

    module = ModuleType("example")
    module.run = run  # type: ignore[attr-defined]
    install(module)
    task = world.submit("go", agent="example")
    world.work_until_quiet()
    result_of(task)
    assert (world.calls("a")["completed"], world.calls("b")["completed"]) == (1, 1)
