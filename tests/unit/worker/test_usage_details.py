"""What a provider says of the kinds of tokens, and of their probabilities, reaches the run's result."""

from typing import Any

import pytest

from functions.worker.model import usage
from functions.worker.model.reply import pack, unpack
from shared.tasks import events, settle, store
from shared.tasks.model import Status
from sluice import AgentResult, Context, ModelReply, Usage
from tests.unit.worker.conftest import Install, World

CHAT: dict[str, Any] = {"dialect": "chat"}
CACHED, WRITTEN = {"cached_tokens": 6}, {"cache_write_tokens": 2}


def result(world: World, message: str, **changes: Any) -> dict[str, Any]:
    task = world.submit(message, **changes)
    world.work_until_quiet()
    row = store.get(task.task_id)
    assert row.status is Status.COMPLETE, row.error
    return settle.result_of(row) or {}


@pytest.mark.parametrize(
    ("told", "found"),
    [
        ({"prompt_tokens_details": {"cached_tokens": 6}}, {"cached_tokens": 6}),
        ({"input_tokens_details": {"cached_tokens": 6, "cache_write_tokens": 2}}, CACHED | WRITTEN),
        ({"cache_read_input_tokens": 6, "cache_creation_input_tokens": 2}, CACHED | WRITTEN),
        ({"prompt_cache_hit_tokens": 6, "prompt_cache_miss_tokens": 4}, {"cached_tokens": 6}),
        ({"completion_tokens_details": {"reasoning_tokens": 3}}, {"reasoning_tokens": 3}),
        ({"output_tokens_details": {"reasoning_tokens": "3"}}, {"reasoning_tokens": 3}),
        ({"reasoning_tokens": 3}, {"reasoning_tokens": 3}),
        ({"prompt_tokens_details": None, "completion_tokens_details": {"reasoning_tokens": 0}}, {}),
        ({"prompt_tokens_details": {"cached_tokens": -1}, "completion_tokens_details": {"reasoning_tokens": None}}, {}),
        ({"prompt_tokens_details": "none", "completion_tokens_details": [1]}, {}),
    ],
)  # fmt: skip
def test_kinds_are_read_under_the_names_that_providers_have(told: dict[str, Any], found: dict[str, int]) -> None:
    assert usage.details({"usage": {"prompt_tokens": 10, "completion_tokens": 4, **told}}) == found


def test_geminis_names_are_read() -> None:
    told = {"usageMetadata": {"promptTokenCount": 10, "cachedContentTokenCount": 6, "thoughtsTokenCount": 3}}
    assert usage.details(told) == {"cached_tokens": 6, "reasoning_tokens": 3}


def test_no_kind_has_more_tokens_than_there_are() -> None:
    told = {"cached_tokens": 1_000, "reasoning_tokens": 4}
    assert usage.believed(told, 10, 4) == {"cached_tokens": 10, "reasoning_tokens": 4}
    assert usage.believed(told, 1_001, 3) == {"cached_tokens": 1_000, "reasoning_tokens": 3}


@pytest.mark.parametrize(
    ("habit", "found"),
    [
        ("usage_details", {"cached_tokens": 6, "reasoning_tokens": 3}),
        ("usage_deepseek", {"cached_tokens": 6}),
        ("usage_anthropic", {"cached_tokens": 7}),
        ("usage_gemini", {"reasoning_tokens": 6}),
    ],
)
def test_a_run_of_the_dialect_tells_them(world: World, habit: str, found: dict[str, int]) -> None:
    assert result(world, f"[[sim habit={habit}]] hi", params=CHAT)["data"] == {"usage_details": found}


def test_a_run_that_is_not_of_the_dialect_looks_as_it_did(world: World) -> None:
    assert "data" not in result(world, "[[sim habit=usage_details]] hi")


def test_a_run_tells_the_sum_of_its_calls_also_of_those_that_were_recorded_before_it_died(
    world: World, install: Install
) -> None:
    tries = []

    async def agent(ctx: Context) -> AgentResult:
        said = [{"role": "user", "content": ctx.message}]
        await ctx.model(said)
        tries.append(1)
        if len(tries) == 1:
            raise RuntimeError("once")
        return AgentResult((await ctx.model(said)).content)

    install(agent)
    data = result(world, "[[sim habit=usage_details]] hi", params=CHAT)["data"]
    assert len(tries) == 2
    assert data == {"usage_details": {"cached_tokens": 12, "reasoning_tokens": 6}}


def test_log_probabilities_reach_the_result(world: World) -> None:
    params = {**CHAT, "options": {"logprobs": True}}
    logprobs = result(world, "[[sim habit=odd_logprobs_apart]] hi", params=params)["data"]["logprobs"]
    assert [(one["token"], one["logprob"]) for one in logprobs] == [("Hello", -0.5), (" there.", -1.5)]


def test_that_the_model_refused_reaches_the_result_and_the_log(world: World) -> None:
    task = world.submit("[[sim habit=odd_refusal]] hi", params=CHAT)
    world.work_until_quiet()
    found = settle.result_of(store.get(task.task_id)) or {}
    assert (found["response"], found["data"]) == ("Hello there.", {"refused": True})
    told = [event.data for event in events.read(task.task_id, 0).events if event.type == "token"]
    assert [(data["refusal"], data["text"]) for data in told] == [(True, "Hello there.")]
    plain = world.submit("[[sim words=3]] hi", params=CHAT)
    world.work_until_quiet()
    assert "refused" not in ((settle.result_of(store.get(plain.task_id)) or {}).get("data") or {})


def test_a_reply_that_an_earlier_version_recorded_is_readable() -> None:
    reply = ModelReply("hi", [], Usage(10, 4), "m", "stop")
    recorded = pack(reply, "model-1.1")
    assert "details" not in recorded
    assert unpack(recorded) == reply
    told = reply._replace(details={"cached_tokens": 6})
    assert unpack(pack(told, "model-1.1")) == told


def test_cached_input_is_charged_at_its_own_price(world: World) -> None:
    task = world.submit("[[sim habit=usage_details]] hi", model="gpt-4o")
    world.work_until_quiet()
    row = store.get(task.task_id)
    assert (row.input_tokens, row.output_tokens) == (10, 4)
    assert row.micro_usd == 58  # 4 of 10 tokens at 2.50, 6 at 1.25, 4 written at 10
