"""Events of API Gateway's HTTP API, as hostile as they come: what is answered, and what is logged."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.api import app as entry
from tests.unit.api.conftest import Api, running
from tests.unit.fuzz.hostile import CONTROLS, DEEP, DEEP_OBJECTS, FEW, HALF_PAIR, LONG_NUMBER, bodies, texts
from tests.unit.fuzz.test_logs import FORGED, lines_are_json


@pytest.fixture(scope="module")
def api(valkey_url: str) -> Iterator[Api]:
    with running(valkey_url) as made:
        yield made


class Context:
    def get_remaining_time_in_millis(self) -> int:
        return 30_000


paths = st.one_of(
    st.sampled_from(
        ["/agent", "/result/x", "/result/x/events", "/sessions/default", "/limits", "/v1/responses", "/v1/models",
         "/me/data", "/stream-ticket", "/agent/x/cancel"]
    ),
    texts.map("/{}".format),
)  # fmt: skip
submits = bodies(message=st.just("hi"), agent=st.just("chat"), input=st.just("hi"), model=st.just("gpt-4o-mini"))
queries = st.one_of(
    texts, st.sampled_from(["wait=nan", "after=-1", "limit=1e9", "cursor=%ff", "wait=0&wait=0", "a=%ud800"])
)


@FEW
@given(
    method=st.sampled_from(["GET", "POST", "DELETE", "PUT", "OPTIONS", "BREW"]),
    path=paths,
    query=queries,
    headers=st.dictionaries(
        st.sampled_from(["content-type", "idempotency-key", "x-forwarded-prefix", "x-amzn-trace-id", "origin", "host"]),
        texts,
        max_size=3,
    ),
    body=st.none() | submits,
    encoded=st.booleans(),
    known=st.booleans(),
)
def test_events_of_the_http_api_are_answered(
    api: Api, method: str, path: str, query: str, headers: dict[str, str], body: str | None, encoded: bool, known: bool
) -> None:
    made: dict[str, Any] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": {"host": "abc.execute-api.eu-west-1.amazonaws.com"} | (api.head() if known else {}) | headers,
        "requestContext": {
            "apiId": "abc",
            "domainName": "abc.execute-api.eu-west-1.amazonaws.com",
            "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1", "userAgent": "t"},
            "requestId": "id",
            "stage": "$default",
        },
        "isBase64Encoded": encoded,
    }
    if body is not None:
        raw = body.encode("utf-8", "surrogatepass")
        made["body"] = base64.b64encode(raw).decode() if encoded else body
    answer = entry.handler(made, Context())
    assert 200 <= answer["statusCode"] < 500, answer
    text = json.dumps(answer)
    assert "Traceback" not in text
    if answer["statusCode"] >= 400 and method != "OPTIONS":
        assert set(json.loads(answer["body"])["error"]) >= {"code", "message", "type"}


@pytest.mark.parametrize("body", [DEEP, DEEP_OBJECTS, LONG_NUMBER, HALF_PAIR])
def test_deep_and_huge_bodies_are_refused_by_the_api(api: Api, body: str) -> None:
    raw = body.encode("utf-8", "surrogatepass")
    answer = api.client.post("/agent", content=raw, headers=api.head() | {"content-type": "application/json"})
    assert answer.status_code in (413, 422)


@pytest.mark.parametrize("text", [FORGED, CONTROLS, "\x1b[2J", "\u202egnp.exe"])
def test_what_clients_send_makes_no_line_of_its_own(api: Api, logged: io.StringIO, text: str) -> None:
    api.submit(session_id=text, agent=text, model=text, metadata={text: text})
    api.get("/result/" + quote(text))
    assert logged.getvalue()
    lines_are_json(logged.getvalue())
