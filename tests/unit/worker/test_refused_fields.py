"""What refusals teach in words of other languages, names of other styles and figures of other kinds, byte by byte."""

import json
from typing import Any

import pytest

from shared.retry import ModelError, classify
from tests.unit.worker.raw_provider import Answer, RawProvider, delta, refused, sse

from .test_model_client import ask, run, use
from .test_provider_shapes import provider, server

__all__ = ["provider", "server", "use"]

USAGE = {"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 4}}
OK = sse(delta("Hello"), delta(finish="stop"), USAGE)
SYSTEM = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}]
CALLABLE = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]


def learned(provider: RawProvider, answer: Answer, **more: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Refuse a call once; returns both of its bodies."""
    provider.answers = [answer, OK]
    assert run(lambda: ask("hi", **more)).content == "Hello"
    first, second = provider.asked
    return first, second


def stays(provider: RawProvider, message: str, **more: Any) -> str:
    """Refuse a call, which is to be made once, and take the next one; returns the code."""
    provider.answers = [said(message), OK]

    async def both() -> str:
        with pytest.raises(ModelError) as caught:
            await ask("hi", **more)
        assert len(provider.asked) == 1
        await ask("hi", **more)
        return classify(caught.value).code

    code = run(both)
    first, second = provider.asked
    assert first == second
    return code


def said(message: str, status: int = 400, **more: Any) -> Answer:
    return refused(status, {"error": {"message": message, "type": "invalid_request_error", **more}})


@pytest.mark.parametrize(
    "answer",
    [
        said("\u4e0d\u652f\u6301\u7684\u53c2\u6570: stream_options"),
        said("stream_options\u53c2\u6570\u975e\u6cd5"),
        said("stream_options n'est pas pris en charge"),
        said("#: extraneous key [streamOptions] is not permitted"),
        said("stream_options.include_usage is for api-version 2024-09-01 and later"),
        said("The 'stream_options' parameter is only allowed when 'stream' is enabled."),
        said("Unknown parameter: stream_options", status=424),
        refused(400, {"title": "Validation", "errors": {"stream_options": ["is not allowed"]}, "status": 400}),
        refused(400, {"error": {"issues": [{"keys": ["stream_options"], "message": "Unrecognized key(s)"}]}}),
        refused(400, {"code": "unknown_parameter", "message": "bad", "field": "stream_options"}),
        refused(422, {"detail": [{"type": "extra_forbidden", "loc": ["body", "stream_options"], "msg": "Extra"}]}),
    ],
)
def test_a_name_that_is_no_word_is_left_out_whatever_is_said_of_it(provider: RawProvider, answer: Answer) -> None:
    first, second = learned(provider, answer)
    assert "stream_options" in first
    assert "stream_options" not in second


def test_instructions_come_in_the_role_that_a_provider_knows(provider: RawProvider) -> None:
    asked = [{"role": "developer", "content": "be brief"}, {"role": "user", "content": "hi"}]
    provider.answers = [OK]
    run(lambda: ask("hi", messages=asked))
    assert [one["role"] for one in provider.asked[0]["messages"]] == ["system", "user"]


@pytest.mark.parametrize(
    ("message", "most"),
    [
        ("maxOutputTokens must be in the supported range from 1 (inclusive) to 21 (exclusive)", 20),
        ("max_new_tokens is above the limit 20", 20),
        ("`max_completion_tokens` must be at most `20`, which is less than the `context_window` for this model", 20),
        ("max_output_tokens must be at most 20", 20),
        ("max_tokens\u53c2\u6570\u975e\u6cd5\u3002max_tokens \u8303\u56f4 [1, 20]", 20),
        ("The maximum tokens you requested exceeds the model limit of 20.", 20),
        ("Value 50 at 'inferenceConfig.maxTokens' failed: Member must have value less than or equal to 20", 20),
        ("This model's max output tokens is 20, but you requested 50", 20),
        ("requested max_tokens (50) exceeds model's maximum output (20)", 20),
    ],
)
def test_a_limit_by_another_name_is_one(provider: RawProvider, message: str, most: int) -> None:
    _, second = learned(provider, said(message))
    assert second["max_tokens"] == most


def test_a_status_among_the_words_is_no_limit(provider: RawProvider) -> None:
    message = "<400> InternalError.Algo.InvalidParameter: Range of max_tokens should be [1, 300]"
    _, second = learned(provider, said(message), max_output_tokens=500)
    assert second["max_tokens"] == 300


def test_what_an_account_can_still_pay_is_asked_for_in_this_call_only(provider: RawProvider) -> None:
    words = (
        "This request requires more credits, or fewer max_tokens. You requested up to 500 tokens, but can only afford"
    )
    provider.answers = [said(f"{words} 300.", 402), OK]

    async def twice() -> None:
        for _ in range(2):
            await ask("hi", max_output_tokens=500)

    run(twice)
    assert [body["max_tokens"] for body in provider.asked] == [500, 300, 500]


@pytest.mark.parametrize(
    "message",
    [
        "max_tokens must be at least 100",
        "max_tokens must be greater than thinking.budget_tokens",
        "Could not finish because max_tokens or model output limit was reached. Try with higher max_tokens.",
    ],
)
def test_a_limit_that_is_too_low_is_the_callers_and_has_no_other_name(provider: RawProvider, message: str) -> None:
    assert stays(provider, message) == "invalid_request"
    assert provider.asked[-1]["max_tokens"] == 50


@pytest.mark.parametrize(
    ("message", "field", "value"),
    [
        ("`temperature` and `top_p` cannot both be specified for this model. Please use only one.", "temperature", 0.5),
        ("Argument not supported on this model: frequencyPenalty", "frequency_penalty", 0.1),
        ("Penalty is not enabled for models/x", "frequency_penalty", 0.1),
        ("Model x does not support parameter reasoningEffort.", "reasoning_effort", "low"),
        ("this model does not support thinking", "reasoning_effort", "low"),
        ('think value "low" is not supported for this model', "reasoning_effort", "low"),
        ("The 'metadata' parameter is only allowed when 'store' is enabled.", "metadata", {"a": "b"}),
        ("temperature: may only be set to 1 when thinking is enabled.", "temperature", 0.5),
        ("Der Parameter seed wird nicht unterst\u00fctzt", "seed", 7),
        ("temperature: range: 0..1 (1.5)", "temperature", 1.5),
    ],
)
def test_an_option_is_known_by_its_other_names(provider: RawProvider, message: str, field: str, value: Any) -> None:
    first, second = learned(provider, said(message), options={field: value, "top_p": 0.9})
    assert first[field] == value
    assert field not in second
    assert second["top_p"] == 0.9


@pytest.mark.parametrize(
    "message",
    [
        "messages[0].role must be one of: user, assistant",
        "[{'loc': ('body', 'messages', 0, 'role'), 'msg': \"Input should be 'user' or 'assistant'\"}]",
        "\u4e0d\u652f\u6301 system \u89d2\u8272",
        "unexpected message role.",
    ],
)
def test_a_system_role_is_refused_in_other_words(provider: RawProvider, message: str) -> None:
    _, second = learned(provider, said(message), messages=SYSTEM)
    assert [one["role"] for one in second["messages"]] == ["user"]


@pytest.mark.parametrize(
    "message", ["stream\u53c2\u6570\u4e0d\u652f\u6301", "InvokeModelWithResponseStream is not supported"]
)
def test_a_stream_is_refused_in_other_words(provider: RawProvider, message: str) -> None:
    _, second = learned(provider, said(message))
    assert "stream" not in second


def test_the_choice_that_holds_anyhow_is_left_out_and_no_other(provider: RawProvider) -> None:
    refusal = "tool_choice is not supported"
    provider.answers = [said(refusal), OK]

    async def three() -> None:
        for choice in ("auto", "auto", "required"):
            await ask("hi", tools=CALLABLE, tool_choice=choice)

    run(three)
    assert [one.get("tool_choice") for one in provider.asked] == ["auto", None, None, "required"]


def test_a_choice_that_means_something_is_never_left_out(provider: RawProvider) -> None:
    more: dict[str, Any] = {"tools": CALLABLE, "tool_choice": "required"}
    assert stays(provider, "tool_choice is not supported", **more) == "invalid_request"


def test_an_answer_that_cannot_be_unpacked_is_no_outage(provider: RawProvider) -> None:
    provider.answers = [Answer(OK.body, 200, {"content-encoding": "gzip"})]
    with pytest.raises(ModelError) as caught:
        run(lambda: ask("hi"))
    verdict = classify(caught.value)
    assert (verdict.kind, verdict.code, verdict.counts_for_breaker) == ("transient", "malformed_reply", False)


def test_a_total_alone_is_charged_by(provider: RawProvider) -> None:
    provider.answers = [sse(delta("Hello"), delta(finish="stop"), {"choices": [], "usage": {"total_tokens": 500}})]
    use = run(lambda: ask("hi")).usage
    assert use.input_tokens + use.output_tokens == 500


def test_lines_that_are_cut_off_are_in_the_account(provider: RawProvider) -> None:
    from functions.worker.model.progress import Progress

    lines = [json.dumps(delta("word " * 20)), '{"choices": [{"de']
    provider.answers = [Answer("\n".join(lines).encode(), 200, {"content-type": "application/x-ndjson"})]
    progress = Progress()
    with pytest.raises(ModelError, match="cut off"):
        run(lambda: ask("hi", progress=progress))
    assert progress.output_tokens >= 20
