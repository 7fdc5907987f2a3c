import json
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .conftest import Simulator

USER = {"role": "user", "content": "hi"}
CALL = {"id": "c1", "type": "function", "function": {"name": "t", "arguments": "{}"}}
ASKING = {"role": "assistant", "content": None, "tool_calls": [CALL]}
TOOL = {"type": "function", "function": {"name": "t"}}


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"model": None}, "model"),
        ({"model": 5}, "model"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": ["hi"]}, "messages.[0]"),
        ({"messages": [{"role": "robot", "content": "hi"}]}, "messages.[0].role"),
        ({"messages": [{"role": ["user"], "content": "hi"}]}, "messages.[0].role"),
        ({"messages": [{"role": "user"}]}, "messages.[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": 1}]}]}, "messages.[0].content"),
        ({"messages": [USER, {"role": "tool", "tool_call_id": "x", "content": "r"}]}, "messages.[1].role"),
        ({"messages": [USER, ASKING]}, "messages"),
        ({"messages": [USER, ASKING, USER]}, "messages"),
        ({"messages": [{**ASKING, "tool_calls": [{"id": 1}]}]}, "messages.[0].tool_calls"),
        ({"messages": [{**USER, "tool_calls": [CALL]}]}, "messages.[0].tool_calls"),
        ({"messages": [{**USER, "tool_calls": 1}]}, "messages.[0].tool_calls"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"stream": True, "stream_options": 1}, "stream_options"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_completion_tokens": -1}, "max_completion_tokens"),
        ({"max_tokens": 5, "max_completion_tokens": 5}, "max_tokens"),
        ({"n": 2}, "n"),
        ({"stop": 3}, "stop"),
        ({"stop": list("abcde")}, "stop"),
        ({"tools": []}, "tools"),
        ({"tools": [{"type": "other"}]}, "tools[0]"),
        ({"tools": [{"type": "function", "function": {"name": "not a name"}}]}, "tools[0].function.name"),
        (
            {"tools": [{"type": "function", "function": {"name": "t", "parameters": 1}}]},
            "tools[0].function.parameters",
        ),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": "some"}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": {"function": {"name": "other"}}}, "tool_choice"),
        ({"surprise": 1}, "surprise"),
        ({"messages": [{"role": "user", "content": "[[sim what=1]]"}]}, "messages"),
    ],
)
def test_a_wrong_request_is_refused_by_name(
    sim: Simulator, raw: httpx2.Client, change: dict[str, Any], param: str
) -> None:
    answer = raw.post("/v1/chat/completions", json={"model": "m", "messages": [USER], **change})
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["param"] == param
    assert error["type"] == "invalid_request_error"
    assert set(error) == {"message", "type", "param", "code"}
    assert sim.stats()["by_status"] == {"400": 1}


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'"text"', b"\xff\xfe", b"[" * 100_000, b'{"model": ' + b"9" * 5_000 + b"}"],
)
def test_a_body_that_is_no_json_object_is_refused(raw: httpx2.Client, body: bytes) -> None:
    answer = raw.post("/v1/chat/completions", content=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_a_body_beyond_the_limit_is_refused(raw: httpx2.Client) -> None:
    answer = raw.post("/v1/chat/completions", content=b" " * (33 * 1024 * 1024))
    assert answer.status_code == 413


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/chat/completions", 405),
        ("POST", "/v1/models", 405),
        ("POST", "/v1/other", 404),
        ("GET", "/", 404),
    ],
)
def test_wrong_addresses(raw: httpx2.Client, method: str, path: str, status: int) -> None:
    answer = raw.request(method, path)
    assert answer.status_code == status
    assert "error" in answer.json()


@pytest.mark.parametrize("header", [{}, {"authorization": "Basic abc"}, {"authorization": "Bearer sk-invalid"}])
def test_a_key_is_needed(sim: Simulator, header: dict[str, str]) -> None:
    answer = httpx2.post(f"{sim.url}/v1/chat/completions", headers=header, json={})
    assert answer.status_code == 401


def test_a_key_may_be_of_a_project_without_models(sim: Simulator) -> None:
    header = {"authorization": "Bearer sk-no-access"}
    answer = httpx2.post(f"{sim.url}/v1/chat/completions", headers=header, json={})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")


def test_lone_surrogates_are_text_like_any_other(raw: httpx2.Client) -> None:
    body = '{"model": "\\ud800", "messages": [{"role": "user", "content": "\\udc00 [[sim echo key=\\udfff]]"}]}'
    answer = raw.post("/v1/chat/completions", content=body.encode())
    assert answer.status_code == 200
    assert answer.json()["choices"][0]["message"]["content"] == "\udc00"
    assert raw.get("/_sim/stats").status_code == 200


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
_FIELDS = st.sampled_from(
    ["model", "messages", "stream", "stream_options", "max_tokens", "n", "stop", "tools", "tool_choice", "x"]
)
_MESSAGE = st.fixed_dictionaries(
    {
        "role": st.sampled_from(["system", "user", "assistant", "tool", "x"]),
        "content": st.text(max_size=40) | _JSON,
    },
    optional={"tool_calls": _JSON, "tool_call_id": _JSON},
)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.dictionaries(_FIELDS, _JSON), st.lists(_MESSAGE, max_size=4))
def test_no_input_makes_a_500(raw: httpx2.Client, body: dict[str, Any], messages: list[Any]) -> None:
    complete = {"model": "m", "messages": messages, **body}
    answer = raw.post("/v1/chat/completions", content=json.dumps(complete).encode())
    assert answer.status_code in (200, 400)
    if answer.status_code == 400:
        assert answer.json()["error"]["message"]


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.text(alphabet=st.sampled_from('abkeywordsfail=0123456789 {}[]",.-*+'), max_size=40))
def test_no_directive_makes_a_500(raw: httpx2.Client, inner: str) -> None:
    body = {"model": "sim-fast", "messages": [{"role": "user", "content": f"[[sim {inner}]]"}]}
    assert raw.post("/v1/chat/completions", json=body).status_code in (200, 400, 429)
