"""The door of moto, quick: a request of DynamoDB or SQS goes straight to the method that answers it.

Botocore signs a request, has twenty listeners look at it and decides whether to try again; moto makes it one of
werkzeug's, reads its parameters and writes its answer by AWS's model, looking for every member under six names: three
times what the methods themselves take. Both services speak plain JSON, which `json` reads and writes. What a client
puts into words, and how it reads an answer, is its own still. The methods, what they refuse and how a refusal looks are
moto's own. Messages with bytes, and operations that are rare, go the long way. `tests/unit/test_quick_moto.py` holds
the answers of both ways against each other.
"""

from __future__ import annotations

import base64
import json
import os
import re
import threading
from functools import cache
from itertools import count
from typing import Any

from botocore.awsrequest import AWSResponse
from botocore.endpoint import Endpoint, convert_to_response_dict
from botocore.regions import EndpointRulesetResolver
from moto.core.models import DEFAULT_ACCOUNT_ID, botocore_stubber
from moto.core.responses import ActionResult, BaseResponse
from moto.dynamodb.responses import DynamoHandler
from moto.sqs.responses import SQSResponse

__all__ = ["ONE_AT_A_TIME", "request", "resolve"]

_OF = re.compile(r"https://(dynamodb|sqs)\.([a-z0-9-]+)\.amazonaws\.com/")
_place = cache(_OF.fullmatch)
_numbers = count()

ONE_AT_A_TIME = threading.RLock()
"""Whoever asks moto holds it: its in-memory tables are not made for threads, DynamoDB's are."""


def _with_bytes(value: dict[str, Any]) -> dict[str, Any]:
    """Return an attribute's value with the bytes that its text stands for; whatever else is an object stays."""
    if len(value) == 1:
        if type(value.get("B")) is str:
            return {"B": base64.b64decode(value["B"])}
        if type(value.get("BS")) is list:
            return {"BS": [base64.b64decode(one) for one in value["BS"]]}
    return value


def _as_text(value: Any) -> str:
    if not isinstance(value, bytes):
        raise TypeError
    return base64.b64encode(value).decode()


class _Straight(BaseResponse):  # type: ignore[misc]  # moto is not read by mypy
    """What both services' quick answers have of their own. The rest of `BaseResponse` is moto's."""

    def begin(self, request: dict[str, Any], operation: str, region: str) -> None:
        """Be what moto's ``setup_class`` makes of a request, as far as the operations here look at it."""
        self.operation = operation
        body = request["body"]
        has_bytes = b'"B":' in body or b'"BS":' in body
        self.params = json.loads(body, object_hook=_with_bytes if has_bytes else None)
        self.headers = {"Content-Type": request["headers"]["Content-Type"], "X-Amz-Target": operation}
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
                body = json.dumps(result if result is not None else {}, separators=(",", ":"), default=_as_text)
            except TypeError:  # a time
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


_WAYS: dict[str, tuple[type[_Table | _Queue], frozenset[str]]] = {
    "dynamodb": (
        _Table,
        frozenset(
            f"{what}Item" for what in ("Get", "Put", "Update", "Delete")
        ) | {"Query", "Scan", "BatchGetItem", "BatchWriteItem", "TransactWriteItems"},
    ),
    "sqs": (
        _Queue,
        frozenset(
            f"{what}{batch}"
            for what in ("SendMessage", "DeleteMessage", "ChangeMessageVisibility")
            for batch in ("", "Batch")
        ) | {"ReceiveMessage", "GetQueueAttributes"},
    ),
}  # fmt: skip
"""By service: who answers, and the operations."""
_BYTES = b'"BinaryValue":'
"""Of a message."""
_the_long_way = Endpoint.make_request


def request(self: Endpoint, operation_model: Any, request_dict: dict[str, Any]) -> Any:
    """Answer what a client is about to send: a response, and what its own parser reads of it.

    Nothing is signed, sent, or tried again: moto looks at no signature, and is never away.
    """
    place = _place(request_dict["url"]) if botocore_stubber.enabled and "MOTO_ACCOUNT_ID" not in os.environ else None
    if place is None:
        return _the_long_way(self, operation_model, request_dict)
    kind, operations = _WAYS[place[1]]
    operation, body = operation_model.name, request_dict["body"]
    if operation not in operations or type(body) is not bytes or _BYTES in body:
        return _the_long_way(self, operation_model, request_dict)
    handler: Any = kind()
    handler.begin(request_dict, operation, place[2])
    with ONE_AT_A_TIME:
        status, headers, text = handler.call_action()
    return _read(self, operation_model, AWSResponse(request_dict["url"], status, headers, None), text)


def _read(endpoint: Any, operation_model: Any, response: Any, text: str | bytes) -> Any:
    """Read an answer with the client's own parser, as ``Endpoint`` does."""
    response._content = text.encode() if isinstance(text, str) else text
    whole = convert_to_response_dict(response, operation_model)
    parser = endpoint._response_parser_factory.create_parser(operation_model.service_model.resolved_protocol)
    parsed = parser.parse(whole, operation_model.output_shape)
    if response.status_code >= 300:
        endpoint._add_modeled_error_fields(whole, parsed, operation_model, parser)
    parsed["ResponseMetadata"]["RetryAttempts"] = 0
    return response, parsed


_resolve: Any = EndpointRulesetResolver.construct_endpoint


def resolve(self: EndpointRulesetResolver, operation_model: Any, call_args: Any, request_context: Any) -> Any:
    """Find where a client's requests go: of moto's two services here always to the same place.

    It is found anew for each, by rules that look at all that a client may be set to: a twelfth of a call's time.
    """
    if not botocore_stubber.enabled or operation_model.service_model.service_name not in _WAYS:
        return _resolve(self, operation_model, call_args, request_context)
    known = vars(self).get("_sluice_place")
    if known is None:
        known = vars(self)["_sluice_place"] = _resolve(self, operation_model, call_args, request_context)
    return known
