"""One run from message to outcome, under retries, crashes, cancellations and continuations."""

import asyncio
import json
import time
from types import SimpleNamespace
from typing import Any

import pytest

from functions.worker import agents
from shared import aws
from shared.settings import settings
from shared.tasks import checkpoints, claims, events, sessions, settle, spend, store
from shared.tasks.model import Status, Task
from sluice import AgentResult
from tests.unit.worker.conftest import LASTING, World, meanwhile, until


def types_of(task: Task) -> list[str]:
    return [event.type for event in events.read(task.task_id, 0).events]


def test_a_chat_run_completes_with_usage_events_turn_and_spending(world: World) -> None:
    task = world.submit("[[sim key=a words=5]] hello")
    assert world.work() == []
    row = store.get(task.task_id)
    result = settle.result_of(row)
    assert row.status is Status.COMPLETE
    assert result is not None
    assert len(result["response"].split()) == 5
    assert row.output_tokens == 5
    assert row.micro_usd > 0
    assert spend.load("ann", row.day) == (row.usage.tokens, row.micro_usd)
    assert world.calls("a") == {"started": 1, "completed": 1, "failed": 0, "aborted": 0}
    log = events.read(task.task_id, 0).events
    assert [event.type for event in log if event.type != "token"] == ["queued", "started", "step", "complete"]
    assert "".join(event.data["text"] for event in log if event.type == "token") == result["response"]
    assert world.receive() == []


def test_a_run_that_begins_a_session_reads_none_and_is_remembered(world: World) -> None:
    first = world.submit("[[sim words=1]] my name is Ada", task_id="task_begins", session_id="task_begins")
    records = world.receive()
    made: list[str] = []
    aws.dynamodb().meta.events.register("before-call", lambda model, **_: made.append(model.name))
    world.invoke(records)
    assert "Query" not in made
    assert store.get(first.task_id).status is Status.COMPLETE
    second = world.submit("[[sim recall]] what is my name?", session_id="task_begins")
    world.work()
    assert "Query" in made
    result = settle.result_of(store.get(second.task_id))
    assert result is not None
    assert "my name is Ada" in result["response"]


def test_a_session_remembers_settled_turns(world: World) -> None:
    world.submit('[[sim say="first answer"]] first question')
    world.work()
    task = world.submit("[[sim recall]] second question")
    world.work()
    result = settle.result_of(store.get(task.task_id))
    assert result is not None
    assert "first question" in result["response"]
    assert len(sessions.read("ann", "default", limit=10)) == 2
    other = world.submit("[[sim recall]] third question", session_id="elsewhere")
    world.work()
    elsewhere = settle.result_of(store.get(other.task_id))
    assert elsewhere is not None
    assert "first question" not in elsewhere["response"]


def test_the_tools_agent_calls_tools_once_each(world: World) -> None:
    task = world.submit('[[sim key=t tool=calculator args={"expression":"(2+3)*4"}]] calculate', agent="tools")
    world.work()
    row = store.get(task.task_id)
    result = settle.result_of(row)
    assert result is not None
    assert "20" in result["response"]
    assert world.calls("t")["completed"] == 2
    assert [t for t in types_of(task) if t.startswith("tool_")] == ["tool_call", "tool_result"]
    # The call that the run ends with is written with its end.
    assert sorted(key for key in checkpoints.load(task.task_id)) == [("calculator.1.1", 1), ("model", 1)]
    assert row.calls == 2


def test_a_function_call_is_answered_in_the_next_run(world: World) -> None:
    """The simulator refuses what OpenAI refuses: a tool message without its call, a call without its answer."""
    tool = {"type": "function", "function": {"name": "lookup", "parameters": {"type": "object"}}}
    first = world.submit("[[sim tool=lookup args={}]] look it up", params={"tools": [tool]})
    world.work()
    result = settle.result_of(store.get(first.task_id))
    assert result is not None
    (call,) = result["data"]["tool_calls"]
    output = json.dumps([{"role": "tool", "tool_call_id": call["id"], "content": "forty-two"}])
    second = world.submit(output, params={"tools": [tool], "input_json": True})
    world.work()
    row = store.get(second.task_id)
    result = settle.result_of(row)
    assert row.status is Status.COMPLETE, row.error
    assert result is not None
    assert "forty-two" in result["response"]
    third = world.submit("[[sim recall]] and now?")
    world.work()
    assert store.get(third.task_id).status is Status.COMPLETE


