"""What the OpenAI dialect does not do is refused by name, in OpenAI's own shape."""

from __future__ import annotations

from typing import Any

import pytest
from openai.types.chat.completion_create_params import CompletionCreateParamsBase
from openai.types.responses.response_create_params import ResponseCreateParamsBase

from functions.api.dialect.chat_request import CHAT_UNSUPPORTED, ChatRequest
from functions.api.dialect.options import OPTIONS_BYTES
from functions.api.dialect.request import INSTRUCTIONS_BYTES, TOOLS, UNSUPPORTED, ResponsesRequest
from tests.unit.api.conftest import Api
from tests.unit.api.test_openai import TOOL


def test_every_parameter_of_the_sdk_is_done_or_refused_by_name() -> None:
    known = set(ResponsesRequest.model_fields) | set(UNSUPPORTED)
    assert set(ResponseCreateParamsBase.__annotations__) <= known
    known = set(ChatRequest.model_fields) | set(CHAT_UNSUPPORTED)
    assert set(CompletionCreateParamsBase.__annotations__) <= known


FORMAT: dict[str, Any] = {"type": "json_schema", "name": "answer", "schema": {"type": "object"}}
CALL = {"type": "function_call", "call_id": "c1", "name": "lookup", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "c1", "output": "x"}


@pytest.mark.parametrize(
    ("extra", "param", "code"),
    [
        ({"prompt": {"id": "pmpt_1"}}, "prompt", "unsupported_parameter"),
        ({"temperature": 2.1}, "temperature", "invalid_request"),
        ({"top_p": -0.1}, "top_p", "invalid_request"),
        ({"reasoning": {"effort": "huge"}}, "reasoning.effort", "invalid_request"),
        ({"reasoning": {"depth": 1}}, "reasoning.depth", "invalid_request"),
        ({"text": {"format": {"type": "grammar"}}}, "text.format.type", "invalid_request"),
        ({"text": {"format": {"type": "json_schema"}}}, "text.format.name", "missing_required_parameter"),
        ({"text": {"format": FORMAT | {"schema": {"x": "y" * OPTIONS_BYTES}}}}, "text.format", "invalid_request"),
        ({"include": ["file_search_call.results"]}, "include[0]", "invalid_request"),
        ({"service_tier": "priority"}, "service_tier", "invalid_request"),
        ({"truncation": "middle"}, "truncation", "invalid_request"),
        ({"top_logprobs": 21}, "top_logprobs", "invalid_request"),
        ({"conversation": "conv_1"}, "conversation", "conversation_not_found"),
        ({"session_id": "s", "previous_response_id": "resp_x"}, "session_id", "invalid_request"),
        ({"foo": 1}, "foo", "unknown_parameter"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type", "unsupported_value"),
        ({"tools": [{"type": "function"}]}, "tools[0].name", "invalid_request"),
        ({"tool_choice": "maybe"}, "tool_choice", "invalid_request"),
        ({"max_output_tokens": 0}, "max_output_tokens", "invalid_request"),
        ({"metadata": {"k": "v" * 513}}, "metadata.k", "invalid_request"),
        ({"input": ""}, "input", "invalid_request"),
        ({"input": []}, "input", "invalid_request"),
        ({"input": 5}, "input", "invalid_request"),
        ({"input": [5]}, "input", "invalid_request"),
        ({"tool_choice": 5}, "tool_choice", "invalid_request"),
        ({"input": [{"role": "king", "content": "x"}]}, "input[0].role", "invalid_request"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "file_1"}]}]},
            "input[0].content[0].file_id",
            "unsupported_value",
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "input_file", "file_url": "https://example.com/a.pdf"}]}]},
            "input[0].content[0].file_url",
            "unsupported_value",
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "hologram"}]}]},
            "input[0].content[0].type",
            "unsupported_value",
        ),
        ({"input": [{"type": "reasoning", "id": "x", "summary": []}]}, "input", "invalid_request"),
        ({"input": [{"type": "web_search_call", "id": "x"}]}, "input[0].type", "unsupported_value"),
        ({"input": [{"type": "item_reference", "id": "msg_none"}]}, "input[0].id", "invalid_request"),
        (
            {"input": [{"type": "compaction", "encrypted_content": "x"}]},
            "input[0].encrypted_content",
            "invalid_request",
        ),
        ({"input": [OUTPUT]}, "input[0].call_id", "invalid_request"),
        ({"input": [CALL]}, "input[0].call_id", "invalid_request"),
        ({"input": [CALL, CALL, OUTPUT]}, "input[1].call_id", "invalid_request"),
        ({"instructions": "i" * (INSTRUCTIONS_BYTES + 1)}, "instructions", "invalid_request"),
        ({"tools": [TOOL] * (TOOLS + 1)}, "tools", "invalid_request"),
        ({"tools": [TOOL | {"description": "d" * 33_000}]}, "tools", "invalid_request"),
        ({"input": "x" * 262_145}, "message", "string_above_max_length"),
        ({"agent": "nobody"}, "agent", "unknown_agent"),
    ],
)
def test_what_is_not_done_is_400_by_name(steady: Api, extra: dict[str, Any], param: str, code: str) -> None:
    body: dict[str, Any] = {"model": "sim-small", "input": "x", "background": True} | extra
    answer = steady.post("/v1/responses", **body)
    error = answer.json()["error"]
    status = 404 if code == "conversation_not_found" else 400
    assert (answer.status_code, error["param"], error["code"]) == (status, param, code)
    assert {"message", "type", "param", "code"} == set(error)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/nothing", 404, "not_found"),
        ("PUT", "/v1/responses", 405, "method_not_allowed"),
        ("GET", "/v1/responses/resp_x", 404, "response_not_found"),
        ("GET", "/v1/responses/%00", 404, "response_not_found"),
        ("GET", "/v1/responses/resp_x?stream=true", 404, "response_not_found"),
        ("DELETE", "/v1/responses/resp_x", 404, "response_not_found"),
        ("GET", "/v1/responses/resp_x/input_items", 404, "response_not_found"),
        ("GET", "/v1/conversations/conv_x", 404, "conversation_not_found"),
        ("POST", "/v1/chat/completions", 400, "invalid_json"),
        ("GET", "/v1/responses/resp_x?stream=maybe", 400, "invalid_request"),
        ("GET", "/v1/models/none", 404, "model_not_found"),
        ("POST", "/v1/responses", 400, "invalid_json"),
    ],
)
def test_every_error_under_v1_has_openais_shape(steady: Api, method: str, path: str, status: int, code: str) -> None:
    answer = steady.client.request(method, path, headers=steady.head())
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (status, code)
    assert {"message", "type", "param", "code"} == set(error)
    without_key = steady.client.get("/v1/models").json()["error"]
    assert (without_key["code"], without_key["type"]) == ("invalid_api_key", "invalid_request_error")


