"""What the OpenAI dialect does not do is refused by name, in OpenAI's own shape."""

from __future__ import annotations

import gzip
from typing import Any

import pytest
from openai.types.chat.completion_create_params import CompletionCreateParamsBase
from openai.types.responses.response_create_params import ResponseCreateParamsBase

from functions.api.contract.problem import Problem
from functions.api.contract.requests import CONVERSATION_BYTES
from functions.api.dialect.chat_request import ChatRequest
from functions.api.dialect.chat_turn import submission_of
from functions.api.dialect.options import OPTIONS_BYTES
from functions.api.dialect.request import INSTRUCTIONS_BYTES, TOOLS, TOOLS_BYTES, ResponsesRequest
from tests.unit.api.conftest import Api
from tests.unit.api.test_openai import TOOL


def test_every_parameter_of_the_sdk_is_done_or_refused_by_name() -> None:
    known = set(ResponsesRequest.model_fields) | set(ResponsesRequest.unsupported)
    assert set(ResponseCreateParamsBase.__annotations__) <= known
    known = set(ChatRequest.model_fields) | set(ChatRequest.unsupported)
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
        ({"tools": [TOOL | {"description": "d" * TOOLS_BYTES}]}, "tools", "invalid_request"),
        ({"input": "x" * CONVERSATION_BYTES}, "input", "string_above_max_length"),
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
        ({"messages": [{"role": "user", "content": "x" * 600_000}] * 2}, "messages", "string_above_max_length"),
    ],
)
def test_a_chat_request_that_is_not_done_is_400_by_name(
    steady: Api, extra: dict[str, Any], param: str, code: str
) -> None:
    body: dict[str, Any] = {"model": "sim-small", "messages": [{"role": "user", "content": "x"}]} | extra
    answer = steady.post("/v1/chat/completions", **body)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (400, param, code)


PNG = "data:image/png;base64,iVBORw0KGgo="
LOOKUP = {"type": "function", "name": "lookup"}


def _image(url: str) -> dict[str, Any]:
    return {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": url}]}]}


@pytest.mark.parametrize(
    "url",
    [
        "", "nonsense", "file:///etc/passwd", "data:", "data:nonsense", "data:image/png,x", "data:image/png;base64,",
        "data:image/png;base64,@@@@", "data:image/png;base64,AAA", "https://", "http://a b",
        "gopher://127.0.0.1:6379/_x", "ftp://example.com/a.png", "javascript://a", "ws://example.com/a", "dict://a/b",
    ],
)  # fmt: skip
def test_an_image_that_is_neither_address_nor_data_is_refused_in_both_dialects(steady: Api, url: str) -> None:
    refused = steady.post("/v1/responses", **_image(url))
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "input[0].content[0].image_url")
    content = [{"type": "image_url", "image_url": {"url": url}}]
    refused = steady.post("/v1/chat/completions", messages=[{"role": "user", "content": content}])
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "messages[0].content[0].image_url.url")


@pytest.mark.parametrize(
    "url",
    [
        PNG,
        "https://example.com/a.png?b=c",
        "HTTP://example.com/a.png",
        "gs://bucket/a.png",
        "s3://bucket/a.png",
        PNG.replace("iVB", "iV\nB"),
    ],
)  # fmt: skip
def test_an_image_by_address_or_as_data_is_taken(steady: Api, url: str) -> None:
    assert steady.post("/v1/responses", background=True, **_image(url)).status_code == 200


@pytest.mark.parametrize("data", ["", "@", "data:application/pdf;base64,@"])
def test_a_file_or_sound_that_is_no_base64_is_refused(steady: Api, data: str) -> None:
    for part in (
        {"type": "input_file", "file_data": data, "filename": "a.pdf"},
        {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}},
    ):
        refused = steady.post("/v1/responses", input=[{"role": "user", "content": [part]}])
        assert refused.status_code == 400
        kind = part["type"].removeprefix("input_")
        part = {"type": "file", "file": part} if kind == "file" else {**part, "type": "input_audio"}
        refused = steady.post("/v1/chat/completions", messages=[{"role": "user", "content": [part]}])
        assert refused.status_code == 400


