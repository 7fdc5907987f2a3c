"""A claim whose answer was lost is still a claim: it costs no lease and counts as no crash."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

import pytest

from benchmarks.faults.inflict import pid_of
from functions.worker.record.persist import persist
from shared.clock import day
from shared.errors import DependencyDown
from shared.settings import settings
from shared.tasks import claims, store, table
from shared.tasks.model import Task

pytestmark = pytest.mark.usefixtures("fake_aws")


@pytest.fixture(autouse=True)
def _submitted(fake_aws: dict[str, str]) -> None:
    assert fake_aws
    at = time.time()
    store.submit(Task(task_id="t", user="ann", lane="normal", agent="chat", model="m", created=at, day=day(at)), "hi")


def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    monkeypatch.setattr(claims, "now", lambda: time.time() + seconds)


@pytest.fixture
def twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Repeat every update whose answer is lost, as botocore does after a read timeout."""
    real = table.update

    def update(op: dict[str, Any]) -> Any:
        real(op)
        return real(op)

    monkeypatch.setattr(table, "update", update)


@pytest.mark.usefixtures("twice")
def test_a_claim_that_was_repeated_below_is_ours() -> None:
    task = claims.claim("t", 0)
    assert isinstance(task, Task)
    assert (task.lease_no, task.crashes, task.taken_from) == (1, 0, None)


def test_a_takeover_that_was_repeated_below_is_ours(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    dead = claims.claim("t", 0)
    assert isinstance(dead, Task)
    later(monkeypatch, settings().lease_seconds + 1)
    request.getfixturevalue("twice")
    task = claims.claim("t", 0)
    assert isinstance(task, Task)
    assert (task.lease_no, task.crashes, task.taken_from) == (2, 1, dead.lease_owner)


def lose(monkeypatch: pytest.MonkeyPatch, answers: int = 1) -> list[int]:
    """Have DynamoDB write, and lose its first answers."""
    real = table.update
    lost: list[int] = []

    def update(op: dict[str, Any]) -> Any:
        found = real(op)
        if len(lost) < answers:
            lost.append(1)
            raise DependencyDown("dynamodb")
        return found

    monkeypatch.setattr(table, "update", update)
    return lost


def test_a_claim_that_the_worker_tries_again_is_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = lose(monkeypatch)
    task = asyncio.run(persist(claims.claim, "t", 0, owner=claims.new_owner()))
    assert lost
    assert isinstance(task, Task)
    assert (task.lease_no, task.crashes) == (1, 0)


def test_a_claim_that_is_tried_again_after_its_lease_is_no_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    lose(monkeypatch)
    owner = claims.new_owner()
    with pytest.raises(DependencyDown):
        claims.claim("t", 0, owner=owner)
    later(monkeypatch, settings().lease_seconds + 1)
    task = claims.claim("t", 0, owner=owner)
    assert isinstance(task, Task)
    assert (task.lease_no, task.crashes, task.taken_from) == (2, 0, None)
    assert task.lease_until > claims.now()


def test_another_message_of_the_same_environment_is_refused() -> None:
    assert isinstance(claims.claim("t", 0), Task)
    refused = claims.claim("t", 0)
    assert isinstance(refused, claims.Refused)
    assert refused.why is claims.Refusal.LEASED


def test_the_owner_names_function_and_process_first() -> None:
    task = claims.claim("t", 0)
    assert isinstance(task, Task)
    assert str(task.lease_owner).startswith(f"{claims.environment()}-")
    assert pid_of(task) == os.getpid()
