"""What a run says of its tokens' kinds and probabilities stands where OpenAI's clients look for it."""

from __future__ import annotations

from typing import Any

from openai.types.chat import ChatCompletion
from openai.types.responses import Response, ResponseOutputMessage, ResponseOutputText

from functions.api.dialect.chat_answer import ChatStream, completion_of
from functions.api.dialect.response import response_of
from tests.unit.api.test_response_stream import COMPLETE, QUEUED, STARTED, ended, log, stream, task

DETAILS = {"usage_details": {"cached_tokens": 6, "cache_write_tokens": 2, "reasoning_tokens": 3}}
BARE = {"token": "hü", "logprob": -0.5}
LOGPROBS: dict[str, Any] = {"logprobs": [BARE, {**BARE, "bytes": [1], "top_logprobs": [{**BARE, "bytes": None}]}]}
BYTES = list("hü".encode())


def test_a_response_has_them() -> None:
    usage = Response.model_validate(response_of(ended("hi", DETAILS))).usage
    assert usage is not None
    assert (usage.input_tokens_details.cached_tokens, usage.output_tokens_details.reasoning_tokens) == (6, 3)
    assert usage.input_tokens_details.cache_write_tokens == 2


def test_a_chat_completion_has_them_whole_and_streamed() -> None:
    usage = ChatCompletion.model_validate(completion_of(ended("hi", DETAILS))).usage
    assert usage is not None
    assert usage.prompt_tokens_details is not None
    assert usage.completion_tokens_details is not None
    assert usage.prompt_tokens_details.cached_tokens == 6
    assert usage.completion_tokens_details.reasoning_tokens == 3
    chat = ChatStream(task(), lambda: ended("hi", DETAILS), include_usage=True)
    *_, last = (chunk for event in log(QUEUED, STARTED, COMPLETE) for chunk in chat.take(event))
    assert last["usage"]["prompt_tokens_details"] == {"cached_tokens": 6, "cache_write_tokens": 2}
    assert last["usage"]["completion_tokens_details"]["reasoning_tokens"] == 3


def test_a_response_has_log_probabilities_with_what_providers_leave_out() -> None:
    message = Response.model_validate(response_of(ended("hüü", LOGPROBS))).output[0]
    assert isinstance(message, ResponseOutputMessage)
    (part,) = message.content
    assert isinstance(part, ResponseOutputText)
    assert part.logprobs is not None
    assert [(one.token, one.logprob, one.bytes) for one in part.logprobs] == [("hü", -0.5, BYTES), ("hü", -0.5, [1])]
    assert [[other.bytes for other in one.top_logprobs] for one in part.logprobs] == [[], [BYTES]]
    done = next(b for b in stream(log(QUEUED, COMPLETE), ended("hüü", LOGPROBS)) if b["type"].endswith("text.done"))
    assert [one["bytes"] for one in done["logprobs"]] == [BYTES, [1]]


def test_a_chat_completion_has_log_probabilities_as_the_provider_sent_them() -> None:
    assert completion_of(ended("hüü", LOGPROBS))["choices"][0]["logprobs"]["content"] == LOGPROBS["logprobs"]
