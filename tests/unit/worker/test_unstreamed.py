"""Calls whose text nobody watches being written: the same replies and failures, in one piece, and none for nothing."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from functions.worker.environment import clients
from functions.worker.model import call as model_client
from functions.worker.model.sse import LINE_BYTES
from shared.limits import prices
from shared.retry import ModelError, classify
from shared.settings import settings
from shared.tasks import events, settle, spend, store
from shared.tasks.model import Status, Task
from sluice import AgentResult, ModelReply

from .conftest import Install, World, meanwhile, until
from .test_model_client import Exchange, ask, run, talk, use

__all__ = ["use"]

OUTPUT = 40
"""Output tokens that a run's call may have."""


def body(message: Any, finish: str | None = "stop", **more: Any) -> bytes:
    return json.dumps({"model": "m-2", "choices": [{"message": message, "finish_reason": finish}], **more}).encode()


def answer(use: Callable[..., None], *pieces: bytes) -> ModelReply:
    return talk(use, lambda exchange: exchange.send(*pieces), lambda: ask("hello", stream=False))


def failure(use: Callable[..., None], *pieces: bytes) -> ModelError:
    with pytest.raises(ModelError) as caught:
        answer(use, *pieces)
    return caught.value


def test_a_reply_comes_in_one_piece_and_is_the_same(simulator: str, use: Callable[..., None]) -> None:
    use(f"{simulator}/v1")
    deltas: list[str] = []

    async def both() -> tuple[ModelReply, ModelReply]:
        return await ask("[[sim words=12]] hi", deltas, stream=False), await ask("[[sim words=12]] hi")

    whole, streamed = run(both)
    assert deltas == [whole.content]
    assert whole == streamed


def test_parallel_tool_calls_are_the_same(simulator: str, use: Callable[..., None]) -> None:
    use(f"{simulator}/v1")
    tools = [{"type": "function", "function": {"name": "calculator", "parameters": {"type": "object"}}}]
    asked = '[[sim tool=calculator parallel=2 args={"expression": "1+1"}]]'

    async def both() -> tuple[ModelReply, ModelReply]:
        return await ask(asked, tools=tools, stream=False), await ask(asked, tools=tools)

    whole, pieces = run(both)
    assert [(one.name, one.arguments) for one in whole.tool_calls] == [
        (one.name, one.arguments) for one in pieces.tool_calls
    ]
    assert len({one.id for one in whole.tool_calls}) == 2
    assert whole.finish_reason == "tool_calls"


@pytest.mark.parametrize(
    ("directive", "kind", "code", "unseen"),
    [
        ("fail=429 retry_after=7", "transient", "rate_limit_exceeded", False),
        ("fail=quota", "permanent", "provider_insufficient_quota", False),
        ("fail=filtered", "permanent", "content_filter", False),
        ("fail=400", "permanent", "invalid_request", False),
        ("fail=500", "transient", "provider_error", False),
        ("fail=garbage", "transient", "malformed_reply", True),
        ("fail=drop", "transient", "provider_unreachable", True),
        ("hang=60", "transient", "model_no_answer", True),
    ],
)
def test_failures(simulator: str, use: Callable[..., None], directive: str, kind: str, code: str, unseen: bool) -> None:
    use(f"{simulator}/v1", **({"MODEL_TIMEOUT_SECONDS": "1"} if "hang" in directive else {}))
    with pytest.raises(ModelError) as caught:
        run(lambda: ask(f"[[sim {directive}]] hi", max_output_tokens=1, stream=False))
    verdict = classify(caught.value)
    assert (verdict.kind, verdict.code, caught.value.unseen) == (kind, code, unseen)


def test_of_a_provider_that_was_never_reached_nothing_is_unseen(use: Callable[..., None]) -> None:
    use("http://127.0.0.1:1/v1")
    with pytest.raises(ModelError) as caught:
        run(lambda: ask("hello", stream=False))
    assert not caught.value.unseen


def test_any_cut_of_the_bytes_gives_the_same_reply(use: Callable[..., None]) -> None:
    data = body({"content": "é€"}, usage={"prompt_tokens": 7, "completion_tokens": 2})
    reply = answer(use, *(data[n : n + 1] for n in range(len(data))))
    assert (reply.content, reply.usage.input_tokens, reply.usage.output_tokens, reply.model) == ("é€", 7, 2, "m-2")


