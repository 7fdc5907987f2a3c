"""Tasks that wait longer than their ``timeout_s``: the sweeper ends those that nobody else has seen."""

from __future__ import annotations

import time
from typing import Any

import pytest

from functions.sweeper import sweep as sweep_module
from functions.sweeper.sweep import sweep
from shared import valkey
from shared.clock import day
from shared.limits import names
from shared.limits.admission import Ask, Gate
from shared.limits.tiers import resolve
from shared.tasks import claims, overdue, spend, store
from shared.tasks.ids import new_task_id
from shared.tasks.model import Status, Task


@pytest.fixture
def gate(fake_aws: dict[str, str], redis_settings: str, monkeypatch: pytest.MonkeyPatch) -> Gate:
    assert fake_aws
    assert redis_settings
    made = Gate(load_spend=spend.load)
    monkeypatch.setattr(sweep_module, "_gate", lambda: made)
    return made


def waiting(gate: Gate, *, age_s: float, timeout_s: float | None, **more: Any) -> Task:
    """Admit and write a task that was submitted so long ago."""
    at = time.time() - age_s
    params = {} if timeout_s is None else {"timeout_s": timeout_s}
    task = Task(
        task_id=new_task_id(), user="ann", lane="normal", agent="chat", model="m", created=at, day=day(at),
        params=params, reserved_tokens=10, reserved_micro_usd=10, **more,
    )  # fmt: skip
    ends = 0.0 if timeout_s is None else at + timeout_s
    assert gate.admit(Ask(task.user, task.task_id, task.day, 10, 10, resolve("load"), task.lane, ends)).admitted
    store.submit(task, "hello")
    return task


@pytest.mark.parametrize("parked", [True, False])
def test_a_task_that_waits_too_long_ends_as_timed_out(gate: Gate, parked: bool) -> None:
    task = waiting(gate, age_s=6, timeout_s=5, parked=parked)
    assert sweep(time.time() + 3600)["timed out"] == 1
    row = store.get(task.task_id)
    assert (row.status, row.error, row.lease_no) == (Status.FAILED, overdue.ERROR, 0)
    assert valkey.client().zcard(names.OPEN) == 0, "its place in the queue is free again"
    assert sweep(time.time() + 3600).get("timed out") is None, "once"


@pytest.mark.parametrize("timeout_s", [60, None])
def test_one_with_time_left_waits_on(gate: Gate, timeout_s: float | None) -> None:
    task = waiting(gate, age_s=6, timeout_s=timeout_s, parked=True)
    assert sweep(time.time() + 3600).get("timed out") is None
    assert store.get(task.task_id).status is Status.QUEUED


def test_one_that_a_worker_holds_is_the_workers(gate: Gate) -> None:
    task = waiting(gate, age_s=6, timeout_s=5)
    assert isinstance(claims.claim(task.task_id, 0), Task)
    assert sweep(time.time() + 3600).get("timed out") is None
    assert not overdue.expire_by_id(gate, task.task_id)
    assert store.get(task.task_id).status is Status.PROCESSING


def test_one_that_is_claimed_meanwhile_is_not_ended(gate: Gate) -> None:
    seen = waiting(gate, age_s=6, timeout_s=5)
    as_read = store.get(seen.task_id)
    assert isinstance(claims.claim(seen.task_id, 0), Task)
    assert not overdue.expire(gate, as_read)
    assert store.get(seen.task_id).status is Status.PROCESSING
