"""Replies that are whole though a part of them stands elsewhere than usual, and replies that only look whole."""
# ruff: noqa: E501 - an answer a line: their shapes are compared by eye

import json
from typing import Any

import pytest

from functions.worker.model import tally
from functions.worker.model.usage import MAX_TOKENS
from shared.limits import models
from sluice import Usage
from tests.unit.worker.raw_provider import Answer, RawProvider, delta, sse

from .test_model_client import ask, run, use
from .test_provider_shapes import call, calling, failure, provider, reply, server

__all__ = ["provider", "server", "use"]

USED = {"prompt_tokens": 10, "completion_tokens": 4}
USAGE = {"choices": [], "usage": USED}
HELLO, STOP, CALLS = delta("Hello there."), delta(finish="stop"), delta(finish="tool_calls")
F, G = call(0, "a", "f", '{"a": 1}'), call(1, "b", "g", "{}")
COMMENT = b": OPENROUTER PROCESSING\n\n"


def choice(index: int = 0, **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": index, **more}]}


def whole(message: dict[str, Any], finish: str = "stop", **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "message": message, "finish_reason": finish}], "usage": USED, **more}


def raw(*lines: bytes) -> Answer:
    return Answer(b"".join(line + b"\n\n" for line in lines))


def data(value: Any) -> bytes:
    return b"data: " + json.dumps(value).encode()


@pytest.mark.parametrize(
    "answer",
    [
        sse(choice(delta={"content": "Hello "}), choice(delta={"content": "there.", "finish_reason": "stop"}), USAGE, done=False),
        sse(HELLO, choice(delta={}, stop_reason="end_turn"), USAGE, done=False),
        sse(HELLO, choice(delta={}, finish_reason=["stop"]), USAGE, done=False),
        sse(HELLO, choice(delta={}, finish_reason={"type": "stop", "matched": None}), USAGE, done=False),
        sse(choice(delta={"text": "Hello there."}), STOP, USAGE),
        sse(delta("Hello ", "stop"), delta("there.", "stop"), USAGE),  # an end in each chunk
        sse(choice(text="Hello there.", delta={"token_id": 7, "role": "assistant", "content": "Hello there.", "tool_calls": None}), STOP, USAGE),
        Answer(COMMENT + json.dumps(whole({"content": "Hello there."}), indent=2).encode()),
        raw(*(b"\x1e" + json.dumps(one).encode() for one in (HELLO, STOP, USAGE))),
        sse(*(json.dumps(json.dumps(one)) for one in (HELLO, STOP, USAGE))),
        raw(data(HELLO), data(STOP), b"data: [DONE]", data(USAGE)),  # what was used, behind the end
        sse(HELLO, choice(delta={"usage": USED}, finish_reason="stop")),
        sse(HELLO, STOP, {"choices": [], "usage": [USED]}),
        sse(HELLO, STOP, {"choices": [], "token_usage": USED}),
        sse(HELLO, STOP, {"choices": [], "usage": {"billed_units": {"input_tokens": 10, "output_tokens": 4}}}),
        sse(HELLO, STOP, {"choices": [], "usage": {"prompt_tokens": 0, "completion_tokens": 4, "total_tokens": 14}}),
        sse(HELLO, STOP, {"choices": [], "usageMetadata": {"promptTokenCount": 7, "toolUsePromptTokenCount": 3, "candidatesTokenCount": 4, "totalTokenCount": 14}}),
    ],
)  # fmt: skip
def test_a_reply_is_whole_wherever_its_parts_stand(provider: RawProvider, answer: Answer) -> None:
    got = reply(provider, answer)
    assert (got.content, got.finish_reason, got.extra) == ("Hello there.", "stop", None)
    assert (got.usage.input_tokens, got.usage.output_tokens, got.estimated) == (10, 4, False)


def test_thoughts_are_read_from_a_summary(provider: RawProvider) -> None:
    thought = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm", "signature": "s"}]}
    got = reply(provider, sse(choice(delta={"content": [thought]}), HELLO, STOP, USAGE))
    assert (got.content, got.reasoning) == ("Hello there.", "hm")


@pytest.mark.parametrize(
    ("answer", "finish"),
    [
        (sse(HELLO, choice(delta={}, finish_reason={"type": "length", "length": 20})), "length"),
        (sse(HELLO, choice(delta={}, finish_reason=None, native_finish_reason="MAX_TOKENS")), "length"),
    ],
)
def test_an_end_is_read_from_what_tells_it(provider: RawProvider, answer: Answer, finish: str) -> None:
    assert reply(provider, answer).finish_reason == finish