@pytest.mark.parametrize("more", [0, 1])
def test_data_over_the_bound_fails_the_run(world: World, monkeypatch: pytest.MonkeyPatch, more: int) -> None:
    class Large:
        async def run(self, ctx: Any) -> AgentResult:
            await ctx.model(ctx.asked())
            return AgentResult("done", {"x": "y" * (settle.DATA_BYTES - len('{"x":""}') + more)})

    monkeypatch.setattr(agents, "load", lambda _: Large())
    task = world.submit(f"[[sim key=large-{more}]] hello")
    assert world.work() == []
    row = store.get(task.task_id)
    log = events.read(task.task_id, 0).events
    assert world.calls(f"large-{more}")["completed"] == row.calls == 1
    if not more:
        assert row.status is Status.COMPLETE
        return
    assert row.status is Status.FAILED
    assert row.error is not None
    assert (row.error["code"], row.attempt) == ("too_large", 0)
    assert (log[-1].type, log[-1].data["error"]) == ("failed", row.error)
    assert spend.load("ann", row.day)[0] >= row.usage.tokens > 0


@pytest.mark.parametrize("fault", ["429", "500", "garbage", "drop", "truncate"])
def test_a_transient_failure_is_retried_and_completes(world: World, fault: str) -> None:
    task = world.submit(f"[[sim key=r fail={fault} times=2 words=3]] hello")
    world.work_until_quiet()
    row = store.get(task.task_id)
    assert row.status is Status.COMPLETE
    assert world.calls("r")["completed"] == 1
    assert types_of(task).count("retry") == 2
    result = settle.result_of(row)
    assert result is not None
    log = events.read(task.task_id, 0).events
    void = {call for event in log for call in event.data.get("void", [])}
    standing = [e.data["text"] for e in log if e.type == "token" and e.data["call"] not in void]
    assert "".join(standing) == result["response"]


def test_retries_end(world: World) -> None:
    task = world.submit("[[sim key=e fail=429]] hello")
    world.work_until_quiet()
    row = store.get(task.task_id)
    assert row.status is Status.FAILED
    assert row.error is not None
    assert row.error["code"] == "rate_limit_exceeded"
    assert world.calls("e")["started"] == 4


@pytest.mark.parametrize(
    ("fault", "code"),
    [("400", "invalid_request"), ("403", "provider_forbidden"), ("404", "model_not_found"),
     ("filter", "content_filter"), ("quota", "provider_insufficient_quota"), ("401", "provider_unauthorized")],
)  # fmt: skip
def test_a_permanent_failure_is_not_retried(world: World, fault: str, code: str) -> None:
    task = world.submit(f"[[sim key=p fail={fault}]] hello")
    world.work_until_quiet()
    row = store.get(task.task_id)
    assert row.status is Status.FAILED
    assert row.error is not None
    assert row.error["code"] == code
    assert world.calls("p")["started"] == 1


def test_a_taken_over_run_repeats_no_finished_step(world: World) -> None:
    """The first worker 'dies' after two model calls; the second goes on from there."""
    task = world.submit("[[sim key=c tools=calculator,current_time]] go", agent="tools")
    records = world.receive()
    dead = claims.claim(task.task_id, 0)
    assert isinstance(dead, Task)
    world.invoke(records)  # meets a live lease: hidden
    assert store.get(task.task_id).lease_no == 1
    world.lapse(task.task_id)
    world.invoke(records)
    row = store.get(task.task_id)
    assert (row.status, row.crashes, row.lease_no) == (Status.COMPLETE, 1, 2)
    assert world.calls("c")["completed"] == row.calls


def test_cancelling_a_running_task_aborts_the_model_call(world: World) -> None:
    task = world.submit(f"[[sim key=x {LASTING}]] hello")

    def cancel() -> None:
        until(lambda: world.calls("x")["started"])
        settle.cancel(task.task_id, "ann")

    with meanwhile(cancel):
        world.work()
    assert store.get(task.task_id).status is Status.CANCELLED
    assert types_of(task)[-1] == "cancelled"
    until(lambda: world.calls("x")["aborted"] == 1)


