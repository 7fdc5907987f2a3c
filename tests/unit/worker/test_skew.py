"""Machines whose clocks differ: a session's memory is neither lost nor turned round by it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from shared import clock
from shared.clock import SKEW_SECONDS
from shared.tasks import sessions, store
from shared.tasks.model import Status, Task
from sluice import AgentResult, Context
from tests.unit.worker.conftest import Install, World


@pytest.fixture(autouse=True)
def seen(install: Install) -> Iterator[dict[str, list[str]]]:
    """Have runs tell what they remember; returns it by their messages."""
    found: dict[str, list[str]] = {}

    async def run(ctx: Context) -> AgentResult:
        found[ctx.message] = [str(one["content"]) for one in await ctx.history() if one["role"] == "user"]
        return AgentResult("ok")

    install(run)
    yield found
    clock.set_ahead(0)


def ended(world: World, message: str, ahead: float) -> Task:
    """Submit by a clock that is right, and work by one that is ahead."""
    clock.set_ahead(0)
    task = world.submit(message, session_id="s")
    clock.set_ahead(ahead)
    world.work_until_quiet()
    clock.set_ahead(0)
    row = store.get(task.task_id)
    assert row.status is Status.COMPLETE, row.error
    return row


@pytest.mark.parametrize("ahead", [5, -5, SKEW_SECONDS - 5, 5 - SKEW_SECONDS])
def test_a_turn_is_remembered_whatever_its_workers_clock(
    world: World, seen: dict[str, list[str]], ahead: float
) -> None:
    ended(world, "first", ahead)
    ended(world, "second", 0)
    assert seen["second"] == ["first"]


def test_a_turn_that_is_later_by_more_than_clocks_differ_is_later(world: World, seen: dict[str, list[str]]) -> None:
    ended(world, "first", SKEW_SECONDS + 5)
    ended(world, "second", 0)
    assert seen["second"] == []


def test_turns_stand_in_the_order_of_their_runs(world: World, seen: dict[str, list[str]]) -> None:
    for message, ahead in (("one", 50), ("two", 0), ("three", -5), ("four", 5)):
        ended(world, message, ahead)
    assert [turn.user for turn in sessions.read("ann", "s", limit=9)] == ["one", "two", "three", "four"]
    assert seen["four"] == ["one", "two", "three"]