@pytest.mark.parametrize(
    ("answer", "kind", "code"),
    [
        (sse(HELLO, choice(delta={}, finish_reason={"type": "abort", "message": "x"})), "transient", "malformed_reply"),
        (sse(HELLO, choice(delta={}, finish_reason={"reason": "SAFETY"})), "permanent", "content_filter"),
        # Its end stood in each chunk: an error says that it is none.
        (sse(delta("Hel", "stop"), delta("lo", "stop"), {"error": {"code": 503, "message": "gone"}}, done=False), "transient", "provider_error"),
        (sse(calling(call(0, "a", None, '{"a": 1}')), CALLS), "transient", "malformed_reply"),  # of which tool?
        (sse(calling(call(0, "a", None, '{"a": 1}')), STOP), "transient", "malformed_reply"),
        (Answer(COMMENT + json.dumps({"error": {"message": "slow down", "code": 429}}, indent=2).encode()), "transient", "rate_limit_exceeded"),
    ],
)  # fmt: skip
def test_what_only_looks_whole_is_none(provider: RawProvider, answer: Answer, kind: str, code: str) -> None:
    verdict = failure(provider, answer)
    assert (verdict.kind, verdict.code) == (kind, code)


def test_a_stream_that_ends_in_each_chunk_and_is_cut_is_cut(provider: RawProvider) -> None:
    """Its length says that there was more to come."""
    body = data(delta("Hel", "stop")) + b"\n\n" + data(delta("lo", "stop")) + b"\n\n"
    pieces = [b"%x\r\n%b\r\n" % (len(body), body)]  # and no last piece
    verdict = failure(provider, Answer(iter(pieces), 200, {"transfer-encoding": "chunked"}))
    assert verdict.kind == "transient"


@pytest.mark.parametrize(
    ("answer", "calls"),
    [
        (sse(calling(F), calling(call(1, "b", "", '{"b": 1}')), CALLS), ["f"]),
        (sse(calling(call(0, "a", "f<|channel|>commentary", '{"a": 1}')), CALLS), ["f"]),
        (sse(calling(call(0, "a", " f\n", '{"a": 1}')), CALLS), ["f"]),
        (sse(choice(delta={"content": ""}, tool_calls=[F], finish_reason="tool_calls")), ["f"]),
        (sse(calling(call(0, "a", "f", '```json\n{"a": 1}\n```')), CALLS), ["f"]),
        # One reply in several choices.
        (sse(delta("let me"), choice(1, delta={"tool_calls": [F]}), choice(1, delta={}, finish_reason="tool_calls")), ["f"]),
        (Answer(json.dumps({"choices": [{"index": 0, "message": {"content": "let me"}, "finish_reason": "tool_calls"}, {"index": 1, "message": {"content": None, "tool_calls": [F, G]}, "finish_reason": "tool_calls"}]}).encode()), ["f", "g"]),
    ],
)  # fmt: skip
def test_calls_are_found_and_named(provider: RawProvider, answer: Answer, calls: list[str]) -> None:
    got = reply(provider, answer)
    assert ([one.name for one in got.tool_calls], got.finish_reason) == (calls, "tool_calls")
    assert json.loads(got.tool_calls[0].arguments) == {"a": 1}


def test_a_call_that_its_limit_cut_before_its_name_came_is_no_fault(provider: RawProvider) -> None:
    got = reply(provider, sse(calling(call(0, "a", None, '{"a": ')), delta(finish="length"), USAGE))
    assert (got.tool_calls, got.finish_reason) == ([], "length")


def test_calls_of_another_choice_are_none_of_a_reply_that_has_ended(provider: RawProvider) -> None:
    got = reply(provider, sse(HELLO, choice(1, delta={"tool_calls": [F]}), STOP))
    assert (got.content, got.tool_calls, got.finish_reason) == ("Hello there.", [], "stop")


@pytest.mark.parametrize(
    ("model", "most"),
    [("m", MAX_TOKENS), ("gpt-4o-mini", tally.CONTEXTS * (models.context_tokens("gpt-4o-mini") or 0))],
)
def test_more_tokens_than_its_model_can_read_are_not_believed(provider: RawProvider, model: str, most: int) -> None:
    used = [{"prompt_tokens": tokens, "completion_tokens": tokens} for tokens in (most, most + 1)]
    provider.answers = [sse(HELLO, STOP, {"choices": [], "usage": usage}) for usage in used]

    async def both() -> list[Usage]:
        return [(await ask("hi", model=model, max_output_tokens=500)).usage for _ in used]

    believed, estimated = run(both)
    assert most >= 1_000_000
    assert (believed.input_tokens, believed.output_tokens) == (most, most)
    assert estimated.input_tokens < 100
    assert estimated.output_tokens < 20


def test_a_reset_behind_the_end_loses_nothing(provider: RawProvider) -> None:
    """The stream said that it is complete, without a reason; what its length promises besides never comes."""
    body = data(HELLO) + b"\n\ndata: [DONE]\n\n"
    pieces = [b"%x\r\n%b\r\n" % (len(body), body)]
    assert reply(provider, Answer(iter(pieces), 200, {"transfer-encoding": "chunked"})).content == "Hello there."