def test_a_run_longer_than_the_function_continues(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nine model calls of a second in invocations of twelve seconds that each keep room for a whole call."""

    class Long:
        async def run(self, ctx: object) -> AgentResult:
            parts = []
            for n in range(9):
                message = [{"role": "user", "content": f"[[sim key=long latency=1 words=1]] part {n}"}]
                parts.append((await ctx.model(message)).content)  # type: ignore[attr-defined]
            return AgentResult(" ".join(parts))

    monkeypatch.setattr(agents, "load", lambda _: Long())
    task = world.submit("long")
    world.work_until_quiet(invocation=12, seconds=60)
    row = store.get(task.task_id)
    assert (row.status, row.attempt, row.crashes) == (Status.COMPLETE, 0, 0)
    assert row.continuations >= 2
    assert world.calls("long") == {"started": 9, "completed": 9, "failed": 0, "aborted": 0}


def test_a_step_inside_a_step_fails_before_anything_is_paid(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replayed, the outer one would not ask for it."""

    class Nested:
        async def run(self, ctx: object) -> AgentResult:
            async def outer() -> str:
                reply = await asyncio.gather(ctx.model([{"role": "user", "content": "[[sim key=nest words=1]] x"}]))  # type: ignore[attr-defined]
                return str(reply)

            return AgentResult(await ctx.step("outer", outer))  # type: ignore[attr-defined]

    monkeypatch.setattr(agents, "load", lambda _: Nested())
    task = world.submit("x")
    world.work()
    row = store.get(task.task_id)
    assert row.status is Status.FAILED
    assert row.error is not None
    assert row.error["code"] == "replay_mismatch"
    assert "inside step outer" in row.error["message"]
    assert world.calls("nest")["started"] == 0


def test_changed_code_fails_clearly_instead_of_replaying_wrongly(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    class Old:
        async def run(self, ctx: object) -> AgentResult:
            await ctx.step("first", one, fingerprint=1)  # type: ignore[attr-defined]
            raise ConnectionError("network")

    class New:
        async def run(self, ctx: object) -> AgentResult:
            await ctx.step("first", one, fingerprint=2)  # type: ignore[attr-defined]
            return AgentResult("done")

    async def one() -> int:
        return 1

    monkeypatch.setattr(agents, "load", lambda _: Old())
    task = world.submit("x")
    world.work()
    assert store.get(task.task_id).last_error is not None
    monkeypatch.setattr(agents, "load", lambda _: New())
    world.work_until_quiet()
    row = store.get(task.task_id)
    assert row.status is Status.FAILED
    assert row.error is not None
    assert row.error["code"] == "replay_mismatch"


def test_an_open_breaker_defers_without_an_attempt(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BREAKER_OPEN_SECONDS", "3")  # longer than the retries take to come back
    settings.cache_clear()
    world.sim.post("/config", json={"outage": True})
    tasks = [world.submit(f"[[sim key=o words=2]] {n}") for n in range(8)]
    give_up = time.monotonic() + 60
    while not any(store.get(task.task_id).deferrals for task in tasks) and time.monotonic() < give_up:
        world.work()
        time.sleep(0.1)
    deferred = [row for row in (store.get(task.task_id) for task in tasks) if row.deferrals]
    assert deferred
    assert all(row.attempt <= 1 and row.reason == "breaker_open" for row in deferred)
    world.sim.post("/config", json={"outage": False})
    world.work_until_quiet(seconds=40)
    rows = [store.get(task.task_id) for task in tasks]
    assert all(row.status is Status.COMPLETE for row in rows)
    assert any(row.deferrals for row in rows)


def test_bad_and_unknown_messages_touch_nothing_else(world: World) -> None:
    task = world.submit("[[sim key=b words=1]] hello")
    records = world.receive()
    bad = records[0] | {"messageId": "bad", "body": "{not json", "receiptHandle": "none"}
    unknown = records[0] | {"messageId": "unknown", "body": '{"v":1,"task_id":"none","gen":0}'}
    assert world.invoke([bad, *records]) == ["bad"]
    assert store.get(task.task_id).status is Status.COMPLETE
    assert world.invoke([unknown]) == []


def test_duplicates_of_finished_and_running_tasks_change_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two hundred here; the fault campaign sends a thousand through a deployed system."""
    monkeypatch.setenv("LEASE_SECONDS", "600")  # the running one's worker stays alive throughout
    settings.cache_clear()
    done = world.submit("[[sim key=d words=1]] hello")
    records = world.receive()
    world.invoke(records)
    running = world.submit("[[sim key=d2 words=1]] hello")
    held = world.receive()
    assert isinstance(claims.claim(running.task_id, 0), Task)
    before = [store.get(task.task_id) for task in (done, running)]
    for n in range(10):
        copies = [r | {"messageId": f"{n}-{i}-{r['messageId']}"} for i in range(10) for r in (*records, *held)]
        world.invoke(copies)
    assert [store.get(task.task_id) for task in (done, running)] == before
    assert world.calls("d")["started"] == 1
    assert world.calls("d2")["started"] == 0


@pytest.mark.parametrize("kind", ["step", "tool"])
def test_a_function_that_is_not_async_is_told_so(world: World, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    async def run(ctx: Any) -> AgentResult:
        given = (lambda: 4,) if kind == "step" else (lambda: 4, {})
        return AgentResult(str(await getattr(ctx, kind)("roll", *given)))

    monkeypatch.setattr(agents, "load", lambda name: SimpleNamespace(run=run))
    task = world.submit("x")
    world.work()
    error = store.get(task.task_id).last_error
    assert error is not None
    assert f"{kind} roll: its function must be async, and returned int" in error["message"]
    assert "asyncio.to_thread" in error["message"]
