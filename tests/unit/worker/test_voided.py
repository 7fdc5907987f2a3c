"""An event that gives a run back names the calls whose text is void: a watcher need not wait for the next one."""

from typing import Any

import pytest

from functions.worker import agents
from functions.worker.model import step as model_step
from functions.worker.record.stops import Defer
from shared.tasks import events, settle, store
from shared.tasks.events import Event
from shared.tasks.model import Status, Task
from sluice import AgentResult

from .conftest import World
from .test_lost_answers import OneAgent


def log_of(task: Task, *types: str) -> list[Event]:
    return [event for event in events.read(task.task_id, 0).events if event.type in types]


def ask(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


@pytest.mark.parametrize("fault", ["truncate", "error_event", "drop"])
def test_a_retry_voids_the_call_that_broke_off(world: World, fault: str) -> None:
    task = world.submit(f"[[sim key=v fail={fault} times=1 words=8]] hello")
    world.work_until_quiet()
    log = log_of(task, "token", "retry", "resumed")
    (retry,) = [event for event in log if event.type == "retry"]
    shown = {event.data["call"] for event in log if event.type == "token" and event.seq < retry.seq}
    assert shown == {"model-1.1"}
    assert retry.data["void"] == ["model-1.1"]
    (resumed,) = [event for event in log if event.type == "resumed"]
    assert resumed.data["void"] == []  # said before
    standing = "".join(e.data["text"] for e in log if e.type == "token" and e.data["call"] not in retry.data["void"])
    result = settle.result_of(store.get(task.task_id))
    assert result is not None
    assert standing == result["response"]


def test_a_retry_voids_no_recorded_call_and_none_that_nobody_saw(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run(ctx: Any) -> AgentResult:
        reply = await ctx.model(ask("[[sim key=stands words=3]] first"))
        await ctx.model(ask("[[sim key=refused fail=500 times=1 words=3]] second"))  # refused before any text
        return AgentResult(reply.content)

    monkeypatch.setattr(agents, "load", lambda name: OneAgent(run))
    task = world.submit("x")
    world.work_until_quiet()
    assert store.get(task.task_id).status is Status.COMPLETE
    assert [event.data["void"] for event in log_of(task, "retry", "resumed")] == [[], []]


def test_a_deferral_voids_the_calls_under_way(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    real, deferred = model_step.model_client.call, []

    async def deferred_halfway(*args: Any, on_delta: Any, **kwargs: Any) -> Any:
        reply = await real(*args, on_delta=on_delta, **kwargs)
        if not deferred:
            deferred.append(1)
            raise Defer(0, "breaker_open")
        return reply

    monkeypatch.setattr(model_step.model_client, "call", deferred_halfway)
    task = world.submit("[[sim key=d words=5]] hello")
    world.work_until_quiet()
    assert store.get(task.task_id).status is Status.COMPLETE
    assert [event.data["void"] for event in log_of(task, "deferred", "resumed")] == [["model-1.1"], []]
