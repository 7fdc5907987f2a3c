"""A slot that comes free just before a task's row says that it waits for one: who freed it does not find the task."""

from collections.abc import Callable
from typing import Any

import pytest

from functions.worker.run import rest
from shared.limits.admission import Gate
from shared.tasks import inbox, lanes, leases, parking, spend, store, table, waking
from shared.tasks.model import Status, Task
from sluice import AgentResult, Context
from tests.unit.worker.conftest import Install, World

Free = Callable[[], None]


@pytest.fixture
def gate(world: World) -> Gate:
    assert world
    return Gate(spend.load)


@pytest.fixture
def free(gate: Gate) -> Free:
    """Have another run of the user hold its only slot; what is returned ends that run, which looks for parked ones."""
    assert gate.take_slot("ann", "another", 1, 60)

    def ends() -> None:
        gate.release_slot("ann", "another")
        assert parking.unpark_next(gate, "ann", 1) == 0

    return ends


def before(patch: pytest.MonkeyPatch, module: Any, name: str, act: Free, when: Callable[..., bool]) -> None:
    """Do something once before a function of a module is called so."""
    real, done = getattr(module, name), []

    def wrapped(*args: Any, **more: Any) -> Any:
        if not done and when(*args, **more):
            done.append(1)
            act()
        return real(*args, **more)

    patch.setattr(module, name, wrapped)


def test_a_run_that_is_given_back_for_want_of_a_slot(world: World, free: Free, monkeypatch: pytest.MonkeyPatch) -> None:
    before(monkeypatch, leases, "requeue", free, lambda _task, how, *_: how.park)
    task = world.submit("[[sim words=1]] hello", running_cap=1)
    world.work()
    assert not store.get(task.task_id).parked
    world.work()
    assert store.get(task.task_id).status is Status.COMPLETE


def test_a_run_that_is_woken(world: World, gate: Gate, install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run(ctx: Context) -> AgentResult:
        return AgentResult(str(await ctx.wait("go")))

    install(run)
    task = world.submit("x", running_cap=1)
    world.work()
    assert gate.take_slot("ann", "another", 1, 60)
    before(
        monkeypatch,
        table,
        "change",
        lambda: gate.release_slot("ann", "another"),
        lambda *_, **what: "parked" in what.get("sets", {}),
    )
    woken = inbox.post(task.task_id, "go", "yes")
    assert waking.send(gate, woken.task)
    assert not store.get(task.task_id).parked
    world.work()
    assert store.get(task.task_id).status is Status.COMPLETE


@pytest.mark.parametrize("freed", [True, False])
def test_a_child_that_is_started(
    world: World, gate: Gate, install: Install, monkeypatch: pytest.MonkeyPatch, freed: bool
) -> None:
    async def run(ctx: Context) -> AgentResult:
        await ctx.run("chat", "x")
        return AgentResult("done")

    def child_of(task: Task, *_: Any, **__: Any) -> bool:
        return task.parent is not None and freed

    install(run)
    task = world.submit("x", running_cap=2)
    assert gate.take_slot("ann", "another", 2, 60)
    monkeypatch.setattr(rest.waking, "rests", lambda *_: None)  # its parent's own slot does not come free
    before(monkeypatch, store, "submit", lambda: gate.release_slot("ann", "another"), child_of)
    world.work()
    sent = [store.get(lanes.parse(record["body"]).task_id) for record in world.receive()]
    assert [(child.parent, child.parked) for child in sent] == [(task.task_id, False)] * freed


def test_a_run_whose_session_is_free(world: World, gate: Gate, free: Free, monkeypatch: pytest.MonkeyPatch) -> None:
    task = world.submit("[[sim words=1]] hello", running_cap=1, parked=True, after="gone")
    before(monkeypatch, store, "park_for_slot", free, lambda *_: True)
    assert parking.wake(gate, task.task_id)
    assert not store.get(task.task_id).parked
    world.work()
    assert store.get(task.task_id).status is Status.COMPLETE
