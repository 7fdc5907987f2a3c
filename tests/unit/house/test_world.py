"""The test world that users get: real parts, accidents at will, a clock that can be set on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from sluice import AgentResult, Context
from sluice.testing import World
from sluice.testing import world as worlds
from sluice.testing.bench import bench
from tests.unit.worker.conftest import simulator

__all__ = ["simulator"]


@pytest.fixture
def world(
    simulator: str, fake_aws: dict[str, str], redis_settings: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    with bench(simulator, fake_aws, monkeypatch) as made, worlds.world(made, monkeypatch, {}) as found:
        yield found


async def twice(ctx: Context) -> AgentResult:
    """An agent of two calls."""
    first = await ctx.model([{"role": "user", "content": "[[sim key=first say=one]]"}])
    second = await ctx.model([{"role": "user", "content": "[[sim key=second say=two]]"}])
    return AgentResult(f"{first.content} {second.content}", {"message": ctx.message})


def test_a_run_is_submitted_worked_on_and_read_as_its_client_reads_it(world: World) -> None:
    world.agent("twice", twice)
    run = world.submit("hello", agent="twice", instructions="be kind")
    assert world.result(run).status == "queued"
    assert world.work() == 1
    found = world.result(run)
    assert (found.status, found.response, found.data) == ("complete", "one two", {"message": "hello"})
    kinds = [event.type for event in world.events(run)]
    assert kinds[0] == "queued"
    assert kinds[-1] == "complete"


@pytest.mark.parametrize("step", [1, 2])
def test_a_worker_that_dies_after_a_step_pays_for_none_twice(world: World, step: int) -> None:
    world.agent("twice", twice)
    run = world.submit("hello", agent="twice")
    world.die_after(step)
    world.work_until_quiet()
    assert world.result(run).response == "one two"
    assert (world.calls("first").completed, world.calls("second").completed) == (1, 1)
    assert "resumed" in [event.type for event in world.events(run)]


@pytest.mark.parametrize("step", [1, 2])
def test_a_run_that_is_stopped_before_a_step_goes_on(world: World, step: int) -> None:
    world.agent("twice", twice)
    run = world.submit("hello", agent="twice")
    world.stop_before(step)
    world.work_until_quiet()
    assert world.result(run).response == "one two"
    assert (world.calls("first").completed, world.calls("second").completed) == (1, 1)


def test_an_accident_that_had_no_occasion_fails_the_test(world: World) -> None:
    world.agent("twice", twice)
    world.submit("hello", agent="twice")
    world.die_after(3)
    with pytest.raises(AssertionError, match="never came: 2 steps were recorded"):
        world.work_until_quiet()


def test_retries_pass_without_waiting(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from shared.settings import settings

    monkeypatch.setenv("RETRY_BASE_SECONDS", "30")
    settings.cache_clear()
    world.agent("twice", twice)
    run = world.submit("hello", agent="chat")
    other = world.submit("[[sim key=bad fail=500 times=2]] hello", agent="chat")
    before = world.clock.now()
    world.work_until_quiet()
    assert [world.result(one).status for one in (run, other)] == ["complete", "complete"]
    assert world.calls("bad").failed == 2
    assert world.clock.now() - before > 30


def test_an_agent_that_is_not_there_is_named(world: World) -> None:
    with pytest.raises(ValueError, match="no agent 'nobody'; there are chat"):
        world.submit("hello", agent="nobody")


def test_a_run_that_never_ends_ends_the_test(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(ctx: Context) -> AgentResult:
        raise RuntimeError("not today")

    monkeypatch.setattr(worlds, "ROUNDS", 3)
    world.agent("never", never)
    world.submit("hello", agent="never")
    with pytest.raises(AssertionError, match="does not come to its end"):
        world.work_until_quiet()


def test_what_a_test_made_is_gone_after_it(world: World) -> None:
    from functions.worker import agents
    from shared import clock

    world.agent("mine", twice)
    world.clock.advance(1000)
    world.close()
    assert "mine" not in agents.names()
    import time

    assert abs(clock.now() - time.time()) < 5


def test_the_face_has_no_other_names() -> None:
    import sluice.testing

    with pytest.raises(AttributeError, match="no attribute 'bench_of'"):
        _: Any = sluice.testing.bench_of
