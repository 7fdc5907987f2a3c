"""The API's function called as API Gateway calls it; its whole answer fits what Lambda lets through."""

from __future__ import annotations

import json
from typing import Any

from functions.api.app import handler
from shared import wire
from tests.unit.api.conftest import Api


def ask(api: Api, path: str, query: str = "", *, who: str = "demo", status: int = 200) -> tuple[dict[str, Any], int]:
    """GET a path; returns the function's answer and the size of all of it, bytes."""
    event = {
        "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": query,
        "headers": {"host": "a.example.com", "authorization": f"Bearer {api.keys[who]}"},
        "requestContext": {"http": {"method": "GET", "path": path, "sourceIp": "1.1.1.1", "protocol": "HTTP/1.1"},
                           "requestId": "r", "stage": "$default", "domainName": "a.example.com"},
        "isBase64Encoded": False,
    }  # fmt: skip
    answer = handler(event, None)
    size = len(json.dumps(answer, ensure_ascii=False).encode())
    assert answer["statusCode"] == status, answer["body"][:300]
    assert size <= wire.LAMBDA_BYTES
    return answer, size


def through_lambda(api: Api, path: str, query: str = "", *, who: str = "demo") -> tuple[dict[str, Any], int]:
    """GET a path; returns the JSON body and the size of the whole answer, bytes."""
    answer, size = ask(api, path, query, who=who)
    return json.loads(answer["body"]), size
