"""What the OpenAI dialect does not do is refused by name, in OpenAI's own shape."""

from __future__ import annotations

from typing import Any

import pytest
from openai.types.responses.response_create_params import ResponseCreateParamsBase

from functions.api.dialect.request import INSTRUCTIONS_BYTES, TOLERATED, TOOLS, UNSUPPORTED, ResponsesRequest
from tests.unit.api.conftest import Api
from tests.unit.api.test_openai import TOOL


def test_every_parameter_of_the_sdk_is_done_tolerated_or_refused_by_name() -> None:
    known = set(ResponsesRequest.model_fields) | set(TOLERATED) | UNSUPPORTED
    assert set(ResponseCreateParamsBase.__annotations__) <= known


@pytest.mark.parametrize(
    ("extra", "param", "code"),
    [
        ({"stream": True}, "stream", "unsupported_parameter"),
        ({"store": False}, "store", "unsupported_parameter"),
        ({"temperature": 0.2}, "temperature", "unsupported_parameter"),
        ({"reasoning": {"effort": "high"}}, "reasoning", "unsupported_parameter"),
        ({"text": {"format": {"type": "json_object"}}}, "text", "unsupported_parameter"),
        ({"conversation": "conv_1"}, "conversation", "unsupported_parameter"),
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
            {"input": [{"role": "user", "content": [{"type": "input_image"}]}]},
            "input[0].content[0].type",
            "unsupported_value",
        ),
        ({"input": [{"type": "reasoning", "id": "x", "summary": []}]}, "input[0].type", "unsupported_value"),
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
    assert (answer.status_code, error["param"], error["code"]) == (400, param, code)
    assert {"message", "type", "param", "code"} == set(error)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/nothing", 404, "not_found"),
        ("PUT", "/v1/responses", 405, "method_not_allowed"),
        ("GET", "/v1/responses/resp_x", 404, "response_not_found"),
        ("GET", "/v1/responses/%00", 404, "response_not_found"),
        ("GET", "/v1/responses/resp_x?stream=true", 400, "unsupported_parameter"),
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