def test_use_that_is_not_told_is_estimated(use: Callable[..., None]) -> None:
    reply = answer(use, body({"content": "abcdefgh"}))
    assert (reply.estimated, reply.usage.output_tokens) == (True, 2)


def test_a_refusal_is_the_answer(use: Callable[..., None]) -> None:
    assert answer(use, body({"content": None, "refusal": "I cannot."})).content == "I cannot."


@pytest.mark.parametrize(
    "data",
    [b"<html>", b"[]", b"7", b'{"choices": null}', b'{"choices": [{"message": 3}]}', b"[" * 100_000, b"\xff",
     body({"content": 3}), body({"content": "x", "tool_calls": [3]})],
)  # fmt: skip
def test_what_is_no_reply_is_the_providers_passing_fault(use: Callable[..., None], data: bytes) -> None:
    error = failure(use, data)
    verdict = classify(error)
    assert (verdict.kind, verdict.code, error.unseen) == ("transient", "malformed_reply", True)


@pytest.mark.parametrize("pieces", [(), (b'{"choices": []}',), (body({"content": ""}, finish=None),)])
def test_a_reply_without_an_end_is_cut_off(use: Callable[..., None], pieces: tuple[bytes, ...]) -> None:
    error = failure(use, *pieces)
    assert (classify(error).code, error.unseen) == ("truncated_reply", True)


def test_an_error_in_the_answer_is_one(use: Callable[..., None]) -> None:
    error = failure(use, json.dumps({"error": {"code": "insufficient_quota", "message": "spent"}}).encode())
    assert (classify(error).code, error.unseen) == ("provider_insufficient_quota", False)


def test_a_reply_is_read_up_to_its_limit_and_no_further(use: Callable[..., None]) -> None:
    fits = body({"content": "x" * 3_900_000})
    padding = b" " * (LINE_BYTES - len(fits))
    assert len(answer(use, fits, padding).content) == 3_900_000
    error = failure(use, fits, padding, b" ")
    assert (classify(error).code, error.unseen) == ("reply_too_long", True)


@pytest.mark.parametrize(("status", "unseen"), [(500, False), (502, False), (503, False), (504, True), (524, True)])
def test_a_gateway_that_gave_up_waiting_leaves_open_what_was_written(
    use: Callable[..., None], status: int, unseen: bool
) -> None:
    for stream in (False, True):
        with pytest.raises(ModelError) as caught:
            talk(use, lambda exchange: exchange.refuse(status, b""), lambda stream=stream: ask("hello", stream=stream))
        assert caught.value.unseen == (unseen and not stream)


def test_a_whole_reply_stands_though_it_lost_its_tail(use: Callable[..., None]) -> None:
    async def serve(exchange: Exchange) -> None:
        await exchange.send(body({"content": "paid"}), end=False)
        exchange.writer.close()

    assert talk(use, serve, lambda: ask("hello", stream=False)).content == "paid"


def test_a_reply_that_breaks_off_is_none(use: Callable[..., None]) -> None:
    async def serve(exchange: Exchange) -> None:
        await exchange.send(body({"content": "half"})[:-5], end=False)
        exchange.writer.close()

    with pytest.raises(ModelError) as caught:
        talk(use, serve, lambda: ask("hello", stream=False))
    assert (classify(caught.value).code, caught.value.unseen) == ("provider_unreachable", True)


def test_the_connection_is_used_again(use: Callable[..., None]) -> None:
    served: list[int] = []

    async def serve(exchange: Exchange) -> None:
        served.append(exchange.on_connection)
        await exchange.send(body({"content": "x"}))

    async def main() -> None:
        for _ in range(2):
            await ask("hello", stream=False)

    talk(use, serve, main)
    assert served == [1, 2]


