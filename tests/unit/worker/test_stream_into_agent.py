"""An agent reads a reply while it is written; it is a step like any other."""

from typing import Any

import pytest

from shared.retry import ModelError
from shared.tasks import checkpoints, store
from shared.tasks.model import Status
from sluice import AgentResult

from .conftest import Install, World


def asked(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


def test_pieces_come_one_by_one_and_the_whole_is_recorded(world: World, install: Install) -> None:
    seen: list[list[str]] = []

    async def run(ctx: Any) -> AgentResult:
        stream = ctx.model_stream(asked("[[sim key=st words=6 latency=0.6]] hi"))
        pieces = [piece async for piece in stream]
        reply = await stream.reply()
        seen.append(pieces)
        assert "".join(pieces) == reply.content
        return AgentResult(reply.content)

    install(run)
    task = world.submit("x")
    world.work()
    assert store.get(task.task_id).status is Status.COMPLETE
    assert len(seen[0]) > 1
    assert set(checkpoints.load(task.task_id)) == {("model", 1)}


def test_a_recorded_reply_comes_again_in_one_piece_and_is_not_paid_twice(world: World, install: Install) -> None:
    seen: list[list[str]] = []

    async def run(ctx: Any) -> AgentResult:
        stream = ctx.model_stream(asked("[[sim key=again words=6]] hi"))
        seen.append([piece async for piece in stream])
        second = await ctx.model(asked("[[sim key=second words=2]] hi"))
        if len(seen) == 1:
            raise ValueError("once")
        return AgentResult((await stream.reply()).content + second.content)

    install(run)
    task = world.submit("x")
    world.work_until_quiet()
    assert store.get(task.task_id).status is Status.COMPLETE
    assert [len(pieces) > 1 for pieces in seen] == [True, False]
    assert "".join(seen[0]) == "".join(seen[1])
    assert (world.calls("again")["started"], world.calls("second")["started"]) == (1, 1)


def test_a_failure_reaches_who_iterates(world: World, install: Install) -> None:
    async def run(ctx: Any) -> AgentResult:
        stream = ctx.model_stream(asked("[[sim fail=400]] hi"))
        with pytest.raises(ModelError):
            await anext(stream)
        return AgentResult("caught")

    install(run)
    task = world.submit("x")
    world.work()
    assert store.get(task.task_id).status is Status.COMPLETE


def test_a_stream_that_nobody_waits_for_is_cut_and_charged(world: World, install: Install) -> None:
    async def run(ctx: Any) -> AgentResult:
        async for _ in ctx.model_stream(asked("[[sim key=left words=100 latency=30 ttft=0.1]] hi")):
            break
        return AgentResult("enough")

    install(run)
    task = world.submit("x")
    world.work()
    row = store.get(task.task_id)
    assert row.status is Status.COMPLETE
    assert row.usage.output_tokens > 0
