"""Every habit of real providers that the simulator knows, met by the real model client."""

from collections.abc import Callable
from typing import Any

import pytest

from functions.worker.model.progress import Progress
from functions.worker.model.reply import pack, unpack
from localstack.llm import habits
from localstack.llm.habits import answers, refusals, streams
from shared.retry import Failure, ModelError, classify
from sluice import ModelReply

from .test_model_client import ask, run, use

__all__ = ["use"]

HELLO = "Hello there."
OPTIONS = {
    "temperature": 0.5,
    "seed": 7,
    "parallel_tool_calls": True,
    "reasoning_effort": "low",
}
"""What the calls that meet a refused field hold."""


def meet(simulator: str, use: Callable[..., None], name: str, **more: Any) -> ModelReply:
    use(f"{simulator}/v1")
    return run(lambda: ask(f"[[sim habit={name}]] hi", **more))


def fail(simulator: str, use: Callable[..., None], name: str, **more: Any) -> Failure:
    with pytest.raises(ModelError) as caught:
        meet(simulator, use, name, **more)
    return classify(caught.value)


def test_there_are_many_and_each_has_its_source() -> None:
    assert len(habits.HABITS) >= 80
    assert all(habit.source for habit in habits.HABITS.values())


@pytest.mark.parametrize("name", refusals.SHAPES)
def test_a_refusals_words_reach_the_user_without_our_key(simulator: str, use: Callable[..., None], name: str) -> None:
    verdict = fail(simulator, use, name)
    said = {"shape_html": "502 Bad Gateway", "shape_key_echoed": "[key]"}.get(name, "bad tool")
    assert said in verdict.message
    assert "sk-secret" not in verdict.message
    assert "<" not in verdict.message
    expected = {
        "shape_html": ("transient", "provider_error"),
        "shape_key_echoed": ("permanent", "provider_unauthorized"),
    }
    assert (verdict.kind, verdict.code) == expected.get(name, ("permanent", "invalid_request"))


@pytest.mark.parametrize("name", refusals.QUOTA)
def test_an_empty_account_stops_the_run_whatever_it_is_called(
    simulator: str, use: Callable[..., None], name: str
) -> None:
    verdict = fail(simulator, use, name)
    assert (verdict.kind, verdict.code) == ("permanent", "provider_insufficient_quota")
    # Of a 400 the words might be the prompt's own: they stop one run, not everybody's.
    assert verdict.opens_breaker == (name != "quota_anthropic")


@pytest.mark.parametrize("name", refusals.FILTERS)
def test_a_filtered_prompt_is_named_and_asked_once(simulator: str, use: Callable[..., None], name: str) -> None:
    verdict = fail(simulator, use, name)
    assert (verdict.kind, verdict.code, verdict.counts_for_breaker) == ("permanent", "content_filter", False)


@pytest.mark.parametrize("name", refusals.CONTEXT)
def test_a_prompt_that_does_not_fit_is_named(simulator: str, use: Callable[..., None], name: str) -> None:
    verdict = fail(simulator, use, name)
    right = ("transient", "rate_limit_exceeded") if name == "throttled_tokens" else ("permanent", "context_too_long")
    assert (verdict.kind, verdict.code) == right
    assert not verdict.opens_breaker


@pytest.mark.parametrize(
    ("name", "seconds"),
    [("wait_hour", 3600), ("wait_ms", 1.5), ("wait_reset", 360), ("wait_gemini", 34), ("wait_words", 432),
     ("wait_overloaded", 5), ("wait_azure_ms", 2.5), ("wait_policy", 3), ("wait_metadata", 2), ("wait_chinese", 3),
     ("wait_loading", 2.5), ("wait_busy_400", 2)],
)  # fmt: skip
def test_what_a_provider_asks_to_wait_is_understood(
    simulator: str, use: Callable[..., None], name: str, seconds: float
) -> None:
    verdict = fail(simulator, use, name)
    assert (verdict.kind, verdict.retry_after_s) == ("transient", seconds)


@pytest.mark.parametrize("name", ["redirect_slash", "redirect_slash_308"])
def test_a_redirect_to_the_same_place_is_followed(simulator: str, use: Callable[..., None], name: str) -> None:
    assert meet(simulator, use, name).finish_reason == "stop"


@pytest.mark.parametrize(("name", "where"), [("redirect_elsewhere", "example.invalid"), ("redirect_302", "/v1/chat")])
def test_a_redirect_elsewhere_is_not_and_says_what_to_set(
    simulator: str, use: Callable[..., None], name: str, where: str
) -> None:
    verdict = fail(simulator, use, name)
    assert (verdict.kind, verdict.code) == ("permanent", "provider_redirect")
    assert where in verdict.message