@pytest.mark.parametrize(
    ("tools", "choice", "status"),
    [
        (None, "auto", 200),
        (None, "none", 200),
        (None, "required", 400),
        ([], "required", 400),
        (None, "lookup", 400),
        ([LOOKUP], "required", 200),
        ([LOOKUP], "lookup", 200),
        ([LOOKUP], "other", 400),
        ([LOOKUP], ["lookup"], 200),
        ([LOOKUP], ["lookup", "other"], 400),
    ],
)
def test_a_tool_choice_fits_the_tools(steady: Api, tools: Any, choice: Any, status: int) -> None:
    ours: Any = choice if choice in ("auto", "none", "required") else {"type": "function", "name": choice}
    theirs: Any = ours if isinstance(ours, str) else {"type": "function", "function": {"name": choice}}
    if isinstance(choice, list):
        named = [{"type": "function", "name": name} for name in choice]
        ours = {"type": "allowed_tools", "mode": "auto", "tools": named}
        chat = [{"type": "function", "function": {"name": name}} for name in choice]
        theirs = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": chat}}
    made = steady.post("/v1/responses", input="x", background=True, tools=tools, tool_choice=ours)
    assert made.status_code == status, made.text
    functions = tools and [{"type": "function", "function": {"name": "lookup"}}]
    asked = ChatRequest(messages=[{"role": "user", "content": "x"}], tools=functions, tool_choice=theirs)
    if status == 200:
        assert submission_of(asked).params["tool_choice"] == theirs
        return
    assert made.json()["error"]["param"] == "tool_choice"
    with pytest.raises(Problem) as refused:
        submission_of(asked)
    assert refused.value.param == "tool_choice"


@pytest.mark.parametrize(
    ("schema", "field"),
    [
        ({"name": "x y", "schema": {}}, "name"),
        ({"name": "x", "schema": []}, "schema"),
        ({"name": "x", "schema": {}, "strict": "yes"}, "strict"),
    ],
)
def test_a_chats_schema_is_checked_as_a_responses_is(steady: Api, schema: dict[str, Any], field: str) -> None:
    body = {"messages": [{"role": "user", "content": "x"}], "response_format": {"type": "json_schema"}}
    body["response_format"] |= {"json_schema": schema}  # type: ignore[call-overload]
    refused = steady.post("/v1/chat/completions", **body)
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == f"response_format.json_schema.{field}"


def test_a_body_in_an_encoding_is_refused_by_name(steady: Api) -> None:
    body = gzip.compress(b'{"input":"x","background":true}')
    headers = steady.head(**{"Content-Type": "application/json", "Content-Encoding": "gzip"})
    refused = steady.client.post("/v1/responses", content=body, headers=headers)
    assert refused.status_code == 400
    assert refused.json()["error"]["code"] == "unsupported_content_encoding"
    headers["Content-Encoding"] = "identity"
    assert steady.client.post("/v1/responses", content=gzip.decompress(body), headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/v1/embeddings", "under /v1/ there are responses, chat/completions"),
        ("/v1/v1/responses", "the base URL of an OpenAI client ends with one /v1"),
        ("/responses", "the base URL of an OpenAI client ends with one /v1"),
        ("/chat/completions", "the base URL of an OpenAI client ends with one /v1"),
        ("/nothing", "no such path"),
    ],
)
def test_a_path_that_there_is_not_says_what_was_meant(steady: Api, path: str, said: str) -> None:
    answer = steady.post(path, input="x")
    assert answer.status_code == 404
    assert said in answer.json()["error"]["message"]
    assert answer.json()["error"]["code"] == "not_found"
