"""A run within its bounds: fallback models, budgets, the provider's rate, running slots, quarantine."""

import time

import pytest

from functions.worker.environment.environment import Environment, environment
from shared.limits.admission import Ask, Gate
from shared.limits.tiers import resolve
from shared.settings import settings
from shared.tasks import claims, events, store
from shared.tasks.model import Status, Task
from tests.unit.worker.conftest import World


def test_a_fallback_model_answers_while_the_first_one_is_down(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BREAKER_OPEN_SECONDS", "60")
    settings.cache_clear()
    world.sim.post("/config", json={"outage_models": ["gpt-4o-mini"], "outage": True})
    opening = []
    for n in range(6):  # opens the first model's breaker
        opening.append(world.submit(f"[[sim words=1]] {n}").task_id)
    world.work()

    async def states() -> dict[str, str]:
        return {state.owner: state.state for state in environment().breaker.states()}

    known = world.runner.run(states())
    assert known == {"": "closed", store.get(opening[0]).user: "open"}, [store.get(t) for t in opening]
    task = world.submit("[[sim words=2]] hello", params={"models": ["gpt-4o"]})
    records = [r for r in world.receive() if task.task_id in r["body"]]
    world.invoke(records)
    row = store.get(task.task_id)
    assert row.reason is None, row
    assert (row.status, row.model, row.model_used) == (Status.COMPLETE, "gpt-4o-mini", "gpt-4o")
    assert store.public(row)["model"] == "gpt-4o"


def test_a_call_that_max_cost_does_not_cover_is_not_made(world: World) -> None:
    task = world.submit("[[sim key=cost]] hello", params={"max_cost_usd": 0.000001})
    world.work()
    row = store.get(task.task_id)
    assert row.status is Status.FAILED
    assert row.error is not None
    assert (row.error["code"], row.error["type"]) == ("insufficient_quota", "insufficient_quota")
    assert world.calls("cost")["started"] == 0


def test_the_daily_ceiling_holds_before_each_call(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second model call of the run does not fit what the day has left."""
    monkeypatch.setenv("LEASE_SECONDS", "60")
    settings.cache_clear()
    asked = {"agent": "tools", "reserved_tokens": 0, "reserved_micro_usd": 0}
    asked_for: list[int] = []
    reserve = Environment.reserve

    def noted(self: Environment, task: Task, day: str, tokens: int, micro_usd: int) -> None:
        asked_for.append(tokens)
        reserve(self, task, day, tokens, micro_usd)

    monkeypatch.setattr(Environment, "reserve", noted)
    world.submit("[[sim key=day tool=current_time]] now", cap_tokens=10**9, **asked)
    world.work()
    needed = max(asked_for)
    task = world.submit("[[sim key=day tool=current_time]] now", cap_tokens=needed - 1, user="bob", **asked)
    world.work()
    row = store.get(task.task_id)
    assert row.status is Status.FAILED
    assert row.error is not None
    assert row.error["code"] == "insufficient_quota"
    assert world.calls("day")["started"] == 2 + 1
    assert row.usage.tokens < needed


def test_a_spent_provider_rate_defers_without_an_attempt(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROVIDER_RPM", "10")
    monkeypatch.setenv("PROVIDER_MAX_WAIT_SECONDS", "0")
    settings.cache_clear()
    tasks = [world.submit(f"[[sim words=1]] {n}") for n in range(4)]
    world.work()
    rows = [store.get(task.task_id) for task in tasks]
    assert sum(row.status is Status.COMPLETE for row in rows) == 1
    waiting = [row for row in rows if row.status is Status.QUEUED]
    assert {(row.reason, row.attempt, row.deferrals) for row in waiting} == {("provider_budget", 0, 1)}


def test_a_parked_task_runs_when_its_users_slot_comes_free(world: World) -> None:
    limits = resolve("load", {"running": 1})
    gate = environment_gate(world)
    first = world.submit("[[sim words=1]] 1", running_cap=1, task_id=f"a{time.time()}")
    assert gate.admit(Ask("ann", first.task_id, first.day, 10, 10, limits)).slot
    second = Task(
        task_id=f"b{time.time()}", user="ann", lane="normal", agent="chat", model="gpt-4o-mini", created=time.time(),
        day=first.day, tier="load", running_cap=1,
    )  # fmt: skip
    verdict = gate.admit(Ask("ann", second.task_id, second.day, 10, 10, limits))
    assert verdict.admitted
    assert not verdict.slot
    second.parked = True
    store.submit(second, "[[sim words=1]] 2")
    world.work()
    assert store.get(first.task_id).status is Status.COMPLETE
    row = store.get(second.task_id)
    assert not row.parked
    world.work()
    assert store.get(second.task_id).status is Status.COMPLETE


def environment_gate(world: World) -> Gate:
    async def get() -> Gate:
        return environment().gate

    return world.runner.run(get())


def test_a_task_that_finds_no_slot_is_parked_instead_of_running(world: World) -> None:
    gate = environment_gate(world)
    assert gate.take_slot("ann", "another", 1, 60)
    task = world.submit("[[sim key=slot words=1]] hello", running_cap=1)
    world.work()
    row = store.get(task.task_id)
    assert (row.status, row.parked) == (Status.QUEUED, True)
    assert world.calls("slot")["started"] == 0


def test_a_task_that_crashed_twice_goes_to_quarantine_and_ends_after_too_many(world: World) -> None:
    task = world.submit("[[sim words=1]] hello")
    before = events.read(task.task_id, 0).events[0]
    records = world.receive()
    for _ in range(2):
        assert isinstance(claims.claim(task.task_id, 0), Task)
        world.lapse(task.task_id)
    world.invoke(records)
    row = store.get(task.task_id)
    assert (row.status, row.lane, row.crashes) == (Status.QUEUED, "quarantine", 2)
    assert events.read(task.task_id, 0).events[0] == before, "the log only grows"
    world.work("quarantine")
    assert store.get(task.task_id).status is Status.COMPLETE


def test_too_many_crashes_end_a_task(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_CRASHES", "2")
    monkeypatch.setenv("QUARANTINE_AFTER", "9")
    settings.cache_clear()
    once, task = (world.submit(f"[[sim key={key} words=1]] hello") for key in ("once", "crash"))
    records = world.receive()
    for crash in range(2):
        assert isinstance(claims.claim(task.task_id, 0), Task)
        if crash:
            assert isinstance(claims.claim(once.task_id, 0), Task)
            world.lapse(once.task_id)
        world.lapse(task.task_id)
    world.invoke(records)
    assert store.get(once.task_id).status is Status.COMPLETE, "one crash fewer is borne"
    row = store.get(task.task_id)
    assert row.status is Status.FAILED
    assert row.error is not None
    assert row.error["code"] == "crashed"
    assert world.calls("crash")["started"] == 0


def test_a_run_may_take_so_long_and_no_longer(world: World) -> None:
    task = world.submit("[[sim latency=30]] hello", params={"timeout_s": 1})
    world.work()
    row = store.get(task.task_id)
    assert row.status is Status.FAILED
    assert row.error is not None
    assert row.error["code"] == "timeout"
    assert events.read(task.task_id, 0).events[-1].type == "failed"


def test_a_one_step_run_makes_few_calls_of_aws(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three besides event batches: hide, claim, settle. In a batch, claims are one, too."""
    monkeypatch.setenv("LEASE_SECONDS", "600")
    monkeypatch.setenv("HEARTBEAT_SECONDS", "300")
    settings.cache_clear()
    from shared import aws

    world.submit("[[sim words=1]] warm up")
    world.work()
    world.submit("[[sim words=1]] hello", session_id="")
    records = world.receive()
    made: list[str] = []
    for client in (aws.dynamodb(), aws.sqs()):
        client.meta.events.register("before-call", lambda model, **_: made.append(model.name))
    world.invoke(records)
    made.remove("DeleteMessage")  # the poller's
    batches = made.count("TransactWriteItems") - 1  # `started` may go by itself when the machine is slow
    assert len(made) - batches <= 3, made
    assert made.count("UpdateItem") == 1
