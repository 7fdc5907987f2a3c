"""Whatever arrives is answered with the documented error, never a 500."""

from __future__ import annotations

import json
from typing import Any

import pytest

from functions.api.door.body import MAX_BODY_BYTES, MAX_DEPTH
from tests.unit.api.conftest import Api
from tests.unit.api.test_submit import messages

JSON = {"Content-Type": "application/json"}


def error_of(answer: Any, status: int) -> dict[str, Any]:
    """Check the shape of an error and return it."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]
    body = answer.json()
    assert set(body) == {"error"}
    assert {"code", "message", "type"} <= set(body["error"]) <= {"code", "message", "type", "param", "limit"}
    return dict(body["error"])


def post(steady: Api, body: bytes, kind: str | None = "application/json", **headers: str) -> Any:
    more = {} if kind is None else {"Content-Type": kind}
    return steady.client.post("/agent", content=body, headers=steady.head() | more | headers)


@pytest.mark.parametrize(
    ("who", "body", "status", "code", "param"),
    [
        ("free", {"agent": "tools"}, 403, "agent_not_allowed", "agent"),
        ("free", {"model": "gpt-4"}, 403, "model_not_allowed", "model"),
        ("demo", {"agent": "nobody"}, 422, "unknown_agent", "agent"),
        ("demo", {"agent": "../x"}, 422, "invalid_request", "agent"),
        ("demo", {"message": ""}, 422, "invalid_request", "message"),
        ("demo", {"message": 5}, 422, "invalid_request", "message"),
        ("demo", {"message": None}, 422, "invalid_request", "message"),
        ("demo", {"session_id": "a#b"}, 422, "invalid_request", "session_id"),
        ("demo", {"session_id": "a\n"}, 422, "invalid_request", "session_id"),
        ("demo", {"session_id": "."}, 422, "invalid_request", "session_id"),
        ("demo", {"session_id": ".."}, 422, "invalid_request", "session_id"),
        ("demo", {"max_output_tokens": True}, 422, "invalid_request", "max_output_tokens"),
        ("demo", {"max_output_tokens": "5"}, 422, "invalid_request", "max_output_tokens"),
        ("demo", {"timeout_s": -1}, 422, "invalid_request", "timeout_s"),
        ("demo", {"stream": "no"}, 422, "invalid_request", "stream"),
        ("demo", {"max_cost_usd": 0}, 422, "invalid_request", "max_cost_usd"),
        ("demo", {"priority": "urgent"}, 422, "invalid_request", "priority"),
        ("demo", {"webhook_url": "http://example.com"}, 422, "invalid_request", "webhook_url"),
        ("demo", {"webhook_url": "https://127.0.0.1/"}, 422, "invalid_request", "webhook_url"),
        ("demo", {"webhook_url": "https://[::ffff:10.0.0.1]/"}, 422, "invalid_request", "webhook_url"),
        ("demo", {"webhook_url": "https://a:b@example.com/"}, 422, "invalid_request", "webhook_url"),
        ("demo", {"webhook_url": "https://[/"}, 422, "invalid_request", "webhook_url"),
        ("demo", {"max_cost_us": 1}, 422, "invalid_request", "max_cost_us"),
        ("demo", {"metadata": {"a": 1}}, 422, "invalid_request", "metadata.a"),
    ],
)
def test_refused_input_is_named_and_costs_nothing(
    steady: Api, who: str, body: dict[str, Any], status: int, code: str, param: str
) -> None:
    answer = steady.submit(who, **body)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (status, code, param)
    assert set(error) == {"code", "message", "param", "type"}
    assert steady.get("/limits", who).json()["limits"]["requests"]["used"] == 0
    assert messages(steady.lanes["normal"]) == []


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", "Basic abc", "Bearer sk-wrong", "Bearer " + "k" * 6000]
)
@pytest.mark.parametrize("path", ["/agent", "/result/task_1", "/limits", "/stats", "/sessions/s"])
def test_without_a_known_key_it_is_401(steady: Api, path: str, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    answer = steady.client.get(path, headers=headers)
    assert error_of(answer, 401)["code"] in ("missing_api_key", "invalid_api_key")
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_the_key_is_asked_for_before_the_body_is_looked_at(steady: Api) -> None:
    error_of(steady.client.post("/agent", content=b"{", headers=JSON), 401)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "invalid_json"),
        (b"{", "invalid_json"),
        (b"null", "invalid_json"),
        (b"[]", "invalid_json"),
        (b'"text"', "invalid_json"),
        (b'{"message": "a", "message": "b"}', "invalid_json"),
        (b'{"message": "a", "metadata": {"k": "1", "k": "2"}}', "invalid_json"),
        (b'{"message": NaN}', "invalid_json"),
        (b'{"message": "a", "timeout_s": -Infinity}', "invalid_json"),
        (b'{"message": "a", "timeout_s": 1e999}', "invalid_json"),
        (b'{"message": "a", "timeout_s": -1e309}', "invalid_json"),
        (b'{"message": "a", "max_output_tokens": 1' + b"0" * 30 + b"}", "invalid_json"),
        (b'{"message": "a", "max_output_tokens": 1' + b"0" * 9000 + b"}", "invalid_json"),
        (b'{"message": "\xff"}', "invalid_encoding"),
        (b"\xff\xfe{\x00}\x00", "invalid_encoding"),
        (b'\xef\xbb\xbf{"message": "a"}', "invalid_json"),
        (b'{"message": "\\ud800"}', "invalid_encoding"),
        (b'{"message": "a\\u0000b"}', "invalid_encoding"),
        (b'{"message": "a\x00b"}', "invalid_json"),
        (b'{"message": "a", "metadata": {"\\u0000": "x"}}', "invalid_encoding"),
        (b'{"message": "a", "\\ud800": "x"}', "invalid_encoding"),
        (b'{"message": ' + b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1) + b"}", "invalid_json"),
        (b'{"message": ' + b"[" * 500_000 + b"]" * 500_000 + b"}", "invalid_json"),
        (b'{"message": ' + b'{"a":' * 300_000, "invalid_json"),
        (b"x" * 1000, "invalid_json"),
    ],
)
def test_a_broken_body_is_422(steady: Api, body: bytes, code: str) -> None:
    assert error_of(post(steady, body), 422)["code"] == code


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "json"]
)
def test_another_content_type_is_422(steady: Api, kind: str) -> None:
    assert error_of(post(steady, b'{"message": "a"}', kind), 422)["code"] == "unsupported_content_type"


@pytest.mark.parametrize(
    "kind", [None, "application/json", "application/json; charset=utf-8", "APPLICATION/JSON", "application/vnd.x+json"]
)
def test_json_under_its_names_is_taken(steady: Api, kind: str | None) -> None:
    assert post(steady, '{"message": "é🙂"}'.encode(), kind).status_code == 202


def test_a_body_over_the_limit_is_413_whether_or_not_it_says_so(steady: Api) -> None:
    body = b'{"message": "' + b"a" * MAX_BODY_BYTES + b'"}'
    assert error_of(post(steady, body), 413)["code"] == "too_large"
    chunks = (body[i : i + 65_536] for i in range(0, len(body), 65_536))
    streamed = steady.client.post("/agent", content=chunks, headers=steady.head() | JSON)
    assert error_of(streamed, 413)["code"] == "too_large"


@pytest.mark.parametrize(
    "path",
    [
        "/result/task_x?wait=-1", "/result/task_x?wait=25.01", "/result/task_x?wait=nan", "/result/task_x?wait=x",
        "/result/task_x/events?after=-1", "/result/task_x/events?after=100000000", "/result/task_x/events?after=1.5",
        "/agent?limit=0", "/agent?limit=101", "/agent?status=done", "/agent?cursor=%00", "/agent?cursor=" + "a" * 3000,
        "/agent?cursor=bnVsbA",
        "/agent?cursor=eyJieV91c2VyIjp7IlMiOiJkZW1vIn19", "/sessions/a%20b", "/sessions/" + "a" * 129,
        "/agent?user_id=a%2Fb",
    ],
)  # fmt: skip
def test_wrong_parameters_are_422_and_named(steady: Api, path: str) -> None:
    assert error_of(steady.get(path), 422)["param"]


@pytest.mark.parametrize(
    "task_id", ["task_0", "x", "a" * 65, "a" * 5000, "%00", "%F0%9F%99%82", "a%23b", "TASK%23", "a%0Ab"]
)
@pytest.mark.parametrize("tail", ["", "/events"])
def test_an_unknown_task_is_404(steady: Api, task_id: str, tail: str) -> None:
    error_of(steady.get(f"/result/{task_id}{tail}"), 404)
    if not tail:
        error_of(steady.post(f"/agent/{task_id}/cancel"), 404)


@pytest.mark.parametrize(
    "path", ["/nowhere", "/agent/", "/result", "/result/", "/v9/x", "/%00", "/agent/x/y", "/docs/../app.py"]
)
def test_an_unknown_path_is_404(steady: Api, path: str) -> None:
    assert error_of(steady.get(path), 404)["code"] == "not_found"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("PUT", "/agent", "GET, HEAD, OPTIONS, POST"), ("POST", "/health", "GET, HEAD, OPTIONS")],
)
def test_another_method_is_405_and_says_which_there_are(steady: Api, method: str, path: str, allowed: str) -> None:
    answer = steady.client.request(method, path, headers=steady.head())
    assert error_of(answer, 405)["code"] == "method_not_allowed"
    assert answer.headers["allow"] == allowed


def test_head_and_options_are_answered(steady: Api) -> None:
    head = steady.client.head("/health")
    assert (head.status_code, head.content) == (200, b"")
    options = steady.client.options("/agent")
    assert (options.status_code, options.headers["allow"]) == (204, "GET, HEAD, OPTIONS, POST")


def test_a_defect_is_answered_in_the_same_shape(steady: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    from shared.tasks import listing

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(listing, "list_tasks", broken)
    error = error_of(steady.get("/agent"), 500)
    assert error["code"] == "internal_error"
    assert "secret detail" not in json.dumps(error)


def test_errors_never_show_the_key_or_the_message(steady: Api, capsys: pytest.CaptureFixture[str]) -> None:
    steady.submit(message="very private words", session_id="#")
    post(steady, b'{"message": "very private words", "metadata": 5}')
    written = "".join(capsys.readouterr())
    assert "very private" not in written
    assert steady.keys["demo"] not in written
