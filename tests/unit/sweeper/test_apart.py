"""What is wrong with one row, or with one part of a sweep, keeps nothing else from being looked after."""

import time
from typing import Any

import pytest
from botocore.exceptions import ClientError

from functions.sweeper import alarms, batches, firings, shards
from functions.sweeper import sweep as sweep_module
from functions.sweeper.sweep import sweep
from shared.errors import DependencyDown, Gone
from shared.limits.admission import Gate
from shared.tasks import store, table
from shared.tasks.items import row_key
from shared.tasks.model import Task

from .test_unsent import gate, messages, submitted, swept

__all__ = ["gate"]

WRONG = [
    Gone("an object of it is gone"),
    DependencyDown("s3"),
    RuntimeError("a defect"),
    ClientError({"Error": {"Code": "ValidationException", "Message": "Item size has exceeded"}}, "UpdateItem"),
]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda error: type(error).__name__)
def test_a_row_that_cannot_be_seen_to_holds_up_no_other(
    gate: Gate, monkeypatch: pytest.MonkeyPatch, wrong: Exception
) -> None:
    assert gate
    real = sweep_module._look_after

    def look_after(task: Task, *more: Any) -> str:
        if task.task_id == "wrong":
            raise wrong
        return real(task, *more)

    monkeypatch.setattr(sweep_module, "_look_after", look_after)
    messages()
    submitted("wrong", minutes_ago=40)
    submitted("t", minutes_ago=30)
    done = swept(monkeypatch, after_s=0)
    assert done["sent"] == 1
    assert messages() == ["t"]
    assert done.get(shards.AWAY, 0) + done.get(shards.UNREADABLE, 0) == 1


@pytest.mark.parametrize("part", [(alarms, "ring"), (firings, "bring"), (batches, "poke")], ids=lambda part: part[1])
def test_a_part_that_fails_holds_up_no_other_and_the_sweep_has_failed(
    gate: Gate, monkeypatch: pytest.MonkeyPatch, part: tuple[Any, str]
) -> None:
    assert gate

    def fail(*_: Any) -> Any:
        raise ClientError({"Error": {"Code": "ValidationException"}}, "Query")

    recounted: list[object] = []
    monkeypatch.setattr(*part, fail)
    monkeypatch.setattr(sweep_module, "recount", lambda *_: recounted.append(1) or 0)
    messages()
    submitted("t", minutes_ago=30)
    with pytest.raises(ClientError):
        sweep(time.time() + 60)
    assert messages() == ["t"]
    assert recounted


def test_rows_that_there_is_no_time_for_stay_due(gate: Gate) -> None:
    assert gate
    submitted("t", minutes_ago=30)
    before = store.get("t").sweeps
    row = table.get(row_key("t"))
    assert row is not None
    seen: list[object] = []
    assert shards.seen(lambda row: seen.append(row) or "seen", time.time() - 1, row) == shards.LEFT
    assert seen == []
    assert store.get("t").sweeps == before
