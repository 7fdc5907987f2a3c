"""Whole runs on a provider that keeps no promise: what they cost, how often they ask, and how they end."""

import itertools
import json
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest

from functions.worker.environment.environment import environment
from shared import clock
from shared.limits import prices
from shared.settings import settings
from shared.tasks import lanes, store
from shared.tasks.model import Status, Task
from tests.unit.worker.conftest import World
from tests.unit.worker.raw_provider import Answer, RawProvider, delta, provider, refused, sse

__all__ = ["provider"]

GOOD = sse(delta("fine", "stop"))


@pytest.fixture
def put_on(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Put Sluice's clock on by some seconds."""
    ahead = [0.0]
    monkeypatch.setattr(clock, "time", SimpleNamespace(time=lambda: time.time() + ahead[0]))

    def on(seconds: float) -> None:
        ahead[0] += seconds

    return on


def deliver(world: World, task: Task) -> Task:
    """Deliver the task's message, due or not; returns its row afterwards."""
    row = store.get(task.task_id)
    lanes.send(row.lane, row.task_id, row.gen, user=row.user)
    world.work(seconds=60 + clock.now() - time.time())
    return store.get(task.task_id)


def endless(chunk: dict[str, object], most: int) -> Iterator[bytes]:
    """A reply without end, as far as one could ever read it; each piece is a token."""
    data = f"data: {json.dumps(chunk)}\n\n".encode()
    yield from itertools.repeat(data, most)


@pytest.mark.parametrize(
    "piece",
    [
        delta(" word"),
        delta(reasoning_content=" word"),
        delta(tool_calls=[{"index": 0, "function": {"arguments": "12345 "}}]),
        delta("word word word word word word word word word word word word "),
    ],
    ids=["text", "thoughts", "arguments", "long"],
)
def test_a_stream_that_takes_no_notice_of_its_limit_is_cut_and_never_costs_more_than_the_ceiling(
    world: World, provider: RawProvider, piece: dict[str, object]
) -> None:
    provider.answers = [Answer(endless(piece, 50_000))]
    task = world.submit("hi", params={"max_output_tokens": 20, "max_cost_usd": 0.001})
    world.work()
    row = store.get(task.task_id)
    assert row.status is Status.COMPLETE, row
    assert len(provider.asked) == 1
    # A few pieces more than the limit are written before anybody can tell.
    assert 20 <= row.output_tokens <= 200
    assert 0 < row.micro_usd <= 1_000
    assert row.micro_usd == prices.cost_micro_usd("gpt-4o-mini", row.input_tokens, row.output_tokens)
    assert provider.sent < 50_000, "it was hung up on"


def test_a_wait_of_an_hour_is_waited_out_and_is_one_retry(
    world: World, provider: RawProvider, put_on: Callable[[float], None]
) -> None:
    """SQS delays by 15 minutes at most: messages that come early change nothing and ask nobody."""
    provider.answers = [refused(429, {"error": {"message": "slow down"}}, **{"retry-after": "3600"}), GOOD]
    task = world.submit("hi")
    world.work()
    row = store.get(task.task_id)
    assert (row.status, row.reason, row.attempt) == (Status.QUEUED, "retry", 1)
    assert row.next_try_at - clock.now() >= 3_590
    for _ in range(4):
        put_on(895)
        row = deliver(world, row)
        assert (row.status, row.attempt, len(provider.asked)) == (Status.QUEUED, 1, 1)
    put_on(row.next_try_at - clock.now() + 1)
    row = deliver(world, row)
    assert (row.status, row.attempt, len(provider.asked)) == (Status.COMPLETE, 1, 2)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(b"<html>Welcome</html>"),
        Answer(b'data: {"choices": [{"delta": 7}]}\n\n'),
        sse(delta("half of it"), done=False),
        sse(delta(finish="MALFORMED_FUNCTION_CALL")),
        refused(400, {"error": {"code": "tool_use_failed", "message": "Failed to call a function."}}),
    ],
)
def test_a_reply_that_is_always_malformed_ends_its_run_and_opens_no_breaker(
    world: World, provider: RawProvider, put_on: Callable[[float], None], answer: Answer
) -> None:
    provider.answers = [answer]
    task = world.submit("hi")
    world.work()
    for _ in range(10):
        row = store.get(task.task_id)
        if row.status is Status.FAILED:
            break
        assert (row.reason, row.deferrals) == ("retry", 0)
        put_on(max(0.0, row.next_try_at - clock.now()) + 1)
        deliver(world, row)
    assert row.status is Status.FAILED
    assert len(provider.asked) == settings().max_retries + 1
    assert row.input_tokens >= len(provider.asked), "each was read, and is charged"

    async def states() -> list[str]:
        return [state.state for state in environment().breaker.states()]

    assert set(world.runner.run(states())) <= {"closed"}


def test_a_permanent_fault_behind_an_open_breaker_uses_up_its_attempts(
    world: World, provider: RawProvider, put_on: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An outage opens the breaker; the provider comes back, and to this run's prompt it says the same for ever."""
    monkeypatch.setenv("BREAKER_FAILURES", "1")
    monkeypatch.setenv("BREAKER_OPEN_SECONDS", "0.1")
    settings.cache_clear()
    down = refused(500, {"error": {"message": "crashed"}})
    provider.answers = [down, Answer(b'data: {"choices": [{"delta": 7}]}\n\n')]
    task = world.submit("hi")
    world.work()
    row = store.get(task.task_id)
    for _ in range(100):  # the breaker goes by Valkey's clock, so that a quick machine comes too soon a few times
        if row.status is Status.FAILED:
            break
        put_on(max(0.0, row.next_try_at - clock.now()) + 1)
        row = deliver(world, row)
    assert row.status is Status.FAILED
    assert row.error is not None
    assert row.error["code"] == "malformed_reply"
    assert len(provider.asked) <= settings().max_retries + 1


def test_a_quota_that_is_spent_fails_at_once_whatever_it_is_called(world: World, provider: RawProvider) -> None:
    provider.answers = [refused(429, {"error": {"message": "You are out of credits.", "code": "429"}})]
    task = world.submit("hi")
    world.work()
    row = store.get(task.task_id)
    assert row.status is Status.FAILED
    assert row.error is not None
    assert (row.error["code"], len(provider.asked)) == ("provider_insufficient_quota", 1)