def test_a_kept_connection_that_died_is_replaced_once(use: Callable[..., None]) -> None:
    served: list[int] = []

    async def serve(exchange: Exchange) -> None:
        served.append(exchange.on_connection)
        if exchange.on_connection > 1:
            exchange.cut()
            return
        await exchange.send(body({"content": "x"}))

    async def main() -> None:
        for _ in range(2):
            await ask("hello", stream=False)

    talk(use, serve, main)
    assert served == [1, 2, 1]


# Whole runs.


def worst(task: Task) -> tuple[int, int]:
    """Return what a call that nobody saw anything of costs: everything it may have written."""
    row = store.get(task.task_id)
    assert row.usage.output_tokens == OUTPUT
    assert row.usage.input_tokens > 0
    assert row.micro_usd == prices.cost_micro_usd(row.model, row.usage.input_tokens, OUTPUT)
    return row.usage.tokens, row.micro_usd


def submit(world: World, message: str, **params: Any) -> Task:
    return world.submit(message, params={"stream": False, "max_output_tokens": OUTPUT, **params})


def test_watchers_get_the_text_in_one_piece(world: World) -> None:
    task = submit(world, "[[sim words=12]] hello")
    world.work()
    row = store.get(task.task_id)
    texts = [event.data["text"] for event in events.read(task.task_id, 0).events if event.type == "token"]
    result = settle.result_of(row)
    assert result is not None
    assert texts == [result["response"]]
    assert row.usage.output_tokens == 12


def test_an_agent_may_leave_one_call_unstreamed(
    world: World, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, asked = model_client.call, []

    async def noting(*args: Any, stream: bool, **kwargs: Any) -> ModelReply:
        asked.append(stream)
        return await real(*args, stream=stream, **kwargs)

    async def agent(ctx: Any) -> Any:
        await ctx.model(ctx.asked(), stream=False)
        await ctx.model(ctx.asked(), stream=True)
        return AgentResult((await ctx.model(ctx.asked())).content)

    monkeypatch.setattr(model_client, "call", noting)
    install(agent)
    for params in ({}, {"stream": False}):
        world.submit("[[sim words=1]] hello", params=params)
        world.work()
    assert asked == [False, True, True, False, True, False]


def test_a_call_cut_short_is_charged_as_long_as_it_may_have_been(world: World) -> None:
    task = submit(world, "[[sim key=t words=3 latency=100]] hello", timeout_s=5)
    world.work()
    row = store.get(task.task_id)
    assert row.error is not None
    assert row.error["code"] == "timeout"
    assert spend.load("ann", row.day) == worst(task)


def test_a_cancelled_call_is_charged_as_long_as_it_may_have_been(world: World) -> None:
    task = submit(world, "[[sim key=c words=3 latency=100]] hello")

    def cancel() -> None:
        until(lambda: world.calls("c")["started"])
        settle.cancel(task.task_id, "ann")

    with meanwhile(cancel):
        world.work()
    assert store.get(task.task_id).status is Status.CANCELLED
    worst(task)


@pytest.mark.parametrize("stream", [False, True])
def test_a_call_that_was_never_sent_is_not_charged(world: World, monkeypatch: pytest.MonkeyPatch, stream: bool) -> None:
    """Its connection is not even made: cut off then, it costs nothing."""
    import socket

    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        port = full.getsockname()[1]
        crowd = [socket.socket() for _ in range(4)]
        for one in crowd:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{port}/v1")
        settings.cache_clear()
        clients.model.cache_clear()
        task = submit(world, "hello", timeout_s=1.0, stream=stream)
        world.work()
        for one in crowd:
            one.close()
    row = store.get(task.task_id)
    assert (row.status, row.usage.tokens, row.micro_usd) == (Status.FAILED, 0, 0)


@pytest.mark.parametrize(
    ("directive", "charged"), [("fail=drop", True), ("fail=garbage", True), ("fail=500", False), ("fail=429", False)]
)
def test_a_failed_call_is_charged_only_where_the_provider_may_have_worked(
    world: World, directive: str, charged: bool
) -> None:
    task = submit(world, f"[[sim key=f words=3 times=1 {directive}]] hello")
    world.work_until_quiet()
    row = store.get(task.task_id)
    assert (row.status, row.attempt >= 0) == (Status.COMPLETE, True)
    assert row.usage.output_tokens == 3 + (OUTPUT if charged else 0)
