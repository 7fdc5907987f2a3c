"""Text that nobody watches or reads is stored in few pieces; whoever comes finds all of it within about a second."""

import asyncio
import threading
import time
from typing import Any

import pytest

from functions.worker import agents
from functions.worker.record import eventlog
from shared import watchers
from shared.tasks import events
from shared.tasks.store import get
from sluice import AgentResult

from .conftest import World

STREAM = "[[sim words=60 latency=2 ttft=0.1]] hello"


@pytest.fixture(autouse=True)
def _quicker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look and write four times as often, so that streams may be short."""
    monkeypatch.setattr(eventlog, "SLOW_FLUSH_SECONDS", 0.25)


def types(task_id: str) -> list[str]:
    return [event.type for event in events.read(task_id, 0).events]


def text(task_id: str) -> str:
    return "".join(event.data["text"] for event in events.read(task_id, 0).events if event.type == "token")


def while_running(world: World, act: Any) -> Any:
    """Work, and meanwhile do something in a thread; returns what it returned."""
    result: list[Any] = []
    thread = threading.Thread(target=lambda: result.append(act()))
    thread.start()
    world.work()
    thread.join()
    return result[0]


def soon(condition: Any, seconds: float = 10) -> bool:
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        if condition():
            return True
        time.sleep(0.05)
    return False


def test_text_that_nobody_reads_is_stored_with_the_step(world: World) -> None:
    task = world.submit(STREAM)
    world.work()
    assert types(task.task_id) == ["queued", "started", "token", "step", "complete"]
    done = get(task.task_id)
    assert done.result is not None
    assert text(task.task_id) == done.result["response"]


def test_a_reader_finds_text_before_the_run_ends(world: World) -> None:
    task = world.submit(STREAM)

    def read() -> bool:
        assert soon(lambda: get(task.task_id).status == "processing")
        watchers.reading(task.task_id, 30)
        found = soon(lambda: "token" in types(task.task_id))
        return found and get(task.task_id).status == "processing"

    assert while_running(world, read)
    assert types(task.task_id).count("token") > 1  # stored as it comes from then on


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
    task = world.submit(STREAM)
    world.work()
    assert types(task.task_id).count("token") > 1


@pytest.mark.parametrize(("most", "pieces"), [(20, 2), (1_000, 1)])
def test_much_text_is_stored_all_the_same(
    world: World, monkeypatch: pytest.MonkeyPatch, most: int, pieces: int
) -> None:
    monkeypatch.setattr(eventlog, "UNREAD_CHARACTERS", most)
    task = world.submit(STREAM)
    world.work()
    found = types(task.task_id).count("token")
    assert found >= pieces
    assert (found == 1) == (pieces == 1)


def test_what_an_agent_tells_does_not_wait(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    class Telling:
        async def run(self, ctx: Any) -> AgentResult:
            await ctx.emit("news", {"n": 1})
            await asyncio.sleep(1.5)
            return AgentResult("done")

    monkeypatch.setattr(agents, "load", lambda name: Telling())
    task = world.submit("x")

    def read() -> bool:
        return soon(lambda: "news" in types(task.task_id)) and get(task.task_id).status == "processing"

    assert while_running(world, read)


def test_without_valkey_text_is_stored_as_it_comes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(_task_ids: list[str]) -> Any:
        raise watchers.RedisError("away")

    monkeypatch.setattr(watchers, "look_at", away)
    task = world.submit(STREAM)
    world.work()
    assert types(task.task_id).count("token") > 1