@pytest.mark.parametrize("name", [name for name in refusals.FIELDS if name.startswith("refuses")])
def test_what_a_refusal_names_is_left_out_and_not_sent_again(
    simulator: str, use: Callable[..., None], name: str
) -> None:
    use(f"{simulator}/v1")
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": "hi", "reasoning": "a greeting"},
        {"role": "user", "content": f"[[sim key={name} habit={name} words=3]] hi"},
    ]
    model = "o3-x" if name == "refuses_max_completion_tokens" else "m"  # the table knows the new name's models

    async def twice() -> list[ModelReply]:
        return [await ask("", model=model, messages=messages, options=OPTIONS) for _ in range(2)]

    first, second = run(twice)
    assert first.content
    assert first.left_out == second.left_out
    option = {
        "refuses_temperature": "temperature",
        "refuses_parallel": "parallel_tool_calls",
        "refuses_seed": "seed",
        "refuses_reasoning_effort": "reasoning_effort",
    }.get(name)
    assert first.left_out == ((option,) if option else ())
    import httpx2

    with httpx2.Client() as admin:
        stats = admin.get(f"{simulator}/_sim/stats", params={"prefix": name}).json()
    assert stats["by_key"][name]["started"] == 3  # refused once, and then known


def test_what_means_something_is_never_left_out(simulator: str, use: Callable[..., None]) -> None:
    verdict = fail(simulator, use, "wants_signature", options={"response_format": {"type": "json_object"}})
    assert (verdict.kind, verdict.code) == ("permanent", "invalid_request")


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("name", [name for name in answers.HABITS if "error" not in name])
def test_an_answer_in_one_piece_is_one(simulator: str, use: Callable[..., None], name: str, stream: bool) -> None:
    words = {"whole_html": "Please sign in", "whole_detail": "bad tool", "whole_minimax": "insufficient balance"}
    if name in words:
        assert words[name] in fail(simulator, use, name, stream=stream).message
    else:
        reply = meet(simulator, use, name, stream=stream)
        assert (reply.content, reply.finish_reason) == (HELLO, "stop")


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("name", streams.ODD)
def test_what_is_not_needed_is_skipped(simulator: str, use: Callable[..., None], name: str, stream: bool) -> None:
    deltas: list[str] = []
    reply = meet(simulator, use, name, deltas=deltas, stream=stream)
    assert (reply.content, "".join(deltas), reply.finish_reason) == (HELLO, HELLO, "stop")
    assert (reply.usage.input_tokens, reply.usage.output_tokens, reply.estimated) == (10, 4, False)


@pytest.mark.parametrize("name", streams.CALLS)
def test_parallel_calls_are_told_apart(simulator: str, use: Callable[..., None], name: str) -> None:
    reply = meet(simulator, use, name)
    (first, second) = reply.tool_calls
    assert (first.name, first.arguments.replace(" ", "")) == ("add", '{"a":1}')
    assert (second.name, second.arguments.replace(" ", "")) == (
        "add" if name == "calls_same_index_same_name" else "sub",
        '{"b":2}',
    )
    assert first.id != second.id
    assert first.id
    assert second.id
    assert reply.finish_reason == "tool_calls"
    assert unpack(pack(reply, "c")).tool_calls == reply.tool_calls  # ids of ours are the same at a replay


@pytest.mark.parametrize(
    ("name", "message", "call"),
    [
        ("back_gemini", {}, {"extra_content": {"google": {"thought_signature": "c2ln"}}}),
        ("back_deepseek", {"reasoning_content": "I must add."}, {}),
        (
            "back_openrouter",
            {
                "reasoning": "I must add.",
                "reasoning_details": [
                    {"type": "reasoning.text", "text": "I must add.", "index": 0, "signature": "sig"}
                ],
            },
            {},
        ),
        (
            "back_litellm",
            {
                "thinking_blocks": [{"type": "thinking", "thinking": "I must add.", "signature": "sig"}],
                "reasoning_content": "I must add.",
            },
            {"provider_specific_fields": {"thought_signature": "c2ln"}},
        ),
    ],
)
def test_what_a_message_held_goes_back_as_it_came(
    simulator: str, use: Callable[..., None], name: str, message: dict[str, Any], call: dict[str, Any]
) -> None:
    reply = meet(simulator, use, name)
    replayed = unpack(pack(reply, "c"))
    assert replayed.as_message() == reply.as_message()
    back = replayed.as_message()
    assert {key: back[key] for key in message} == message
    assert {key: back["tool_calls"][0][key] for key in call} == call
    assert replayed.reasoning == ("" if name == "back_gemini" else "I must add.")


