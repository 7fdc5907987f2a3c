"""Pydantic AI and the Agents SDK on Sluice: each step once, under crashes, continuations and retries.

They are optional: without them these tests skip. ``make test-frameworks`` has an environment with both.
"""

import importlib
from collections.abc import Awaitable, Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

from shared.tasks import checkpoints, events, store
from shared.tasks.model import Status, Task
from tests.unit.examples.conftest import crash_and_take_over, die_after, result_of, stop_before
from tests.unit.worker.conftest import World
from tests.unit.worker.test_agents import Provider, serve

PACKAGES = {"shop_pydantic_ai": "pydantic_ai", "shop_openai_agents": "agents"}
MESSAGE = '[[sim key=f tool=look_up args={"item": "lamp"} rounds=1]] How much is a lamp?'
STEPS = 3
"""Two model calls with a tool call between them."""


class Shop:
    """An installed example and the calls of its tool."""

    def __init__(self, module: ModuleType) -> None:
        self.module = module
        self.calls: list[str] = []


class Catalogue(dict[str, Any]):
    """Notes what is looked up: the tool's own work, not its replay."""

    calls: list[str]

    def __getitem__(self, item: str) -> Any:
        self.calls.append(item)
        return super().__getitem__(item)


@pytest.fixture(params=list(PACKAGES))
def shop(
    request: pytest.FixtureRequest, install: Callable[[ModuleType], None], monkeypatch: pytest.MonkeyPatch
) -> Shop:
    pytest.importorskip(PACKAGES[request.param], reason=f"{PACKAGES[request.param]} is not installed (it is optional)")
    module = importlib.import_module(f"examples.agents.{request.param}")
    install(module)
    made = Shop(module)
    catalogue = Catalogue(module.CATALOGUE)
    catalogue.calls = made.calls
    monkeypatch.setattr(module, "CATALOGUE", catalogue)
    return made


@pytest.mark.usefixtures("copied")
@pytest.mark.parametrize("name", PACKAGES)
def test_it_runs_from_a_copy_among_the_agents(world: World, name: str) -> None:
    pytest.importorskip(PACKAGES[name], reason=f"{PACKAGES[name]} is not installed (it is optional)")
    task = world.submit(MESSAGE, agent=name)
    world.work()
    assert "39" in result_of(task)["response"]


def finished_once(world: World, task: Task, shop: Shop) -> None:
    assert "39" in result_of(task)["response"]
    assert world.calls("f")["started"] == world.calls("f")["completed"] == 2
    assert shop.calls == ["lamp"]
    row = store.get(task.task_id)
    assert (row.calls, row.attempt) == (2, 0)
    assert row.micro_usd > 0
    assert len(checkpoints.load(task.task_id)) == STEPS


def test_model_and_tool_calls_are_steps(world: World, shop: Shop) -> None:
    task = world.submit(MESSAGE, agent="example")
    world.work()
    finished_once(world, task, shop)
    log = events.read(task.task_id, 0).events
    told = [event.type for event in log if event.type != "token"]
    assert told == ["queued", "started", "step", "tool_call", "tool_result", "step", "step", "complete"]
    text = "".join(event.data["text"] for event in log if event.type == "token")
    assert text == result_of(task)["response"]


