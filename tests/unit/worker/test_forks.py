"""Runs that begin with another run's steps: these are replayed, not paid for, and never taken for its own."""

from __future__ import annotations

from typing import Any

import pytest

from functions.api.control import again
from functions.api.door.gate import gate
from functions.api.door.identity import Caller
from functions.api.submit import allowed as known
from functions.worker import agents
from shared.limits import tiers
from shared.retry import ModelError
from shared.tasks import checkpoints, events, inbox, sessions, settle, store
from shared.tasks.model import Status, Task
from sluice import AgentResult, ChildFailed, Context
from tests.unit.worker.conftest import Install, OneAgent, World

Asked = list[str]


@pytest.fixture(autouse=True)
def _fresh_gate() -> None:
    gate.cache_clear()


def ann() -> Caller:
    return Caller("ann", "ann", "k" * 16, tiers.resolve("load"))


def fork(task: Task, after: Any, message: str | None = None, model: str | None = None) -> Task:
    where = (after, None) if isinstance(after, str) else after
    made = again.fork(
        ann(), store.get(task.task_id), after=where, message=message, model=model, idempotency=None, trace=None
    )
    return made.task


def ended(world: World, task: Task, status: Status = Status.COMPLETE) -> Task:
    world.work_until_quiet()
    after = store.get(task.task_id)
    assert after.status is status, after.error
    return after


def answer(task: Task) -> str:
    return str((settle.result_of(store.get(task.task_id)) or {}).get("response"))


@pytest.fixture
def did(install: Install) -> Asked:
    """An agent of two model calls and a step; notes what it really did."""
    done: Asked = []

    async def run(ctx: Context) -> AgentResult:
        plan = await ctx.model([{"role": "user", "content": f"plan {ctx.message}"}], name="plan")

        async def fetch() -> str:
            done.append("fetch")
            return f"fetched for {ctx.message}"

        got = await ctx.step("fetch", fetch, fingerprint=ctx.message)
        last = await ctx.model([{"role": "user", "content": f"write {ctx.message}, {got}"}], name="write")
        return AgentResult(f"{plan.content[:40]} | {got} | {last.content[:60]}")

    install(run)
    return done


def test_a_fork_pays_only_for_what_follows(world: World, did: Asked) -> None:
    first = ended(world, world.submit("one"))
    assert (first.calls, did) == (2, ["fetch"])
    second = ended(world, fork(first, "fetch"))
    assert (second.calls, did) == (1, ["fetch"])
    assert 0 < second.micro_usd < first.micro_usd
    assert answer(second) == answer(first)
    log = events.read(second.task_id, 0).events
    assert [(one.type, one.data.get("step")) for one in log if one.type == "step"] == [("step", "write")]
    assert next(one.data for one in log if one.type == "started")["steps"] == 2


def test_a_fork_with_another_message_keeps_the_steps_before_it(world: World, did: Asked) -> None:
    first = ended(world, world.submit("one"))
    second = ended(world, fork(first, "fetch", message="two"))
    assert did == ["fetch"]
    assert "fetched for one" in answer(second)
    assert "write two" in answer(second)
    third = ended(world, fork(first, "plan", message="two"))
    assert did == ["fetch", "fetch"]
    assert "fetched for two" in answer(third)


def test_a_fork_with_another_model_asks_that_one_from_there_on(world: World, did: Asked) -> None:
    first = ended(world, world.submit("one"))
    second = ended(world, fork(first, "plan", model="gpt-4o"))
    assert (second.model, second.calls, store.public(second)["model"]) == ("gpt-4o", 1, "gpt-4o")


def test_a_retry_does_everything_anew(world: World, did: Asked) -> None:
    first = ended(world, world.submit("one"))
    made = again.retry(ann(), store.get(first.task_id), idempotency=None, trace=None).task
    second = ended(world, made)
    assert (second.calls, did, second.micro_usd) == (2, ["fetch", "fetch"], first.micro_usd)


def test_a_fork_fails_where_the_first_run_did_and_goes_on(world: World, install: Install) -> None:
    done: Asked = []

    async def run(ctx: Context) -> AgentResult:
        async def act() -> str:
            done.append("act")
            if len(done) == 1:
                raise ValueError("no")
            return "fine"

        async def second() -> str:
            done.append("second")
            return "second"

        try:
            said = str(await ctx.step("act", act))
        except ValueError as error:
            said = f"failed: {error}"
        await ctx.step("second", second, fingerprint=said)
        return AgentResult(said)

    install(run)
    first = ended(world, world.submit("x"))
    for after, more in (("second", []), ("act", ["second"])):
        del done[2:]
        forked = ended(world, fork(first, after))
        assert (answer(forked), done) == ("failed: no", ["act", "second", *more])
    twice = ended(world, fork(forked, "act"))
    assert answer(twice) == "failed: no"
    anew = again.retry(ann(), store.get(first.task_id), idempotency=None, trace=None).task
    assert answer(ended(world, anew)) == "fine"