@pytest.mark.parametrize(
    ("name", "finish"),
    [("end_done_only", "stop"), ("end_camel_case", "stop"), ("end_eos", "stop"), ("end_stop_upper", "stop"),
     ("end_calls_none", "stop"), ("end_camel_word", "length"),
     ("end_no_done", "stop"), ("end_max_tokens", "length"), ("end_model_length", "length"), ("end_endless", "length")],
)  # fmt: skip
def test_how_a_reply_ended_is_understood(simulator: str, use: Callable[..., None], name: str, finish: str) -> None:
    reply = meet(simulator, use, name)
    assert reply.finish_reason == finish
    if name == "end_endless":
        assert 50 < reply.usage.output_tokens < 100  # of 3,000: cut at the limit that was asked for
        assert len(reply.content.split()) <= reply.usage.output_tokens


@pytest.mark.parametrize(
    ("name", "kind", "code"),
    [("end_safety", "permanent", "content_filter"), ("end_prohibited", "permanent", "content_filter"),
     ("end_sensitive", "permanent", "content_filter"), ("end_camel_filter", "permanent", "content_filter"),
     ("end_calls_lost", "transient", "malformed_reply"), ("end_null_cut", "transient", "truncated_reply"),
     ("end_malformed_call", "transient", "malformed_reply"),
     ("end_gemini_filter_malformed", "transient", "malformed_reply"), ("end_error", "transient", "malformed_reply"),
     ("end_resource", "transient", "malformed_reply"), ("end_nothing", "transient", "truncated_reply")],
)  # fmt: skip
def test_an_end_that_is_none_is_not_taken_for_one(
    simulator: str, use: Callable[..., None], name: str, kind: str, code: str
) -> None:
    verdict = fail(simulator, use, name)
    assert (verdict.kind, verdict.code, verdict.counts_for_breaker) == (kind, code, False)


@pytest.mark.parametrize("name", streams.USAGE)
def test_usage_is_found_or_estimated_upwards(simulator: str, use: Callable[..., None], name: str) -> None:
    reply = meet(simulator, use, name)
    if name in ("usage_none", "usage_zero"):
        assert reply.estimated
        assert 6 <= reply.usage.output_tokens <= 12
        assert reply.usage.input_tokens > 0
        return
    written = {"usage_xai": 1_004, "usage_perplexity": 1_004, "usage_reasoning_apart": 1_004, "usage_gemini": 10}.get(
        name, 4
    )
    assert (reply.usage.input_tokens, reply.usage.output_tokens, reply.estimated) == (10, written, False)


@pytest.mark.parametrize(
    ("name", "kind", "code", "words"),
    [
        ("error_code_number", "permanent", "invalid_request", "bad tool"),
        ("error_context", "permanent", "context_too_long", "maximum context length"),
        ("error_context_code", "permanent", "context_too_long", "too long"),
        ("error_402", "permanent", "provider_insufficient_quota", "Insufficient credits"),
        ("error_429_text", "transient", "rate_limit_exceeded", "slow down"),
        ("error_text", "transient", "provider_error", "no capacity"),
        ("error_vllm", "permanent", "invalid_request", "bad tool"),
        ("error_event", "transient", "provider_error", "Overloaded"),
        ("error_in_choice", "transient", "provider_error", "upstream gone"),
        ("error_without_data", "transient", "provider_error", "no capacity"),
        ("error_line", "transient", "provider_error", "no capacity"),
        ("error_event_text", "transient", "malformed_reply", "no capacity"),
        ("error_text_data", "transient", "truncated_reply", "no capacity"),
        ("whole_error_object", "permanent", "invalid_request", "bad tool"),
        ("whole_error_status", "transient", "provider_error", "no capacity"),
    ],
)
def test_an_error_in_a_200_is_what_it_says(
    simulator: str, use: Callable[..., None], name: str, kind: str, code: str, words: str
) -> None:
    verdict = fail(simulator, use, name)
    assert (verdict.kind, verdict.code) == (kind, code)
    assert words in verdict.message


def test_an_empty_error_is_none(simulator: str, use: Callable[..., None]) -> None:
    assert meet(simulator, use, "error_empty").content == HELLO


@pytest.mark.parametrize("name", ["cut_reasoning", "cut_arguments"])
def test_what_a_cut_stream_wrote_unseen_is_in_its_account(simulator: str, use: Callable[..., None], name: str) -> None:
    progress = Progress()
    verdict = fail(simulator, use, name, progress=progress, max_output_tokens=1_000)
    assert verdict.kind == "transient"
    assert 200 <= progress.output_tokens <= 450
    assert progress.input_tokens > 0
