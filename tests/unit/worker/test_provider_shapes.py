"""Replies and refusals in shapes that providers were seen to send, byte by byte to the real model client.

Each case is the kind, not a provider: what carries the reply is read, what says nothing is skipped.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from functions.worker.model import charges, room
from functions.worker.model.progress import Progress
from shared.retry import Failure, ModelError, classify
from sluice import ModelReply
from tests.unit.worker.raw_provider import Answer, RawProvider, delta, raw_provider, refused, sse

from .test_model_client import ask, run, use

__all__ = ["use"]

F = '{"x": 1}'
STOP = delta(finish="stop")
CALLS = delta(finish="tool_calls")


@pytest.fixture(scope="module")
def server() -> Iterator[RawProvider]:
    with raw_provider() as made:
        yield made


@pytest.fixture
def provider(server: RawProvider, use: Callable[..., None]) -> RawProvider:
    use(server.url)
    server.asked.clear()
    server.paths.clear()
    return server


def call(index: int | str | None, call_id: str | None, name: str | None, arguments: Any = "", **more: Any) -> Any:
    given = {"index": index, "id": call_id}
    function = {"name": name, "arguments": arguments}
    made = {key: value for key, value in given.items() if value is not None}
    return {**made, "function": {key: value for key, value in function.items() if value is not None}, **more}


def calling(*pieces: Any) -> dict[str, Any]:
    return delta(tool_calls=list(pieces))


def reply(provider: RawProvider, answer: Answer, **more: Any) -> ModelReply:
    provider.answers = [answer]
    return run(lambda: ask("hi", **more))


def failure(provider: RawProvider, answer: Answer, **more: Any) -> Failure:
    with pytest.raises(ModelError) as caught:
        reply(provider, answer, **more)
    return classify(caught.value)


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        # Every piece has an id of its own, for the name or without it (vLLM with a named tool choice).
        ([calling(call(0, "r1", "f", '{"x"')), calling(call(0, "r2", None, ": 1}"))], [("f", F)]),
        ([calling(call(0, "r1", "f", '{"x"')), calling(call(0, "r2", "f", ": 1}"))], [("f", F)]),
        ([calling(call(0, "r1", "f", "")), calling(call(0, "r2", None, '{"x"')), calling(call(0, "r3", None, ": 1}"))],
         [("f", F)]),
        # Whole calls that share a number are as many calls, also without arguments.
        ([calling(call(0, "a", "now", "")), calling(call(0, "b", "now", ""))], [("now", ""), ("now", "")]),
        ([calling(call(0, "a", "now", "")), calling(call(0, "b", "now", F))], [("now", ""), ("now", F)]),
        ([calling(call(0, "a", "f", F), call(0, "b", "f", F))], [("f", F), ("f", F)]),
        # Said once more as a whole at its end.
        ([calling(call(0, "a", "f", '{"x"')), calling(call(0, "a", None, ": 1}")), calling(call(0, "a", "f", F))],
         [("f", F)]),
        # An object instead of a list, holes in a list, arguments that are no text.
        ([delta(tool_calls=call(0, "a", "f", F))], [("f", F)]),
        ([calling(None, call(0, "a", "f", F))], [("f", F)]),
        ([calling(call("0", "a", "f", {"x": 1}))], [("f", F)]),
    ],
)  # fmt: skip
def test_tool_calls_come_together(provider: RawProvider, chunks: list[Any], expected: list[tuple[str, str]]) -> None:
    got = reply(provider, sse(*chunks, CALLS), max_output_tokens=500)
    assert [(one.name, one.arguments) for one in got.tool_calls] == expected
    assert len({one.id for one in got.tool_calls}) == len(expected)
    assert got.finish_reason == "tool_calls"


def test_calls_that_only_the_last_whole_message_holds_are_not_lost(provider: RawProvider) -> None:
    """The text was streamed, and the end repeats it as a message with the calls."""
    message = {"role": "assistant", "content": "let me see", "tool_calls": [call(None, "a", "f", F)]}
    end = {"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}
    got = reply(provider, sse(delta("let me see"), end))
    assert (got.content, [one.name for one in got.tool_calls]) == ("let me see", ["f"])


@pytest.mark.parametrize(
    "answer",
    [
        sse({"choices": [None]}, delta("hi"), STOP),
        sse({"code": 0, "message": "ok", "choices": []}, delta("hi"), STOP),
        sse({"error": {"code": 0, "message": "success"}, **delta("hi", "stop")}),
        sse({"success": True, "messages": [], "errors": [], **delta("hi", "stop")}),
        sse({"type": "ping"}, "", delta("hi"), {"choices": None, "usage": {"prompt_tokens": 1}}, STOP),
        sse(delta("hi"), {"choices": [{"index": 0, "delta": None, "finish_reason": "FinishReason.STOP"}]}),
        sse(delta("hi"), '"[DONE]"', done=False),
        Answer(b"data: data: " + json.dumps(delta("hi", "stop")).encode() + b"\n\ndata: data: [DONE]\n\n"),
        Answer(b": waiting\r\revent: x\rdata: " + json.dumps(delta("hi", "stop")).encode() + b"\r\rdata: [DONE]\r\r"),
        Answer(json.dumps({"choices": [{"message": {"content": "hi"}, "finish_reason": "eos"}]}, indent=1).encode()),
    ],
)  # fmt: skip
def test_what_says_nothing_is_skipped(provider: RawProvider, answer: Answer) -> None:
    got = reply(provider, answer)
    assert (got.content, got.finish_reason) == ("hi", "stop")


@pytest.mark.parametrize(
    ("reason", "right"),
    [("max_length", "length"), ("repetition_truncation", "length"), ("pause_turn", "stop"), ("stop_string", "stop"),
     ("something_new", "something_new")],
)  # fmt: skip
def test_ends_of_a_reply(provider: RawProvider, reason: str, right: str) -> None:
    assert reply(provider, sse(delta("hi"), delta(finish=reason))).finish_reason == right


@pytest.mark.parametrize("reason", ["MISSING_THOUGHT_SIGNATURE", "NO_IMAGE", "USER_CANCEL", "something_new"])
def test_an_unknown_end_of_nothing_is_no_reply(provider: RawProvider, reason: str) -> None:
    verdict = failure(provider, sse(delta(finish=reason)))
    assert (verdict.kind, verdict.code, verdict.counts_for_breaker) == ("transient", "malformed_reply", False)
    assert reason in verdict.message


def test_thoughts_that_are_counted_apart_are_charged(provider: RawProvider) -> None:
    usage = {"prompt_tokens": 20, "completion_tokens": 5, "reasoning_tokens": 3000}
    assert reply(provider, sse({**delta("hi", "stop"), "usage": usage})).usage.output_tokens == 3005


@pytest.mark.parametrize(
    ("answer", "kind", "code", "said"),
    [
        (sse({"choices": [{"index": 0, "delta": {}}], "x_groq": {"error": "over capacity"}}, done=False),
         "transient", "provider_error", "over capacity"),
        (Answer(b'event: error\ndata: {"code":"rate_limit","message":"slow down"}\n\n'),
         "transient", "rate_limit_exceeded", "slow down"),
        (sse({"error": {"message": "context window exceeded", "code": 400}}), "permanent", "context_too_long", ""),
        (Answer(b'{"choices": []}'), "transient", "truncated_reply", ""),
        (Answer(b"{}"), "transient", "malformed_reply", "no reply"),
        # One status for all, the code tells.
        (refused(400, {"__type": "com.x#ThrottlingException", "message": "Rate exceeded"}),
         "transient", "rate_limit_exceeded", "Rate exceeded"),
        (refused(400, {"error": {"code": "tool_use_failed", "message": "Failed to call a function."}}),
         "transient", "malformed_reply", "Failed to call"),
        (refused(400, {"error": {"code": "json_validate_failed", "message": "Failed to generate JSON."}}),
         "transient", "malformed_reply", "Failed to generate"),
        (refused(499, {"error": {"message": "client closed the request"}}), "transient", "provider_timeout", ""),
        (refused(403, {"error": {"code": 403, "message": "m requires moderation and your input was flagged"}}),
         "permanent", "content_filter", "flagged"),
        (refused(400, {"error": {"type": "budget_exceeded", "code": "400", "message": "Budget has been exceeded!"}}),
         "permanent", "provider_insufficient_quota", "Budget"),
        (refused(400, {"error": {"code": "model_max_prompt_tokens_exceeded",
                                 "message": "prompt token count of 140000 exceeds the limit of 128000"}}),
         "permanent", "context_too_long", "140000"),
        # A gateway that ends what repeats itself: the model's doing, not the provider's (LiteLLM).
        (sse({"error": {"message": "litellm.InternalServerError: The model is repeating the same chunk =  word.",
                        "type": None, "param": None, "code": "500"}}, done=False),
         "transient", "malformed_reply", "repeating"),
        # Numbers of its own, with 200 (MiniMax).
        (Answer(b'{"base_resp": {"status_code": 1004, "status_msg": "login fail"}}'),
         "permanent", "provider_unauthorized", "login fail"),
        (Answer(b'{"base_resp": {"status_code": 1002, "status_msg": "rate limit"}}'),
         "transient", "rate_limit_exceeded", "rate limit"),
        (Answer(b'{"base_resp": {"status_code": 1026, "status_msg": "input new_sensitive"}}'),
         "permanent", "content_filter", "sensitive"),
        (Answer(b'{"base_resp": {"status_code": 2013, "status_msg": "invalid params"}}'),
         "permanent", "invalid_request", "invalid params"),
    ],
)  # fmt: skip
def test_errors_are_told_apart(provider: RawProvider, answer: Answer, kind: str, code: str, said: str) -> None:
    verdict = failure(provider, answer)
    assert (verdict.kind, verdict.code) == (kind, code)
    assert said in verdict.message


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [
        (refused(429, {"error": {"code": 429, "message": "free-models-per-day", "metadata": {"headers": {
            "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1000000000000000"}}}}), 86_400),
        (refused(429, {"error": {"message": "Please wait 1 hour, 12 minutes before retrying."}}), 4_320),
        (refused(429, {"error": {"message": "Please retry after 1 minute and 30 seconds."}}), 90),
        (refused(429, {}, **{"retry-after": "172800"}), 86_400),
        (refused(429, {}, **{"retry-after": "-5"}), None),
    ],
)  # fmt: skip
def test_waits_are_read_wherever_they_stand(provider: RawProvider, answer: Answer, seconds: float | None) -> None:
    assert failure(provider, answer).retry_after_s == seconds


def test_a_field_whose_range_is_narrower_is_left_out(provider: RawProvider) -> None:
    provider.answers = [
        refused(400, {"error": {"message": "temperature should be in (0.0, 1.0]"}}),
        sse(delta("hi"), STOP),
    ]
    got = run(lambda: ask("hi", options={"temperature": 2}))
    assert (got.content, got.left_out) == ("hi", ("temperature",))
    assert ["temperature" in body for body in provider.asked] == [True, False]


@pytest.mark.parametrize(
    ("status", "words", "left"),
    [
        (400, "This model's maximum context length is 4097 tokens. However, you requested 4227 tokens (131 in the "
              "messages, 4096 in the completion). Please reduce the length of the messages or completion.", 3966),
        (400, "'max_tokens' or 'max_completion_tokens' is too large: 4096. This model's maximum context length is 4096 "
              "tokens and your request has 20 input tokens (4096 > 4096 - 20). ", 4076),
        (400, "Requested token count exceeds the model's maximum context length of 4,096 tokens. You requested a total "
              "of 4,120 tokens: 24 tokens from the input messages and 4,096 tokens for the completion.", 4072),
        (422, "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4097. Given: 55 `inputs` tokens "
              "and 4096 `max_new_tokens`", 4042),
        (400, "input length and `max_tokens` exceed context limit: 198240 + 4096 > 200000, decrease input length or "
              "`max_tokens` and try again", 1760),
        (400, "This endpoint's maximum context length is 4096 tokens. However, you requested about 4228 tokens (132 of "
              "text input, 4096 in the output).", 3964),
    ],
)  # fmt: skip
def test_a_prompt_that_fits_is_sent_again_with_the_room_that_is_left(
    provider: RawProvider, status: int, words: str, left: int
) -> None:
    provider.answers = [refused(status, {"error": {"message": words}}), sse(delta("hi"), STOP)]

    async def twice() -> list[str]:
        return [(await ask("hi", max_output_tokens=4096)).content for _ in range(2)]

    assert run(twice) == ["hi", "hi"]
    assert [body["max_tokens"] for body in provider.asked] == [4096, left, 4096], "the next prompt has another length"


@pytest.mark.parametrize(("prompt", "fits"), [(4096 - room.LEAST_TOKENS, True), (4097 - room.LEAST_TOKENS, False)])
def test_a_prompt_that_leaves_too_little_room_is_too_long(provider: RawProvider, prompt: int, fits: bool) -> None:
    words = f"maximum context length is 4096 tokens, you requested {prompt + 512} ({prompt} in the messages, 512 more)"
    provider.answers = [refused(400, {"error": {"message": words}}), sse(delta("hi"), STOP)]
    if fits:
        assert run(lambda: ask("hi", max_output_tokens=512)).content == "hi"
        assert provider.asked[-1]["max_tokens"] == room.LEAST_TOKENS
        return
    verdict = failure(provider, provider.answers[0], max_output_tokens=512)
    assert (verdict.kind, verdict.code, len(provider.asked)) == ("permanent", "context_too_long", 1)


NOTHING = [
    Answer(b""),
    Answer(b": ping\n\n: ping\n\n"),
    sse({"choices": [{"index": 0, "delta": {"role": "assistant"}}]}, done=False),
    sse(STOP),
]
"""Streams that end well and hold nothing, as of llama_cpp.server and of a LiteLLM proxy before it."""
FULL = Answer(json.dumps({"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}],
                          "usage": {"prompt_tokens": 9, "completion_tokens": 1}}).encode())  # fmt: skip


@pytest.mark.parametrize("empty", NOTHING)
def test_a_stream_of_nothing_is_asked_for_its_reason_in_one_piece(provider: RawProvider, empty: Answer) -> None:
    provider.answers = [empty, refused(400, {"error": {"message": "maximum context length is 512, you sent 1034"}})]
    with pytest.raises(ModelError) as caught:
        run(lambda: ask("hi"))
    verdict = classify(caught.value)
    assert (verdict.kind, verdict.code) == ("permanent", "context_too_long")
    assert ["stream" in body for body in provider.asked] == [True, False]


@pytest.mark.parametrize("empty", NOTHING)
def test_what_comes_in_one_piece_is_the_reply_and_both_requests_are_charged(
    provider: RawProvider, empty: Answer
) -> None:
    provider.answers = [empty, FULL, sse(delta("again"), STOP)]
    progress = Progress()

    async def twice() -> list[str]:
        return [(await ask("hi", progress=progress)).content, (await ask("hi")).content]

    assert run(twice) == ["hi", "again"]
    assert ["stream" in body for body in provider.asked] == [True, False, True]
    assert charges.read_before(progress) == progress.prompt_tokens > 0


def test_a_reply_of_nothing_is_one_where_its_use_is_told(provider: RawProvider) -> None:
    usage = {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 0}}
    assert reply(provider, sse(STOP, usage)).content == ""
    assert len(provider.asked) == 1


def test_who_does_not_explain_an_empty_stream_is_not_asked_again(provider: RawProvider) -> None:
    empty = Answer(b'{"choices": [{"message": {"content": ""}, "finish_reason": "stop"}]}')
    provider.answers = [sse(STOP), empty, sse(STOP)]

    async def twice() -> list[str]:
        return [(await ask("hi")).content for _ in range(2)]

    assert run(twice) == ["", ""]
    assert ["stream" in body for body in provider.asked] == [True, False, True]


@pytest.mark.parametrize(
    ("words", "kind", "code", "counts"),
    [
        ("1 validation error:\n  {'type': 'literal_error', 'loc': ('body', 'response_format', 'type'), 'msg': 'no'}",
         "permanent", "invalid_request", False),
        ("the validation of a node failed: body lost", "transient", "provider_error", True),
    ],
)  # fmt: skip
def test_a_refused_field_is_permanent_also_as_a_500(
    provider: RawProvider, words: str, kind: str, code: str, counts: bool
) -> None:
    verdict = failure(provider, refused(500, {"error": {"message": words, "type": "internal_server_error"}}))
    assert (verdict.kind, verdict.code, verdict.counts_for_breaker) == (kind, code, counts)


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        ("prompt is too long: 210000 tokens > 200000 maximum", 4096),
        ("This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 tokens.", 4096),
        ("the request exceeds the available context size of 4096", 4096),
        ("limit v1.4096 of 2026-11-28", 4096),
        ("", 1),
        ("9" * 4000 + " 4096", 4096),
    ],
)
def test_words_that_tell_of_no_room(words: str, asked: int) -> None:
    assert room.left(words, asked) is None


@pytest.mark.parametrize(
    ("base", "path"),
    [
        ("?api-version=2026-01-01", "/v1/chat/completions?api-version=2026-01-01"),
        ("/?api-version=1&key=a%2Fb", "/v1/chat/completions?api-version=1&key=a%2Fb"),
        ("/chat/completions?x=1", "/v1/chat/completions?x=1"),
        ("/", "/v1/chat/completions"),
        ("#part", "/v1/chat/completions"),
    ],
)
def test_the_query_of_the_base_address_stays(
    server: RawProvider, use: Callable[..., None], base: str, path: str
) -> None:
    use(server.url + base)
    server.asked.clear()
    server.paths.clear()
    assert reply(server, sse(delta("hi"), STOP)).content == "hi"
    assert server.paths == [path]


@pytest.mark.parametrize("location", ["/v1/chat/completions/", "/v1/chat/completions/?moved=1"])
def test_a_redirect_keeps_the_query(server: RawProvider, use: Callable[..., None], location: str) -> None:
    use(server.url + "?api-version=1")
    server.asked.clear()
    server.paths.clear()
    server.answers = [Answer(b"", 308, {"location": location}), sse(delta("hi"), STOP)]
    assert run(lambda: ask("hi")).content == "hi"
    assert server.paths[1] == (location if "?" in location else location + "?api-version=1")
