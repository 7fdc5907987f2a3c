"""What providers say in their own words, each of a family: which of Sluice's codes a refusal becomes, and which not."""

import json
from typing import Any

import pytest

from functions.worker.model import refusal
from shared.retry import Failure, classify


def told(message: str, status: int, body: dict[str, Any] | None = None, **headers: str) -> Failure:
    data = json.dumps(body or {"error": {"message": message, "type": "invalid_request_error"}}).encode()
    return classify(refusal.read(data, status, {name.replace("_", "-"): text for name, text in headers.items()}))


@pytest.mark.parametrize(
    ("message", "status"),
    [
        ("The sequence length is too long", 400),
        ("This request has 200000 tokens but the maximum is 128000", 400),
        ("BadRequestError: context_length_exceeded", 400),
        ("n_keep: 5000 >= n_ctx: 4096", 400),
        ("prompt length 9001 > max context 8192", 400),
        ("input_tokens 9001 > max_input_tokens 8192", 400),
        ("Total length of input tokens and max_tokens must be within 32768", 400),
        ("The number of tokens in the prompt exceeds the limit of 8192", 422),
        ("Max input tokens 8192 exceeded: 9001", 400),
        ("This model can only handle up to 32768 tokens", 400),
        ("The number of input tokens (5000) is greater than the maximum allowed (4096)", 400),
        ("request exceeds the maximum allowed number of tokens", 400),
        ("Input length 5000 exceeds the maximum length 4096.", 400),
        ("\u8f93\u5165\u5185\u5bb9\u8d85\u51fa\u6a21\u578b\u6700\u5927\u957f\u5ea6", 400),
        ("\u8f93\u5165token\u6570\u91cf\u8d85\u8fc7\u9650\u5236", 400),
        ("Total tokens of image and text exceed max message tokens", 400),
        ("Input token length too long. Max 4000 tokens", 400),
        ("The message you submitted was too long, please submit something shorter.", 400),
        ("Request input tokens exceed the model's limit of 128000", 400),
        ("string too long. Expected a string with maximum length 10485760, but got one with length 11000000.", 400),
        ("This model supports at most 32768 tokens but the request has 40000", 400),
        ("max_tokens must be at least 1, got -904.", 400),  # vLLM's: what is left beside the prompt
        ("The estimated number of input and output tokens (30000) exceeded this model context window limit", 413),
    ],
)
def test_a_prompt_that_is_too_long_is_so_in_any_words(message: str, status: int) -> None:
    verdict = told(message, status)
    assert (verdict.kind, verdict.code) == ("permanent", "context_too_long")


@pytest.mark.parametrize(
    ("message", "status"),
    [
        ("Your account has been terminated", 403),
        ("You have exceeded your monthly included credits for Inference Providers.", 402),
        ("Please add a payment method to continue", 403),
        ("Your free trial has ended", 401),
        ("This model requires a paid plan; you have 0 credits left", 403),
        ("\u9884\u6263\u8d39\u989d\u5ea6\u5931\u8d25, \u7528\u6237\u5269\u4f59\u989d\u5ea6: 0.01", 403),
        ("user quota is not enough", 403),
        ("Free allocated quota exceeded.", 403),
        ("ExceededBudget: User=x over budget. Spend=1.2, Budget=1.0", 400),
        ("The account has reached its monthly spend limit", 403),
        ("You have reached your specified API usage limits. You will regain access on 2026-12-01.", 400),
        ("This API method requires billing to be enabled.", 403),
        ("Your plan has expired", 429),
    ],
)
def test_an_empty_account_is_so_in_any_words(message: str, status: int) -> None:
    verdict = told(message, status)
    assert (verdict.kind, verdict.code) == ("permanent", "provider_insufficient_quota")
    assert verdict.opens_breaker == (status != 400)