@pytest.mark.parametrize(
    ("extra", "param", "code"),
    [
        ({"messages": []}, "messages", "invalid_request"),
        ({"messages": [{"role": "king", "content": "x"}]}, "messages[0].role", "invalid_request"),
        (
            {"messages": [{"role": "tool", "content": "x", "tool_call_id": "c"}]},
            "messages[0].tool_call_id",
            "invalid_request",
        ),
        ({"n": 2}, "n", "invalid_request"),
        ({"stop": ["a"] * 5}, "stop", "invalid_request"),
        ({"functions": []}, "functions", "unsupported_parameter"),
        ({"top_logprobs": 3}, "top_logprobs", "invalid_request"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema", "invalid_request"),
        ({"tools": [{"type": "custom"}]}, "tools[0].type", "unsupported_value"),
        ({"audio": {}}, "audio", "unsupported_parameter"),
        ({"what": 1}, "what", "unknown_parameter"),
    ],
)
def test_a_chat_request_that_is_not_done_is_400_by_name(
    steady: Api, extra: dict[str, Any], param: str, code: str
) -> None:
    body: dict[str, Any] = {"model": "sim-small", "messages": [{"role": "user", "content": "x"}]} | extra
    answer = steady.post("/v1/chat/completions", **body)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (400, param, code)
