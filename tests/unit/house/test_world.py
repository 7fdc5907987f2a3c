"""The test world that users get: real parts, accidents at will, a clock that can be set on."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from shared.errors import Conflict
from sluice import AgentResult, Context, Denied, WaitTimeout
from sluice.testing import World, plugin
from sluice.testing import world as worlds
from sluice.testing.bench import bench


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


async def careful(ctx: Context) -> AgentResult:
    """An agent that asks before it pays, and waits for a word afterwards."""

    async def pay(arguments: dict[str, Any]) -> str:
        return f"paid {arguments['amount']}"

    try:
        paid = await ctx.tool("pay", pay, {"amount": 120}, approve=True)
    except Denied as denied:
        return AgentResult(denied.reason)
    try:
        word = await ctx.wait("word", timeout=86_400, schema={"type": "string"})
    except WaitTimeout:
        word = "nothing"
    return AgentResult(f"{paid}, {word}")


@pytest.fixture
def asking(world: World) -> str:
    world.agent("careful", careful)
    run = world.submit("hello", agent="careful")
    world.work_until_quiet()
    assert world.result(run).status == "waiting"
    return run


def test_a_test_allows_a_call_and_sends_a_signal(world: World, asking: str) -> None:
    (asked,) = world.approvals(asking)
    assert (asked["tool"], asked["arguments"]) == ("pay", {"amount": 120})
    world.allow(asking, asked["fingerprint"], arguments={"amount": 5})
    world.work_until_quiet()
    assert world.approvals(asking) == []
    with pytest.raises(ValueError, match="must be of type string"):
        world.signal(asking, "word", 7)
    world.signal(asking, "word", "yes")
    world.work_until_quiet()
    assert world.result(asking).response == "paid 5, yes"
    with pytest.raises(Conflict, match="has ended"):
        world.signal(asking, "word", "again")


def test_a_test_denies_a_call(world: World, asking: str) -> None:
    (asked,) = world.approvals(asking)
    world.deny(asking, reason="too much")
    with pytest.raises(Conflict, match="otherwise"):
        world.allow(asking, asked["fingerprint"])
    world.work_until_quiet()
    assert world.result(asking).response == "too much"


def test_a_wait_of_a_day_ends_when_the_clock_says_so(world: World, asking: str) -> None:
    with pytest.raises(ValueError, match="no budget"):
        world.allow(asking, raise_usd=1)
    world.allow(asking)
    with pytest.raises(ValueError, match="0 things"):
        world.allow(asking)
    world.work_until_quiet()
    world.clock.advance(86_401)
    world.work_until_quiet()
    assert world.result(asking).response == "paid 120, nothing"


async def slow(ctx: Context) -> AgentResult:
    """An agent that sleeps for longer than SQS hides a message."""
    await ctx.sleep(float(ctx.message))
    return AgentResult("awake")


@pytest.mark.parametrize("seconds", [60, 3_600, 300 * 86_400])
def test_a_sleep_ends_when_its_time_has_passed_and_not_before(world: World, seconds: int) -> None:
    world.agent("slow", slow)
    run = world.submit(str(seconds), agent="slow")
    world.work_until_quiet()
    world.clock.advance(seconds - 30)
    world.work_until_quiet()
    assert world.result(run).status == "waiting"
    world.clock.advance(31)
    world.work_until_quiet()
    assert world.result(run).response == "awake"


@pytest.mark.parametrize(("table", "times"), [("[tool.sluice]", 1), ("[tool.other]", 0)])
def test_the_collector_passes_over_what_a_projects_tests_load(
    table: str, times: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen: list[None] = []
    monkeypatch.setattr(gc, "freeze", lambda: frozen.append(None))
    (tmp_path / "pyproject.toml").write_text(f"{table}\n")
    session: Any = SimpleNamespace(config=SimpleNamespace(rootpath=tmp_path))
    plugin.pytest_collection_finish(session)
    assert len(frozen) == times
