"""Runs under way: claims and heartbeats leave the index alone, so the sweeper sees each once, and comes back later."""

from __future__ import annotations

import time

import pytest

from functions.sweeper import sweep as sweep_module
from functions.sweeper.sweep import sweep
from shared.limits.admission import Gate
from shared.settings import settings
from shared.tasks import lanes, leases, listing, store
from shared.tasks.items import due_shard
from shared.tasks.model import Status

from .test_unsent import claimed, gate, submitted

__all__ = ["gate"]


def swept(monkeypatch: pytest.MonkeyPatch, after_s: float) -> dict[str, int]:
    monkeypatch.setattr(sweep_module, "now", lambda: time.time() + after_s)
    return sweep(time.time() + after_s + 60)


def due_at(task_id: str) -> float:
    return listing.due(due_shard(task_id), before=time.time() + 1e6, limit=10)[task_id]


@pytest.mark.usefixtures("gate")
def test_a_run_under_way_is_looked_after_again_after_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    for lane in ("high", "quarantine"):
        lanes.send(lane, "somebody-elses", 0, user="bob")  # no lane is empty: only what is due is looked at
    submitted("t")
    task = claimed("t")
    before = due_at("t")
    leases.heartbeat("t", task.lease_no, task)
    assert due_at("t") == before, "neither a claim nor a heartbeat pays for the index"
    assert swept(monkeypatch, store.UNSENT_GRACE_SECONDS + 1)["running"] == 1
    assert before + 60 < due_at("t") <= time.time() + leases.RUNNING_CHECK_SECONDS + store.UNSENT_GRACE_SECONDS + 2
    assert "running" not in swept(monkeypatch, store.UNSENT_GRACE_SECONDS + 61)


def test_a_run_whose_worker_and_message_are_gone_is_sent_again(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    assert gate
    submitted("t")
    claimed("t")
    late = settings().lease_seconds + leases.OVERDUE_LEASE_SECONDS + 1
    assert swept(monkeypatch, late)["sent"] == 1
    assert store.get("t").status is Status.PROCESSING


def test_many_are_looked_at_in_one_sweep(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    assert gate
    for n in range(30):
        submitted(f"t{n}")
        claimed(f"t{n}")
    assert swept(monkeypatch, store.UNSENT_GRACE_SECONDS + 1)["running"] == 30
