"""What a run pays and reserves when it is aborted, retried, cancelled or slow to be told."""

import time
from typing import Any

import pytest

from functions.worker.environment.environment import Environment, environment
from shared.settings import settings
from shared.tasks import events, settle, spend, store
from shared.tasks.model import Status, Task

from .conftest import LASTING, World, meanwhile, until


def streamed_words(task_id: str) -> int:
    text = "".join(event.data["text"] for event in events.read(task_id, 0).events if event.type == "token")
    return len(text.split())


def test_a_call_cut_short_by_its_timeout_is_charged(world: World) -> None:
    task = world.submit(f"[[sim key=s {LASTING}]] hello", params={"timeout_s": 4})
    world.work()
    row = store.get(task.task_id)
    assert row.status is Status.FAILED
    assert row.error is not None
    assert row.error["code"] == "timeout"
    assert world.calls("s")["started"] == 1
    assert row.usage.output_tokens >= streamed_words(task.task_id) > 0
    assert row.usage.input_tokens > 0
    assert spend.load("ann", row.day) == (row.usage.tokens, row.micro_usd)


def test_a_reply_reported_late_is_charged_though_its_run_timed_out(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def made() -> Any:
        return environment()

    env = world.runner.run(made())
    real = env.note_success
    task = world.submit("[[sim key=g words=3]] hello", params={"timeout_s": 4})

    def late(*args: Any) -> None:
        time.sleep(max(0.0, task.created + 4.3 - time.time()))
        real(*args)

    monkeypatch.setattr(env, "note_success", late)
    world.work()
    row = store.get(task.task_id)
    assert world.calls("g")["started"] == 1
    assert row.status.terminal
    assert row.usage.output_tokens > 0


def needed(world: World, monkeypatch: pytest.MonkeyPatch, message: str, **asked: int) -> int:
    """Return how many tokens a run of a message reserves at most: learnt while it does, an ended row says nothing."""
    seen: list[int] = []
    reserve = Environment.reserve

    def noted(self: Environment, task: Task, day: str, tokens: int, micro_usd: int) -> None:
        seen.append(tokens)
        reserve(self, task, day, tokens, micro_usd)

    with monkeypatch.context() as patch:
        patch.setattr(Environment, "reserve", noted)
        world.submit(message, cap_tokens=10**9, **asked)
        world.work()
    return max(seen)


def test_retries_of_one_call_reserve_it_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {"reserved_tokens": 0, "reserved_micro_usd": 0}
    need = needed(world, monkeypatch, "[[sim key=f words=1]] hello", **asked)
    task = world.submit("[[sim key=z fail=429 times=2 words=1]] hello", user="bob", cap_tokens=int(need * 1.5), **asked)
    world.work_until_quiet()
    row = store.get(task.task_id)
    assert (row.status, world.calls("z")["started"]) == (Status.COMPLETE, 3)


def test_a_cancel_that_meets_a_retry_cancels_at_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (
        ("RETRY_BASE_SECONDS", "60"),
        ("LEASE_SECONDS", "60"),
        ("HEARTBEAT_SECONDS", "20"),
        ("MODEL_TIMEOUT_SECONDS", "50"),
    ):
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    task = world.submit("[[sim key=c latency=60 ttft=0 fail=500]] hello")

    def cancel() -> None:
        until(lambda: world.calls("c")["started"])
        assert settle.cancel(task.task_id, "ann").status is Status.PROCESSING
        world.hurry("c")

    with meanwhile(cancel):
        world.work()
    assert store.get(task.task_id).status is Status.CANCELLED


def test_a_deferred_run_ends_at_its_timeout(world: World) -> None:
    world.sim.post("/config", json={"outage": True, "outage_models": ["gpt-4o-mini"]})
    for n in range(6):
        world.submit(f"[[sim words=1]] {n}")
    world.work()
    task = world.submit("[[sim key=d words=1]] hello", params={"timeout_s": 0.5})
    for _ in range(200):
        if store.get(task.task_id).status.terminal:
            break
        if records := world.receive():
            world.invoke(records)
        time.sleep(0.1)
    row = store.get(task.task_id)
    assert row.status is Status.FAILED
    assert row.error is not None
    assert row.error["code"] == "timeout"


def test_a_worker_that_died_after_reserving_leaves_its_successor_the_same_room(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reservation is in Valkey, the row knows nothing of it yet."""
    from shared.tasks import claims

    asked = {"reserved_tokens": 0, "reserved_micro_usd": 0}
    need = needed(world, monkeypatch, "[[sim key=f words=1]] hello", **asked)
    task = world.submit("[[sim key=r words=1]] hello", user="bob", cap_tokens=int(need * 1.5), **asked)

    async def reserve() -> None:
        lost = claims.claim(task.task_id, 0)
        assert not isinstance(lost, claims.Refused)
        environment().reserve(lost, lost.day, need, 1)

    world.runner.run(reserve())
    world.lapse(task.task_id)
    world.work_until_quiet()
    assert store.get(task.task_id).status is Status.COMPLETE