def test_a_fork_survives_its_worker(world: World, install: Install) -> None:
    done: Asked = []
    dying: list[bool] = []

    async def run(ctx: Context) -> AgentResult:
        for name in ("a", "b", "c"):

            async def work(name: str = name) -> str:
                done.append(name)
                return name

            await ctx.step(name, work)
            if name == "b" and len(done) > 3 and dying:
                dying.clear()
                raise ModelError("the provider is away", code="server_error", status=500)
        return AgentResult("".join(done))

    install(run)
    first = ended(world, world.submit("x"))
    assert done == ["a", "b", "c"]
    dying.append(True)
    second = ended(world, fork(first, "a"))
    assert done == ["a", "b", "c", "b", "c"]
    assert second.lease_no > 1


def test_without_a_change_other_code_is_told_as_ever(world: World, install: Install) -> None:
    mark = ["x"]

    async def run(ctx: Context) -> AgentResult:
        async def work() -> int:
            return 1

        await ctx.step("a", work, fingerprint=mark[0])
        return AgentResult("done")

    install(run)
    first = ended(world, world.submit("m"))
    mark[0] = "y"
    failed = ended(world, fork(first, "a"), Status.FAILED)
    assert (failed.error or {})["code"] == "replay_mismatch"
    assert ended(world, fork(first, "a", message="n")).status is Status.COMPLETE


def test_with_a_change_a_step_may_be_left_out(world: World, install: Install) -> None:
    async def run(ctx: Context) -> AgentResult:
        async def work() -> int:
            return 1

        if ctx.message == "long":
            await ctx.step("a", work)
        return AgentResult("done")

    install(run)
    first = ended(world, world.submit("long"))
    assert ended(world, fork(first, "a", message="short")).status is Status.COMPLETE


def test_a_fork_sees_the_conversation_as_the_first_run_saw_it(world: World, install: Install) -> None:
    seen: list[list[str]] = []

    async def run(ctx: Context) -> AgentResult:
        async def work() -> int:
            return 1

        await ctx.step("a", work)
        seen.append([str(turn["content"]) for turn in await ctx.history() if turn["role"] == "user"])
        return AgentResult("ok")

    install(run)
    ended(world, world.submit("before", session_id="s"))
    sessions_before = [turn.user for turn in sessions.read("ann", "s", limit=9)]
    first = ended(world, world.submit("first", session_id="s"))
    ended(world, fork(first, "a"))
    assert sessions_before == ["before"]
    assert seen[2] == seen[1] == ["before"]
    assert [turn.user for turn in sessions.read("ann", "s", limit=9)] == ["before", "first", "first"]


def test_a_signal_that_the_first_run_took_is_taken_by_none_of_the_forks(world: World, install: Install) -> None:
    async def run(ctx: Context) -> AgentResult:
        one = await ctx.wait("go", timeout=60)
        two = await ctx.wait("go", timeout=60)
        return AgentResult(f"{one} {two}")

    install(run)
    first = world.submit("m")
    inbox.post(first.task_id, "go", 1, key="a" * 64)
    inbox.post(first.task_id, "go", 2, key="b" * 64)
    ended(world, first)
    assert answer(first) == "1 2"
    second = fork(first, ("go", 1))
    inbox.post(second.task_id, "go", 3, key="a" * 64)
    ended(world, second)
    assert answer(second) == "1 3"


def test_children_of_the_first_run_cost_the_fork_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: dict[str, Any] = {}
    monkeypatch.setattr(agents, "load", lambda name: OneAgent(runs[name]))
    monkeypatch.setattr(agents, "names", lambda: tuple(runs))
    monkeypatch.setattr(known, "agents", lambda: None)
    ceilings: list[float] = []

    async def child(ctx: Context) -> AgentResult:
        ceilings.append(ctx._task.params["max_cost_usd"])  # type: ignore[attr-defined]
        reply = await ctx.model([{"role": "user", "content": ctx.message}])
        if ctx.message == "fail":
            raise ChildFailed("x", "failed", None)
        return AgentResult(reply.content)

    async def boss(ctx: Context) -> AgentResult:
        one = await ctx.run("child", "one", name="one")
        two = await ctx.run("child", ctx.message, name="two")
        return AgentResult(f"{one.response} {two.response}")

    runs |= {"child": child, "boss": boss}
    first = ended(world, world.submit("two", agent="boss", params={"max_cost_usd": 1.0}))
    second = ended(world, fork(first, "one"))
    assert len(ceilings) == 3
    assert ceilings[1] < 1.0 == ceilings[2]
    assert second.children == 1
    third = ended(world, fork(first, "one", message="fail"), Status.FAILED)
    assert third.children == 1


def test_a_fork_of_a_fork_replays_both_parts(world: World, did: Asked) -> None:
    first = ended(world, world.submit("one"))
    second = ended(world, fork(first, "plan", message="two"))
    third = ended(world, fork(second, "fetch"))
    assert did == ["fetch", "fetch"]
    assert third.calls == 1
    assert set(checkpoints.load(third.task_id)) >= {("plan", 1), ("fetch", 1)}
