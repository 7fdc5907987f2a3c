"""A long outage of the provider: whoever probes it pays with no attempt of its own."""

import asyncio
import itertools
import threading
import time
from typing import Any

import pytest

from functions.worker.environment import clients
from functions.worker.environment.environment import Environment, environment
from functions.worker.lane.batch import run_batch
from functions.worker.model import leave
from functions.worker.run import closing
from shared import clock
from shared.settings import settings
from shared.tasks import store
from shared.tasks.model import Status
from tests.unit.worker.conftest import LASTING, World

FAILURES = 5
"""Of calls one after the other, which open the breaker."""


def test_an_outage_is_learnt_from_few_calls(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a first failure the calls of a whole batch come one by one, and ask again each time."""
    for name, value in {"BREAKER_OPEN_SECONDS": "60", "BREAKER_FAILURES": str(FAILURES)}.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    told: list[None] = []
    news, note, waiting = threading.Condition(), Environment.note_failure, itertools.count(1)

    def noting(self: Environment, *args: Any, **more: Any) -> None:
        note(self, *args, **more)
        with news:
            told.append(None)
            news.notify_all()

    def wait(before: int) -> None:
        with news:
            assert news.wait_for(lambda: len(told) >= before, timeout=30)

    async def hesitate() -> None:
        """Wait until the breaker knows of every call that goes before this one, as time usually sees to."""
        await asyncio.to_thread(wait, min(next(waiting), FAILURES))

    monkeypatch.setattr(Environment, "note_failure", noting)
    monkeypatch.setattr(leave, "_hesitate", hesitate)
    world.sim.post("/config", json={"outage": True})
    world.submit("[[sim key=few words=1]] first")
    world.work()
    tasks = [world.submit(f"[[sim key=few words=1]] {n}") for n in range(9)]
    world.work()
    assert world.calls("few")["started"] == FAILURES
    assert [store.get(task.task_id).reason for task in tasks].count("breaker_open") >= 9 - FAILURES


def test_probing_a_long_outage_uses_up_no_attempts(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"BREAKER_FAILURES": "1", "BREAKER_OPEN_SECONDS": "0.1", "MAX_RETRIES": "1"}.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    monkeypatch.setattr(leave, "DEFER_JITTER_SECONDS", 0.0)
    world.sim.post("/config", json={"outage": True})
    task = world.submit("[[sim key=probe words=1]] hello")
    give_up = time.monotonic() + 60
    while world.calls("probe")["started"] < 5 and time.monotonic() < give_up:
        world.work()
        time.sleep(0.1)
    row = store.get(task.task_id)
    assert (row.status, row.attempt, row.reason) == (Status.QUEUED, 1, "breaker_open")
    assert row.deferrals >= 3
    world.sim.post("/config", json={"outage": False})
    world.work_until_quiet()
    assert store.get(task.task_id).status is Status.COMPLETE


@pytest.mark.parametrize("params", [{"timeout_s": 60.0}, {}], ids=["the client's limit", "the limit of every run"])
def test_runs_wait_for_an_empty_account_as_long_as_they_may_take(
    world: World, monkeypatch: pytest.MonkeyPatch, params: dict[str, Any]
) -> None:
    """The run that finds it empty fails; those behind it, and one taken over, probe it and lose nothing."""
    monkeypatch.setenv("BREAKER_OPEN_SECONDS", "0.1")
    settings.cache_clear()
    monkeypatch.setattr(leave, "DEFER_JITTER_SECONDS", 0.0)
    monkeypatch.setattr(leave, "HESITATION_SECONDS", 0.0)
    monkeypatch.setattr(closing, "DEFAULT_TIMEOUT_SECONDS", 60.0)
    found = world.submit("[[sim fail=quota]] hello")
    world.work()
    assert (store.get(found.task_id).error or {})["code"] == "provider_insufficient_quota"
    task = world.submit("[[sim key=empty fail=quota]] hello", params=params)
    give_up = time.monotonic() + 30
    while not (row := store.get(task.task_id)).status.terminal and time.monotonic() < give_up:
        world.work()
        time.sleep(0.05)
        if world.calls("empty")["started"] >= 2:
            monkeypatch.setattr(clock, "_ahead", 60.0)
    assert (row.error or {})["code"] == "timeout"
    assert (row.attempt, row.micro_usd) == (0, 0)
    assert row.deferrals >= world.calls("empty")["started"] >= 2


def test_a_prompt_that_always_fails_ends_although_its_owners_breaker_is_open(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its probes are at its own cost: deferred for nothing, it would be tried for ever."""
    for name, value in {"BREAKER_FAILURES": "2", "BREAKER_OPEN_SECONDS": "0.1", "MAX_RETRIES": "3"}.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    monkeypatch.setattr(leave, "DEFER_JITTER_SECONDS", 0.0)
    monkeypatch.setattr(leave, "HESITATION_SECONDS", 0.0)
    tasks = [world.submit(f"[[sim key=poison fail=500]] {n}") for n in range(3)]
    give_up = time.monotonic() + 30
    while not all(store.get(task.task_id).status.terminal for task in tasks) and time.monotonic() < give_up:
        world.work()
        time.sleep(0.1)
    rows = [store.get(task.task_id) for task in tasks]
    assert [(row.status, (row.error or {}).get("code")) for row in rows] == [(Status.FAILED, "provider_error")] * 3
    assert world.calls("poison")["started"] == 3 * 4


def test_a_malformed_reply_opens_no_breaker_and_ends_after_its_retries(world: World) -> None:
    tasks = [world.submit(f"[[sim key=odd fail=garbage]] {n}") for n in range(5)]
    world.work_until_quiet()
    rows = [store.get(task.task_id) for task in tasks]
    assert [(row.status, row.deferrals) for row in rows] == [(Status.FAILED, 0)] * 5
    assert world.calls("odd")["started"] == 5 * (settings().max_retries + 1)
    assert environment_states(world) == {}


def test_one_owners_failing_prompts_delay_nobody_else(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BREAKER_OPEN_SECONDS", "60")
    settings.cache_clear()
    for fault in ("500", "503", "drop"):
        for n in range(6):
            world.submit(f"[[sim fail={fault}]] {n}", user="mallory")
        world.work()
    assert environment_states(world)["mallory"] == "open"
    task = world.submit("[[sim words=1]] hello", user="bob")
    world.work()
    row = store.get(task.task_id)
    assert (row.status, row.deferrals, row.attempt) == (Status.COMPLETE, 0, 0)


def test_a_provider_that_refuses_connections_is_known_to_all_from_one_owner(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("BREAKER_OPEN_SECONDS", "60")
    settings.cache_clear()
    clients.model.cache_clear()
    monkeypatch.setattr(leave, "HESITATION_SECONDS", 0.0)
    for n in range(6):
        world.submit(f"{n}")
        world.work()
    assert environment_states(world)[""] == "open"
    other = world.submit("hello", user="bob")
    world.work()
    row = store.get(other.task_id)
    assert (row.status, row.reason, row.attempt) == (Status.QUEUED, "breaker_open", 0)


def environment_states(world: World) -> dict[str, str]:
    async def states() -> dict[str, str]:
        return {state.owner: state.state for state in environment().breaker.states()}

    return world.runner.run(states())


def test_a_run_that_one_model_puts_off_does_not_keep_its_environment_from_others(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"BREAKER_OPEN_SECONDS": "60", "BREAKER_FAILURES": "1"}.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    monkeypatch.setattr(leave, "HESITATION_SECONDS", 0.0)

    async def held_for() -> float:
        return environment().held_until - time.time()

    world.sim.post("/config", json={"outage": True, "outage_fault": "quota", "outage_models": ["gpt-4o"]})
    for n in range(2):
        world.submit(f"[[sim words=1]] {n}", model="gpt-4o")
        world.work()
    assert environment_states(world)[""] == "open"
    assert world.runner.run(held_for()) <= 0
    # With the deployment's own model nobody can go on: what is taken would only be put off as well.
    world.sim.post("/config", json={"outage_models": ["gpt-4o-mini"]})
    for n in range(2):
        world.submit(f"[[sim words=1]] again {n}")
        world.work()
    assert world.runner.run(held_for()) > 0


def test_a_run_that_the_providers_budget_puts_off_comes_back_for_its_place(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROVIDER_RPM", "30")
    monkeypatch.setenv("PROVIDER_MAX_WAIT_SECONDS", "1")
    settings.cache_clear()
    tasks = [world.submit(f"[[sim words=1]] {n}") for n in range(7)]  # three at once, then one every 2.1 s
    give_up = time.monotonic() + 60
    while not all(store.get(task.task_id).status.terminal for task in tasks) and time.monotonic() < give_up:
        world.work()
        time.sleep(0.2)
    rows = [store.get(task.task_id) for task in tasks]
    assert [row.status for row in rows] == [Status.COMPLETE] * 7
    assert max(row.deferrals for row in rows) <= 2
    assert {row.attempt for row in rows} == {0}


def test_a_probe_lets_others_through_as_soon_as_its_reply_begins(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"BREAKER_FAILURES": "1", "BREAKER_OPEN_SECONDS": "0.1"}.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    monkeypatch.setattr(leave, "DEFER_JITTER_SECONDS", 0.0)
    monkeypatch.setattr(leave, "HESITATION_SECONDS", 0.0)
    world.sim.post("/config", json={"outage": True, "outage_fault": "quota"})
    world.submit("[[sim words=1]] opens it")
    world.work()
    assert environment_states(world)[""] in ("open", "half_open")
    world.sim.post("/config", json={"outage": False})
    time.sleep(0.2)
    probe = world.submit(f"[[sim key=long {LASTING}]] long", user="ann")
    world.runner.run(_until_closed(world, probe.task_id))


async def _until_closed(world: World, task_id: str) -> None:
    """Run the probe, and see the breaker closed while it still streams."""
    records = world.receive()
    work = asyncio.ensure_future(run_batch({"Records": records}, time.time() + 60, environment()))
    while not work.done():
        states = await asyncio.to_thread(environment().breaker.states)
        if {state.state for state in states if not state.owner} == {"closed"}:
            break
        await asyncio.sleep(0.05)
    assert not work.done()
    await asyncio.to_thread(world.hurry, "long")
    await work
    assert store.get(task_id).status is Status.COMPLETE


def test_an_agents_own_model_that_nobody_priced_is_not_called(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALLOW_UNPRICED_MODELS", "false")
    settings.cache_clear()
    task = world.submit("[[sim key=unpriced]] hello", model="somebody-elses-model")
    world.work()
    row = store.get(task.task_id)
    assert (row.status, (row.error or {}).get("code")) == (Status.FAILED, "unpriced_model")
    assert world.calls("unpriced")["started"] == 0