@pytest.mark.parametrize(
    ("message", "status"),
    [
        ("litellm.ContentPolicyViolationError: AzureException - x", 400),
        ("Request blocked. PROHIBITED_CONTENT", 400),
        ("Violated guardrail policy", 400),
        ("Request contains inappropriate or illegal content", 400),
        ("Prompt rejected: unsafe content", 422),
        ("The prompt was blocked: SAFETY", 400),
        ("blocked by the content safety service", 400),
        ("The request failed because the input text may contain sensitive information.", 400),
    ],
)
def test_a_content_filter_is_so_in_any_words(message: str, status: int) -> None:
    verdict = told(message, status)
    assert (verdict.kind, verdict.code, verdict.opens_breaker) == ("permanent", "content_filter", False)


@pytest.mark.parametrize(
    ("message", "status", "code"),
    [
        ("'tools[0].function.name' exceeds maximum length 64", 400, "invalid_request"),
        (
            "string too long. Expected a string with maximum length 64, but got one with length 80.",
            400,
            "invalid_request",
        ),
        ("Could not finish the message because max_tokens or model output limit was reached.", 400, "invalid_request"),
        ("This model supports at most 20 completion tokens", 400, "invalid_request"),
        ("Sorry, you have been blocked", 403, "provider_forbidden"),
        ("max_tokens exceeds the maximum allowed number of tokens", 400, "invalid_request"),
        ("The API key provided is disabled", 403, "provider_unauthorized"),
        ("The model `busy-bee` does not exist", 404, "model_not_found"),
        ("temperature must be below the limit", 400, "invalid_request"),
        ("Conversation roles must alternate user/assistant/... at row 12, column 34", 500, "invalid_request"),
    ],
)
def test_what_sounds_alike_is_something_else(message: str, status: int, code: str) -> None:
    verdict = told(message, status)
    assert (verdict.kind, verdict.code) == ("permanent", code)


@pytest.mark.parametrize(
    ("message", "status", "code"),
    [
        ("This request would exceed your organization's rate limit of 40,000 input tokens per minute. Please reduce "
         "the prompt length or the maximum tokens requested, or try again later.", 429, "rate_limit_exceeded"),
        ("Allocated quota exceeded, please increase your quota limit.", 429, "rate_limit_exceeded"),
        ("Resource has been exhausted (e.g. check quota).", 429, "rate_limit_exceeded"),  # Google's of a minute
        ("Tokens per hour limit exceeded - too many tokens processed.", 429, "rate_limit_exceeded"),  # Cerebras'
        ("Flex tier capacity exceeded.", 498, "provider_error"),  # Groq's own status
        ("Upstream quota exhausted for this minute", 429, "rate_limit_exceeded"),
        ("The model is warming up", 400, "provider_error"),
        ("the model is overloaded", 424, "provider_error"),
        ("Model is busy", 421, "provider_error"),
        ("The server is temporarily unavailable", 400, "provider_error"),
    ],
)  # fmt: skip
def test_what_passes_is_tried_again(message: str, status: int, code: str) -> None:
    verdict = told(message, status)
    assert (verdict.kind, verdict.code, verdict.opens_breaker) == ("transient", code, False)


