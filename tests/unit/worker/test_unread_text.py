"""Text that nobody watches or reads is stored in few pieces; whoever comes finds all of it within about a second."""

import asyncio
from typing import Any

import pytest

from functions.worker import agents
from functions.worker.record import eventlog
from shared import watchers
from shared.tasks import events
from shared.tasks.store import get
from sluice import AgentResult

from .conftest import LASTING, World, meanwhile, until

STREAM = "[[sim words=60 latency=2 ttft=0.1]] hello"
LONG = f"[[sim key=k {LASTING}]] hello"


@pytest.fixture(autouse=True)
def _quicker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look and write four times as often, so that streams may be short."""
    monkeypatch.setattr(eventlog, "SLOW_FLUSH_SECONDS", 0.25)


def types(task_id: str) -> list[str]:
    return [event.type for event in events.read(task_id, 0).events]


def text(task_id: str) -> str:
    return "".join(event.data["text"] for event in events.read(task_id, 0).events if event.type == "token")


def work_until_text_is_stored(world: World, task_id: str) -> None:
    """Work on a run of a long call, which is over soon after some of its text is found."""

    def read() -> None:
        until(lambda: "token" in types(task_id))
        assert get(task_id).status == "processing"
        world.hurry("k")

    with meanwhile(read):
        world.work()
    assert types(task_id).count("token") > 1


def test_text_that_nobody_reads_is_stored_with_the_step(world: World) -> None:
    task = world.submit(STREAM)
    world.work()
    assert types(task.task_id) == ["queued", "started", "token", "step", "complete"]
    done = get(task.task_id)
    assert done.result is not None
    assert text(task.task_id) == done.result["response"]


def test_a_reader_finds_text_before_the_run_ends(world: World) -> None:
    task = world.submit(LONG)

    def come() -> None:
        until(lambda: get(task.task_id).status == "processing")
        watchers.reading(task.task_id, 60)

    with meanwhile(come):
        work_until_text_is_stored(world, task.task_id)


def test_a_reader_who_left_is_forgotten(world: World) -> None:
    task = world.submit(STREAM)
    watchers.reading(task.task_id, -5)
    world.work()
    assert types(task.task_id).count("token") == 1


def test_a_reader_is_no_watcher(world: World) -> None:
    assert world
    watchers.reading("t", 30)
    assert watchers.of("t") == {}
    watchers.add("t", "c", 3)
    assert watchers.look("t") == ({"c": 3}, True, ())


def test_old_text_is_stored_all_the_same(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eventlog, "UNREAD_SECONDS", 0.3)
    work_until_text_is_stored(world, world.submit(LONG).task_id)


def test_much_text_is_stored_all_the_same(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eventlog, "UNREAD_CHARACTERS", 20)
    work_until_text_is_stored(world, world.submit(LONG).task_id)


def test_what_is_less_than_much_is_stored_with_the_step(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eventlog, "UNREAD_CHARACTERS", 1_000)
    task = world.submit(STREAM)
    world.work()
    assert types(task.task_id).count("token") == 1


def test_what_an_agent_tells_does_not_wait(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    class Telling:
        async def run(self, ctx: Any) -> AgentResult:
            await ctx.emit("news", {"n": 1})
            await asyncio.to_thread(until, lambda: "news" in types(ctx.task_id))
            return AgentResult("done")

    monkeypatch.setattr(agents, "load", lambda name: Telling())
    task = world.submit("x")
    world.work()
    assert get(task.task_id).status == "complete"


def test_without_valkey_text_is_stored_as_it_comes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(_task_ids: list[str]) -> Any:
        raise watchers.RedisError("away")

    monkeypatch.setattr(watchers, "look_at", away)
    work_until_text_is_stored(world, world.submit(LONG).task_id)
