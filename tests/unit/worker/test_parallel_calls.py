"""Calls beside each other: each counts against the ceilings all the time, with its reply on its way to the table, too."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from functions.worker import agents
from functions.worker.model_step import Call
from functions.worker.types import AgentResult
from shared.limits import prices
from shared.tasks import checkpoints, store
from shared.tasks.model import Status

from .conftest import World


class OneAgent:
    """Stands where an agent's module stands."""

    def __init__(self, run: Callable[[Any], Awaitable[AgentResult]]) -> None:
        self.run = run


Install = Callable[[Callable[[Any], Awaitable[AgentResult]]], None]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Install:
    return lambda run: monkeypatch.setattr(agents, "load", lambda name: OneAgent(run))


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
