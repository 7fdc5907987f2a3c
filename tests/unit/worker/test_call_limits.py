"""How long a model call may take: a stream that flows is cut by nothing but the end of its function's time."""

import asyncio
import itertools
import json
import time
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from functions.worker.model import limits
from functions.worker.model.progress import Progress, tokens_of
from shared.retry import ModelError, classify
from shared.settings import settings
from shared.tasks import store
from shared.tasks.model import Status
from sluice import AgentResult

from .conftest import LASTING, Install, World, until
from .test_model_client import DONE, USAGE, Exchange, ask, chunk, run, talk, use

__all__ = ["use"]


def test_a_stream_that_flows_outlasts_every_limit_between_bytes(
    simulator: str, use: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock goes on by most of the limit with all that comes: that is no matter of how long something takes."""
    use(f"{simulator}/v1", MODEL_TIMEOUT_SECONDS="30", MODEL_STALL_SECONDS="30")
    note, ahead = limits.Watch.byte, itertools.count(25, 25)

    def late(watch: limits.Watch) -> None:
        loop = asyncio.get_running_loop()
        passed = next(ahead)
        monkeypatch.setattr(loop, "time", lambda: time.monotonic() + passed, raising=False)
        note(watch)
        if passed == 100:  # as much comes at once as came while somebody stood still: so it lasts until this is seen
            httpx2.post(f"{simulator}/_sim/hurry", json={"key": "flows"}, timeout=60).raise_for_status()

    monkeypatch.setattr(limits.Watch, "byte", late)
    reply = run(lambda: ask(f"[[sim key=flows {LASTING}]] hi", timeout_s=100_000, max_output_tokens=1_200))
    assert (reply.usage.output_tokens, reply.finish_reason) == (1_200, "stop")
    assert next(ahead) > 100


def test_what_came_while_the_process_stood_still_is_no_silence_of_its_provider(
    simulator: str, use: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its loop is held until all has been written, and for longer than every limit."""
    use(f"{simulator}/v1", MODEL_TIMEOUT_SECONDS="30", MODEL_STALL_SECONDS="30")
    held: list[str] = []

    def hold(text: str) -> None:
        if not held:
            with httpx2.Client(base_url=f"{simulator}/_sim", timeout=60) as sim:
                until(lambda: sim.get("/stats").json()["by_key"]["held"]["completed"])
            loop = asyncio.get_running_loop()
            monkeypatch.setattr(loop, "time", lambda: time.monotonic() + 100, raising=False)
        held.append(text)

    reply = run(lambda: ask("[[sim key=held words=50 latency=1 ttft=0.2]] hi", on_delta=hold, timeout_s=10_000))
    assert (reply.usage.output_tokens, "".join(held)) == (50, reply.content)


def test_a_stream_is_cut_at_the_end_of_the_time_there_is(simulator: str, use: Callable[..., None]) -> None:
    use(f"{simulator}/v1", MODEL_TIMEOUT_SECONDS="5")
    progress = Progress()
    with pytest.raises(ModelError) as caught:
        run(lambda: ask(f"[[sim {LASTING}]] hi", timeout_s=4, progress=progress))
    verdict = classify(caught.value)
    assert (verdict.kind, verdict.code, verdict.counts_for_breaker) == ("transient", "model_call_too_long", False)
    assert progress.text_bytes > 0
    assert progress.input_tokens > 0


@pytest.mark.parametrize(
    ("directive", "limits", "code", "counts"),
    [
        ("hang=60", ("0.5", "50"), "model_no_answer", True),
        ("fail=stall hang=60", ("50", "0.5"), "model_stalled", False),
    ],
)
def test_only_the_wait_for_the_first_byte_says_something_about_the_provider(
    simulator: str, use: Callable[..., None], directive: str, limits: tuple[str, str], code: str, counts: bool
) -> None:
    use(f"{simulator}/v1", MODEL_TIMEOUT_SECONDS=limits[0], MODEL_STALL_SECONDS=limits[1])
    with pytest.raises(ModelError) as caught:
        run(lambda: ask(f"[[sim {directive}]] hi"))
    verdict = classify(caught.value)
    assert (verdict.code, verdict.counts_for_breaker) == (code, counts)


def test_what_is_not_streamed_may_be_written_slowly_before_its_first_byte(use: Callable[..., None]) -> None:
    use("http://127.0.0.1:1/v1", MODEL_TIMEOUT_SECONDS="10")
    streamed, whole = (limits.of_call(900, 1_000, stream=stream) for stream in (True, False))
    assert (streamed.first_byte, whole.first_byte) == (10, 10 + 1_000 / limits.SLOW_TOKENS_PER_SECOND)


def test_a_call_that_cannot_end_in_time_is_not_begun(use: Callable[..., None]) -> None:
    use("http://127.0.0.1:1/v1", MODEL_TIMEOUT_SECONDS="60", WORKER_TIMEOUT_SECONDS="900")
    assert limits.needed_s(1_000) == 60 + settings().model_margin_seconds
    assert limits.needed_s(80_000) == 200 + settings().model_margin_seconds
    assert limits.needed_s(10**9) < 0.6 * 900  # and yet every call can be begun somewhere


def test_a_function_of_half_an_hour_has_calls_of_25_minutes(use: Callable[..., None]) -> None:
    use("http://127.0.0.1:1/v1", WORKER_TIMEOUT_SECONDS="1800")
    assert limits.longest_s() > 25 * 60


def test_a_call_that_its_function_cuts_goes_on_elsewhere_and_not_for_ever(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each try is charged. It has two thirds of the time of a function, and so may do better with the next."""
    monkeypatch.setenv("MAX_RETRIES", "1")
    monkeypatch.setenv("MODEL_MARGIN_SECONDS", "10")  # the call is cut so long before its function
    settings.cache_clear()
    task = world.submit("[[sim key=slow words=400 latency=60 ttft=0.1]] hello", params={"max_output_tokens": 1})
    reasons = []
    for _ in range(settings().max_retries + 2):
        world.work(seconds=22.5)
        row = store.get(task.task_id)
        reasons.append(row.reason)
        if row.status.terminal:
            break
    assert reasons[0] == "continuation"
    assert row.status is Status.FAILED
    assert row.error is not None
    assert row.error["code"] == "model_call_too_long"
    assert world.calls("slow")["started"] == settings().max_retries + 1
    assert row.usage.output_tokens > 0


@pytest.mark.parametrize("text", ["one two three four", "a b c d e f", "x" * 400, "日本語の文章", "naïve café"])
def test_an_estimate_errs_upwards(text: str) -> None:
    progress = Progress()
    for piece in text.split(" "):
        progress.text(piece + " ")
    assert tokens_of(text) >= max(len(text.split()), len(text.encode()) // 8)
    assert progress.output_tokens >= max(len(text.split()), len(text.encode()) // 8)


def test_letters_that_come_one_by_one_are_no_tokens() -> None:
    progress = Progress()
    for letter in "abcd" * 100:
        progress.text(letter)
    assert progress.output_tokens == 100


def test_the_account_of_a_cut_call_tells_kinds_apart(use: Callable[..., None]) -> None:
    progress = Progress()

    async def serve(exchange: Exchange) -> None:
        call = {"index": 0, "id": "c", "function": {"name": "f", "arguments": '{"a": 1}'}}
        pieces = [{"reasoning_content": "I think"}, {"content": "so"}, {"tool_calls": [call]}]
        await exchange.send(*(chunk(piece) for piece in pieces), end=False)
        exchange.cut()

    with pytest.raises(ModelError):
        talk(use, serve, lambda: ask("hello", progress=progress))
    assert (progress.reasoning_bytes, progress.text_bytes, progress.tool_bytes) == (7, 2, 9)
    assert progress.sent
    assert progress.answered


def test_options_reach_the_provider_and_replies_hold_what_was_asked(use: Callable[..., None]) -> None:
    asked: list[dict[str, Any]] = []

    async def serve(exchange: Exchange) -> None:
        asked.append(exchange.asked)
        await exchange.send(chunk({"content": "ok"}, "stop"), USAGE, DONE)

    talk(use, serve, lambda: ask("hello", options={"temperature": 0.5, "response_format": {"type": "json_object"}}))
    assert asked[0]["temperature"] == 0.5
    assert asked[0]["response_format"] == {"type": "json_object"}


def test_a_clients_options_hold_where_the_agent_says_nothing(
    world: World, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    from functions.worker.model import call as model_client

    sent: list[dict[str, Any]] = []
    real = model_client.call

    async def noting(*args: Any, **kwargs: Any) -> Any:
        sent.append(kwargs["options"])
        return await real(*args, **kwargs)

    monkeypatch.setattr(model_client, "call", noting)

    async def agent(ctx: Any) -> AgentResult:
        messages = [{"role": "user", "content": "hi"}]
        await ctx.model(messages)
        await ctx.model(messages, temperature=None, seed=7, reasoning="low")
        return AgentResult("done")

    install(agent)
    task = world.submit("hello", params={"options": {"temperature": 0.3, "top_p": 0.9}})
    world.work()
    assert store.get(task.task_id).status is Status.COMPLETE
    assert sent == [{"temperature": 0.3, "top_p": 0.9}, {"top_p": 0.9, "seed": 7, "reasoning_effort": "low"}]


@pytest.mark.parametrize("options", [{"n": 2}, {"max_tokens": 5}, {"messages": []}])
def test_options_that_are_not_the_clients_to_set_end_the_run_at_once(world: World, options: dict[str, Any]) -> None:
    task = world.submit("[[sim key=own]] hello", params={"options": options})
    world.work()
    row = store.get(task.task_id)
    assert row.status is Status.FAILED
    assert json.dumps(row.error).count("invalid_option") == 1
    assert world.calls("own")["started"] == 0
