"""The worker's test world, and a worker that dies or moves on at a chosen step."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from functions.worker import agents
from functions.worker.record.stops import Continue
from functions.worker.run.context import Context
from shared.errors import LeaseLost
from shared.tasks import checkpoints, lanes, settle, store
from shared.tasks.model import Status, Task
from tests.unit.worker.conftest import World, world

__all__ = ["world"]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[[ModuleType], None]:
    """Let workers find an example as the agent `example`."""

    def use(module: ModuleType) -> None:
        monkeypatch.setattr(agents, "load", lambda name: {"example": module}[name])

    return use


@pytest.fixture
def copied(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let workers find the examples as if their files had been copied to the agents'."""
    monkeypatch.setattr(agents, "__path__", [*agents.__path__, str(Path(__file__).parents[3] / "examples/agents")])
    agents.names.cache_clear()
    yield
    agents.names.cache_clear()


def result_of(task: Task) -> dict[str, Any]:
    row = store.get(task.task_id)
    assert row.status is Status.COMPLETE, (row.status, row.error)
    result = settle.result_of(row)
    assert result is not None
    return result


def die_after(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    """Let the worker be gone right after it recorded so many steps: it writes nothing more, its lease lapses."""
    real, recorded = checkpoints.record, 0

    def record(*args: Any, **kwargs: Any) -> None:
        nonlocal recorded
        real(*args, **kwargs)
        recorded += 1
        if recorded == steps:
            raise LeaseLost("dead")

    monkeypatch.setattr(checkpoints, "record", record)


def stop_before(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Let the function's time be nearly over when the run comes to a step, once."""
    real, begun = Context.check_time, 0

    def check_time(self: Context, needed_s: float) -> None:
        nonlocal begun
        real(self, needed_s)
        if needed_s == 0:  # asked once a step
            begun += 1
            if begun == step:
                raise Continue

    monkeypatch.setattr(Context, "check_time", check_time)


def crash_and_take_over(world: World) -> None:
    """Run a batch that dies, let its leases lapse, and let the next worker finish."""
    records = world.receive()
    assert world.invoke(records) == [record["messageId"] for record in records]
    for record in records:
        world.lapse(lanes.parse(record["body"]).task_id)
    assert world.invoke(records) == []
