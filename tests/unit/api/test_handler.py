"""The Lambda handler: events as API Gateway and its local stand-ins send them, and ones that nobody sends."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from typing import Any

import pytest

from functions.api import app as entry
from functions.api.door import alone, forwarded
from functions.api.read import hold
from tests.unit.api.conftest import Api


def event(method: str, path: str, body: str | None = None, **changes: Any) -> dict[str, Any]:
    """Make an event of payload format 2.0."""
    stage = changes.pop("stage", "$default")
    api_id = changes.pop("api_id", "abc123")
    domain = changes.pop("domain", f"{api_id}.execute-api.eu-west-1.amazonaws.com")
    headers = {"host": domain, "content-type": "application/json"} | changes.pop("headers", {})
    made: dict[str, Any] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": changes.pop("query", ""),
        "headers": headers,
        "requestContext": {
            "apiId": api_id,
            "domainName": domain,
            "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1", "userAgent": "t"},
            "requestId": "JKJaXmPLvHcESHA=",
            "stage": stage,
        },
        "isBase64Encoded": False,
    }
    if body is not None:
        made["body"] = body
    return made | changes


class Context:
    """What Lambda passes along."""

    def __init__(self, left_ms: int = 30_000) -> None:
        self.left_ms = left_ms

    def get_remaining_time_in_millis(self) -> int:
        return self.left_ms


def call(made: dict[str, Any], context: Context | None = None) -> dict[str, Any]:
    answer = entry.handler(made, context or Context())
    answer["json"] = json.loads(answer["body"]) if answer.get("body") else None
    return answer


def test_a_submit_through_the_handler(steady: Api) -> None:
    answer = call(event("POST", "/agent", '{"message": "hi"}', headers=steady.head()))
    assert answer["statusCode"] == 202
    assert answer["headers"]["location"] == f"/result/{answer['json']['task_id']}"
    assert answer["headers"]["x-request-id"] == "JKJaXmPLvHcESHA="
    assert answer["isBase64Encoded"] is False


@pytest.mark.parametrize(
    ("made", "prefix"),
    [
        ({}, ""),
        ({"stage": "prod", "path": "/prod/agent"}, "/prod"),
        ({"stage": "prod", "path": "/agent", "domain": "api.example.com"}, ""),
        (
            {"domain": "abc123.execute-api.localhost", "headers": {"host": "127.0.0.1:4566"}},
            "/_aws/execute-api/abc123/$default",
        ),
        ({"domain": "abc123.execute-api.localhost", "headers": {"host": "abc123.execute-api.localhost:4566"}}, ""),
        ({"domain": "localhost", "api_id": "1234567890", "headers": {"host": "127.0.0.1:3000"}}, ""),
        ({"headers": {"x-forwarded-prefix": "/sluice/"}}, "/sluice"),
        ({"headers": {"x-forwarded-prefix": "//evil.example"}}, ""),
        ({"headers": {"x-forwarded-prefix": "/a/../b"}}, ""),
        ({"headers": {"x-forwarded-prefix": "https://evil.example"}}, ""),
    ],
)
def test_links_keep_the_prefix_that_the_request_came_with(steady: Api, made: dict[str, Any], prefix: str) -> None:
    headers = steady.head() | made.pop("headers", {})
    path = made.pop("path", "/agent")
    answer = call(event("POST", path, '{"message": "hi"}', headers=headers, **made))
    assert answer["statusCode"] == 202, answer
    assert answer["headers"]["location"] == f"{prefix}/result/{answer['json']['task_id']}"
    root = path.removesuffix("/agent")
    described = call(event("GET", f"{root}/openapi.json", headers=headers, **made))
    assert described["json"]["servers"] == [{"url": prefix or "/"}]
    page = entry.handler(event("GET", f"{root}/docs", headers=headers, **made), Context())
    assert f'src="{prefix}/docs/swagger-ui-bundle.js"' in page["body"]


def test_a_prefix_is_one_only_as_a_whole_segment() -> None:
    context = {"requestContext": {"stage": "v1", "apiId": "a", "domainName": "a.execute-api.x.amazonaws.com"}}
    assert forwarded.split(context, {}, "/v1/v1/responses") == ("/v1", "/v1/responses")
    assert forwarded.split(context, {}, "/v1x/agent") == ("", "/v1x/agent")
    assert forwarded.split(context, {}, "/v1") == ("/v1", "/")
    assert forwarded.split(None, {}, "/agent") == ("", "/agent")


@pytest.mark.parametrize(
    "change",
    [
        {"headers": {"host": "a:b:c"}},
        {"headers": {"host": "[::1]:8080"}},
        {"headers": {"host": ":x"}},
        {"body": "%%%", "isBase64Encoded": True},
        {"body": "\ud800"},
        {"headers": {"x-odd": "\ud800"}},
        {"requestContext": {}},
        {"headers": None},
    ],
)
def test_what_is_no_request_is_answered_all_the_same(steady: Api, change: dict[str, Any]) -> None:
    headers = change.get("headers")
    change = change | ({"headers": steady.head() | headers} if headers else {})
    made = event("POST", "/agent", '{"message": "hi"}')
    answer = call(made | change)
    assert answer["statusCode"] in (202, 400, 401)
    if answer["statusCode"] != 202:
        assert {"code", "message", "type"} <= set(answer["json"]["error"])


@pytest.mark.parametrize("raw", [b'{"message": "\xff"}', b"\x00\x01", '{"message": "é"}'.encode("latin-1")])
def test_bytes_that_are_no_utf8_are_refused_however_the_gateway_passes_them(steady: Api, raw: bytes) -> None:
    as_base64 = event("POST", "/agent", base64.b64encode(raw).decode(), headers=steady.head(), isBase64Encoded=True)
    assert call(as_base64)["statusCode"] == 422
    length = {"content-length": str(len(raw))}
    replaced = event("POST", "/agent", raw.decode("utf-8", "replace"), headers=steady.head() | length)
    assert call(replaced)["statusCode"] == 422


def test_a_message_may_hold_the_replacement_character_itself(steady: Api) -> None:
    body = '{"message": "\ufffd"}'
    made = event("POST", "/agent", body, headers=steady.head() | {"content-length": str(len(body.encode()))})
    assert call(made)["statusCode"] == 202


def test_files_of_the_docs_page_are_served(steady: Api) -> None:
    script = entry.handler(event("GET", "/docs/swagger-ui-bundle.js"), Context())
    assert (script["statusCode"], script["isBase64Encoded"]) == (200, False)
    assert len(script["body"]) > 1_000_000
    icon = entry.handler(event("GET", "/docs/favicon-32x32.png"), Context())
    assert base64.b64decode(icon["body"]).startswith(b"\x89PNG")
    assert entry.handler(event("GET", "/docs/LICENSE"), Context())["statusCode"] == 404


def test_a_long_poll_ends_before_the_function_does(steady: Api, monkeypatch: pytest.MonkeyPatch) -> None:

    slept: list[float] = []
    monkeypatch.setattr("functions.api.read.hold.time.sleep", slept.append)
    monkeypatch.setattr("functions.api.read.hold.time.monotonic", lambda: sum(slept))
    task_id = call(event("POST", "/agent", '{"message": "hi"}', headers=steady.head()))["json"]["task_id"]
    answer = call(event("GET", f"/result/{task_id}", headers=steady.head(), query="wait=25"), Context(left_ms=6_500))
    assert answer["json"]["status"] == "queued"
    assert sum(slept) == pytest.approx(6.5 - hold.MARGIN_S)


def test_only_a_real_trace_is_passed_on(steady: Api) -> None:
    from shared.tasks import store

    real = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
    for given, kept in ((real, real), ("garbage", None), (real + ";Lineage=x", real)):
        made = event("POST", "/agent", '{"message": "hi"}', headers=steady.head() | {"x-amzn-trace-id": given})
        assert store.get(call(made)["json"]["task_id"]).trace == kept


TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_a_callers_traceparent_is_the_runs_parent_and_no_retrys(steady: Api) -> None:
    from shared.tasks import settle, store
    from shared.tasks.model import Outcome, Status

    for given, kept in ((TRACE, TRACE), ("garbage", None), ("00-" + "0" * 32 + TRACE[35:], None)):
        made = event("POST", "/agent", '{"message": "hi"}', headers=steady.head() | {"traceparent": given})
        task = store.get(call(made)["json"]["task_id"])
        assert task.params.get("traceparent") == kept
        settle.end_unheld(task, Outcome(status=Status.CANCELLED))
    first = call(event("POST", "/agent", '{"message": "hi"}', headers=steady.head() | {"traceparent": TRACE}))
    task = store.get(first["json"]["task_id"])
    settle.end_unheld(task, Outcome(status=Status.CANCELLED))
    again = call(event("POST", f"/agent/{task.task_id}/retry", "{}", headers=steady.head()))
    assert "traceparent" not in store.get(again["json"]["task_id"]).params
    plain = call(event("POST", "/agent", '{"message": "hi"}', headers=steady.head()))
    assert "traceparent" not in store.get(plain["json"]["task_id"]).params  # of an earlier request of this process


def test_a_request_of_the_function_starts_no_thread(steady: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    call(event("POST", "/agent", '{"message": "hi"}', headers=steady.head()))  # clients are made
    monkeypatch.setattr(threading.Thread, "start", lambda thread: pytest.fail(f"{thread.name} was started"))
    submitted = call(event("POST", "/agent", '{"message": "hi"}', headers=steady.head()))
    assert submitted["statusCode"] == 202
    shown = call(event("GET", f"/result/{submitted['json']['task_id']}", headers=steady.head()))
    assert shown["json"]["status"] == "queued"
    refused = call(event("GET", "/limits", headers={"authorization": "Bearer nobody"}))
    assert refused["statusCode"] == 401


def test_requests_beside_each_other_have_threads_of_their_own() -> None:
    together = threading.Barrier(5)

    async def five() -> list[int]:
        with alone.alone():
            assert await alone.run(threading.get_ident) == threading.get_ident()
        return await asyncio.gather(*(alone.run(together.wait, 20) for _ in range(5)))

    assert sorted(asyncio.run(five())) == [0, 1, 2, 3, 4]