@pytest.mark.parametrize("steps", range(1, STEPS + 1))
def test_a_crash_repeats_no_finished_step(
    world: World, shop: Shop, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    die_after(monkeypatch, steps)
    task = world.submit(MESSAGE, agent="example")
    crash_and_take_over(world)
    finished_once(world, task, shop)
    assert (store.get(task.task_id).crashes, store.get(task.task_id).lease_no) == (1, 2)


@pytest.mark.parametrize("step", range(1, STEPS + 1))
def test_a_run_moves_on_in_the_middle(world: World, shop: Shop, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Signals pass through the framework unharmed: it neither swallows nor wraps them."""
    stop_before(monkeypatch, step)
    task = world.submit(MESSAGE, agent="example")
    world.work_until_quiet()
    finished_once(world, task, shop)
    assert store.get(task.task_id).lease_no == 2


def test_a_providers_failure_is_retried_by_sluice(world: World, shop: Shop) -> None:
    task = world.submit(MESSAGE.replace("key=f", "key=f fail=500 times=1"), agent="example")
    world.work_until_quiet()
    assert "39" in result_of(task)["response"]
    (retry,) = [event for event in events.read(task.task_id, 0).events if event.type == "retry"]
    assert retry.data["error"]["type"] == "model_error"  # not the framework's own error
    assert world.calls("f")["completed"] == 2


def test_a_ceiling_ends_the_run(world: World, shop: Shop) -> None:
    task = world.submit(MESSAGE, agent="example", params={"max_cost_usd": 0.000001})
    world.work_until_quiet()
    row = store.get(task.task_id)
    assert row.status is Status.FAILED
    assert row.error is not None
    assert row.error["type"] == "insufficient_quota"
    assert world.calls("f")["started"] == 0


def test_what_a_tool_refuses_is_recorded_and_told_to_the_model(
    world: World, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when the next worker would be served: what the first one saw is what counts."""
    die_after(monkeypatch, 2)
    task = world.submit(MESSAGE.replace('"lamp"', '"spoon"'), agent="example")
    records = world.receive()
    world.invoke(records)
    monkeypatch.setattr(shop.module, "CATALOGUE", {"spoon": (1.0, 1)})
    world.lapse(task.task_id)
    world.invoke(records)
    result_of(task)
    results = [event.data["result"] for event in events.read(task.task_id, 0).events if event.type == "tool_result"]
    assert len(results) == 1
    assert "There is no" in results[0]


def test_parallel_tool_calls_are_steps_of_their_own(world: World, shop: Shop) -> None:
    message = '[[sim key=f tool=look_up parallel=3 rounds=1 args={"item": "lamp"}]] Three times, please.'
    task = world.submit(message, agent="example")
    world.work()
    result_of(task)
    assert shop.calls == ["lamp"] * 3
    assert len([name for name, _ in checkpoints.load(task.task_id) if name.startswith("look_up.")]) == 3


def test_pydantic_ai_takes_a_structured_answer_through_a_tool(
    world: World, install: Callable[[ModuleType], None]
) -> None:
    pytest.importorskip("pydantic_ai", reason="pydantic_ai is not installed (it is optional)")
    from pydantic import BaseModel
    from pydantic_ai import Agent

    from examples.agents._pydantic_ai import SluiceModel
    from sluice import AgentResult

    class Price(BaseModel):
        eur: float

    module = ModuleType("structured")

    async def run(ctx: Any) -> AgentResult:
        done = await Agent(output_type=Price).run(ctx.message, model=SluiceModel(ctx))
        return AgentResult(f"{done.output.eur:.2f}", done.output.model_dump())

    module.run = run  # type: ignore[attr-defined]
    install(module)
    task = world.submit('[[sim key=f tool=final_result args={"eur": 39}]] What does a lamp cost?', agent="example")
    world.work()
    assert result_of(task)["response"] == "39.00"
    assert world.calls("f")["completed"] == 1


@pytest.fixture
def provider(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    yield from serve(monkeypatch)


def run_of(package: str) -> Callable[[Any], Awaitable[Any]]:
    """Ask for a structured answer by the provider's own means, with settings."""
    from pydantic import BaseModel

    from sluice import AgentResult

    class Price(BaseModel):
        eur: float

    async def pydantic_ai(ctx: Any) -> AgentResult:
        from pydantic_ai import Agent, ImageUrl, NativeOutput

        from examples.agents._pydantic_ai import SluiceModel

        agent = Agent(output_type=NativeOutput(Price), model_settings={"temperature": 0.5, "seed": 7})
        done = await agent.run([ctx.message, ImageUrl("https://a.example/x.png")], model=SluiceModel(ctx))
        return AgentResult(f"{done.output.eur:.2f}")

    async def agents_sdk(ctx: Any) -> AgentResult:
        from agents import Agent, ModelSettings

        from examples.agents._openai_agents import run_on_sluice

        settings = ModelSettings(temperature=0.5, extra_body={"seed": 7})
        done = await run_on_sluice(ctx, Agent(name="price", output_type=Price, model_settings=settings))
        return AgentResult(f"{done.final_output.eur:.2f}")

    return {"pydantic_ai": pydantic_ai, "agents": agents_sdk}[package]


@pytest.mark.parametrize("package", PACKAGES.values())
def test_settings_and_structured_output_go_to_the_provider(
    world: World, provider: Provider, install: Callable[[ModuleType], None], package: str
) -> None:
    pytest.importorskip(package, reason=f"{package} is not installed (it is optional)")
    module = ModuleType("structured")
    module.run = run_of(package)  # type: ignore[attr-defined]
    install(module)
    provider.replies = ['{"eur": 39}']
    task = world.submit("What does a lamp cost?", agent="example")
    world.work_until_quiet()
    assert result_of(task)["response"] == "39.00"
    (asked,) = provider.asked
    assert (asked["temperature"], asked["seed"]) == (0.5, 7)
    wanted = asked["response_format"]
    assert wanted["type"] == "json_schema"
    assert list(wanted["json_schema"]["schema"]["properties"]) == ["eur"]
    assert not {"reasoning_effort", "verbosity", "parallel_tool_calls"} & set(asked)
    if package == "pydantic_ai":
        text, picture = asked["messages"][-1]["content"]
        assert text == {"type": "text", "text": "What does a lamp cost?"}
        assert picture == {"type": "image_url", "image_url": {"url": "https://a.example/x.png"}}


@pytest.mark.parametrize("package", PACKAGES.values())
def test_what_the_model_cannot_hand_on_is_refused(
    world: World, install: Callable[[ModuleType], None], package: str
) -> None:
    pytest.importorskip(package, reason=f"{package} is not installed (it is optional)")
    from sluice import AgentResult

    async def pydantic_ai(ctx: Any) -> AgentResult:
        from pydantic_ai import Agent, AudioUrl

        from examples.agents._pydantic_ai import SluiceModel

        await Agent().run(["What is it?", AudioUrl("https://a.example/x.wav")], model=SluiceModel(ctx))
        return AgentResult("seen")

    async def agents_sdk(ctx: Any) -> AgentResult:
        from agents import Agent, ModelSettings

        from examples.agents._openai_agents import run_on_sluice

        await run_on_sluice(ctx, Agent(name="hot", model_settings=ModelSettings(extra_headers={"x-hot": "2"})))
        return AgentResult("hot")

    module = ModuleType("refused")
    module.run = {"pydantic_ai": pydantic_ai, "agents": agents_sdk}[package]  # type: ignore[attr-defined]
    install(module)
    task = world.submit("[[sim key=f]] go", agent="example")
    world.work_until_quiet()
    row = store.get(task.task_id)
    assert row.error is not None
    assert "UserError: Sluice's model" in row.error["message"]
    assert world.calls("f")["started"] == 0
