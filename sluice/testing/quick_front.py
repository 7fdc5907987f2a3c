"""The door of moto, quick: a request of DynamoDB or SQS goes straight to the method that answers it.

Moto makes each request one of werkzeug's, reads its parameters and writes its answer by AWS's model, looking for every
member under six names: twice what the methods themselves take. Both services speak plain JSON, which `json` reads and
writes. The methods, what they refuse and how a refusal looks are moto's own. Bytes, and operations that are rare, go
the long way. `tests/unit/test_quick_moto.py` holds the answers of both ways against each other.
"""

from __future__ import annotations

import json
import os
import re
from functools import cache
from itertools import count
from typing import Any

from botocore.auth import SigV4Auth
from moto.core.botocore_stubber import BotocoreStubber
from moto.core.models import DEFAULT_ACCOUNT_ID, botocore_stubber
from moto.core.responses import ActionResult, BaseResponse
from moto.dynamodb.responses import DynamoHandler
from moto.sqs.responses import SQSResponse

__all__ = ["answer", "sign"]

_OF = re.compile(r"https://(dynamodb|sqs)\.([a-z0-9-]+)\.amazonaws\.com/")
_place = cache(_OF.fullmatch)
_numbers = count()


class _Straight(BaseResponse):  # type: ignore[misc]  # moto is not read by mypy
    """What both services' quick answers have of their own. The rest of `BaseResponse` is moto's."""

    def begin(self, request: Any, operation: str, region: str) -> None:
        """Be what moto's ``setup_class`` makes of a request, as far as the operations here look at it."""
        self.operation = operation
        self.params = json.loads(request.body)
        self.headers = {"Content-Type": str(request.headers["Content-Type"]), "X-Amz-Target": operation}
        self.querystring: dict[str, Any] = {}
        self.uri_match: dict[str, Any] = {}
        self.response_headers = {"server": "amazon.com"}
        self.region, self.current_account = region, DEFAULT_ACCOUNT_ID

    def _get_action(self) -> str:
        return self.operation

    def serialized(self, action_result: ActionResult) -> Any:
        result = action_result.result
        if not isinstance(result, Exception):
            try:
                body = json.dumps(result if result is not None else {}, separators=(",", ":"))
            except TypeError:  # bytes, or a time
                return super().serialized(action_result)
            return 200, {"Content-Type": self.headers["Content-Type"], **self.response_headers}, body
        return super().serialized(action_result)

    @staticmethod
    def _enrich_response(headers: dict[str, str], body: Any) -> tuple[dict[str, str], Any]:
        if "status" in headers:
            headers["status"] = str(headers["status"])
        headers["x-amzn-requestid"] = f"{next(_numbers):052d}"
        return headers, body


class _Table(_Straight, DynamoHandler):  # type: ignore[misc]
    """Items of DynamoDB."""


class _Queue(_Straight, SQSResponse):  # type: ignore[misc]
    """Messages of SQS."""


_WAYS: dict[str, tuple[type[_Table | _Queue], str, frozenset[str]]] = {
    "dynamodb": (
        _Table,
        "DynamoDB_20120810.",
        frozenset(
            f"{what}Item" for what in ("Get", "Put", "Update", "Delete")
        ) | {"Query", "Scan", "BatchGetItem", "BatchWriteItem", "TransactWriteItems"},
    ),
    "sqs": (
        _Queue,
        "AmazonSQS.",
        frozenset(
            f"{what}{batch}"
            for what in ("SendMessage", "DeleteMessage", "ChangeMessageVisibility")
            for batch in ("", "Batch")
        ) | {"ReceiveMessage", "GetQueueAttributes"},
    ),
}  # fmt: skip
"""By service: who answers, what names of operations begin with, and the operations."""
_BYTES = (b'"B":', b'"BS":', b'"BinaryValue":')
_the_long_way = BotocoreStubber.process_request


def answer(self: BotocoreStubber, request: Any) -> Any:
    """Answer a request: its status, headers and body."""
    place = _place(request.url)
    if place is None or "MOTO_ACCOUNT_ID" in os.environ:
        return _the_long_way(self, request)
    kind, begins, operations = _WAYS[place[1]]
    target, body = _text(request.headers.get("X-Amz-Target", "")), request.body
    operation = target.removeprefix(begins)
    if operation not in operations or type(body) is not bytes or any(mark in body for mark in _BYTES):
        return _the_long_way(self, request)
    handler = kind()
    handler.begin(request, operation, place[2])
    return handler.call_action()


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


_really = SigV4Auth.add_auth


def sign(self: SigV4Auth, request: Any) -> None:
    """Write who asks, and no signature: moto looks at none, and they took a tenth of a call's time."""
    if (
        not botocore_stubber.enabled
        or type(self) is not SigV4Auth
        or self.credentials is None
        or _place(request.url) is None
    ):
        _really(self, request)
        return
    request.context["timestamp"] = "20260101T000000Z"
    del request.headers["Authorization"]
    of: Any = self
    who = f"{of.credentials.access_key}/20260101/{of._region_name}/{of._service_name}"
    request.headers["Authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={who}/aws4_request, SignedHeaders=host, Signature=0"
    )