def test_an_allowance_of_a_minute_is_no_empty_account_whatever_is_said_of_one() -> None:
    violation = {"quotaId": "GenerateRequestsPerMinutePerProjectPerModel-FreeTier", "quotaValue": "15"}
    error = {
        "code": 429,
        "message": "You exceeded your current quota, please check your plan and billing details.",
        "details": [{"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [violation]}],
    }
    verdict = told("", 429, {"error": error})
    assert (verdict.kind, verdict.code, verdict.retry_after_s) == ("transient", "rate_limit_exceeded", 60)


@pytest.mark.parametrize(
    "message",
    [
        "This request requires more credits, or fewer max_tokens. You asked for up to 500, but can only afford 3.",
        "Prompt tokens limit exceeded: 5000 > 1000. To increase, upgrade to a paid account",
    ],
)
def test_an_account_that_is_too_empty_for_one_call_stops_nobody_else(message: str) -> None:
    verdict = told(message, 402)
    assert (verdict.kind, verdict.code, verdict.opens_breaker) == ("permanent", "provider_insufficient_quota", False)


@pytest.mark.parametrize(
    ("param", "message", "code"),
    [
        ("user", "Invalid 'user': string too long. Expected a string with maximum length 64.", "invalid_request"),
        ("messages[0].content", "Invalid 'messages[0].content': string too long. Expected a string with maximum length "
         "10485760, but got a string with length 12000000 instead.", "context_too_long"),
    ],
)  # fmt: skip
def test_a_string_that_is_too_long_is_a_prompt_only_where_it_is_one(param: str, message: str, code: str) -> None:
    error = {"message": message, "param": param, "code": "string_above_max_length"}
    assert told("", 400, {"error": error}).code == code


def test_a_guardrail_of_a_gateway_is_a_filter() -> None:
    assert told("The guardrail checks defined in the config failed.", 446).code == "content_filter"


def test_what_stands_behind_a_gateway_tells_what_passes() -> None:
    raw = json.dumps({"error": {"code": 503, "message": "No more room", "status": "UNAVAILABLE"}})
    body = {"error": {"message": "Provider returned error", "code": 400, "metadata": {"raw": raw}}}
    verdict = told("", 400, body)
    assert (verdict.kind, verdict.code) == ("transient", "provider_error")
    assert verdict.message == "Provider returned error: No more room"
    assert told("", 400, {"error": {"message": "gone wrong", "code": "500"}}).kind == "transient"


@pytest.mark.parametrize(
    ("message", "wait_s"),
    [
        ("Rate limited. Retry after 30", 30),
        ("Limit resets at: 2099-11-29 12:00:00 UTC", 86_400),
        ("Try again at 2099-11-29T12:00:00+08:00", 86_400),
        ("\u8bf7\u5728 2 \u5206\u949f\u540e\u91cd\u8bd5", 120),
        ("Please retry after 30 requests have ended", None),
        ("Limit resets at: 2099-11-29 12:00:00", None),  # of which zone?
    ],
)
def test_how_long_to_wait_is_read_from_words(message: str, wait_s: float | None) -> None:
    assert told(message, 429).retry_after_s == wait_s


def test_how_long_to_wait_is_the_longest_of_what_two_say() -> None:
    assert told("slow down", 429, retry_after="5, 30").retry_after_s == 30


def test_how_long_to_wait_is_read_beside_the_words() -> None:
    error = {"type": "usage_limit_reached", "message": "The usage limit has been reached", "resets_in_seconds": 3600}
    assert told("", 429, {"error": error}).retry_after_s == 3_600
    info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": {"seconds": 12}}
    assert told("", 429, {"error": {"message": "slow down", "details": [info]}}).retry_after_s == 12


@pytest.mark.parametrize(
    ("header", "wait_s"),
    [
        ('"default";r=0;t=30', 30),
        ('"minute";r=7;t=12, "day";r=0;t=600', 600),
        ("limit=10, remaining=0, reset=31", 31),
        ('"default";r=5;t=30', None),
    ],
)
def test_how_long_to_wait_is_read_from_a_policy(header: str, wait_s: float | None) -> None:
    assert told("slow down", 429, ratelimit=header).retry_after_s == wait_s


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"title": "Validation", "errors": {"tools": ["bad", "worse"]}}, "tools: bad; worse"),
        ({"message": {"stream_options": ["Unknown field."]}}, "stream_options: Unknown field."),
        ([{"error": {"code": 400, "message": "Bad.", "details": [
            {"@type": "BadRequest", "fieldViolations": [{"field": "tools", "description": "no"}]}]}}], "Bad. (tools)"),
    ],
)  # fmt: skip
def test_the_words_of_validators_are_found(body: Any, words: str) -> None:
    assert told("", 400, body).message == words
