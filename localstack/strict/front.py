"""The ASGI application around the emulator's: sorts requests by service, checks, passes on, looks at answers."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from localstack.strict import dynamodb, gateway, s3
from localstack.strict.functions import environment_bytes
from localstack.strict.report import Refused, Report
from localstack.strict.rules import RULES

if TYPE_CHECKING:
    from localstack.strict.functions import Functions
    from localstack.strict.sqs import Queues

_INVOKE = re.compile(r"/2015-03-31/functions/([^/]+)/invocations$")
_CONFIGURE = re.compile(r"/2015-03-31/functions(/[^/]+/configuration)?$")
_MAPPING = re.compile(r"/2015-03-31/event-source-mappings(/[^/]+)?$")
_RESERVE = re.compile(r"/20\d\d-\d\d-\d\d/functions/([^/]+)/concurrency$")
_PUSH = re.compile(r"/@connections/|/%40connections/", re.IGNORECASE)
_FUNCTION_KEY = re.compile(rb"Credential=(\d{12}|ASIA[0-9A-F]{16})/")
_NOTED = ("SendMessage", "SendMessageBatch", "ReceiveMessage", "DeleteMessage", "DeleteMessageBatch")
"""Operations of SQS whose answers later rules count from."""
_XML = {"content-type": "application/xml"}
_DENIED = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
OWNER = b"x-amz-expected-bucket-owner"
ACCOUNT = b"000000000000"


class Front:
    """Wraps ``app``. What breaks a rule is refused as AWS would, and noted in ``report``."""

    def __init__(self, app: Any, report: Report, queues: Queues, functions: Functions) -> None:
        """Stand before an emulator."""
        self._app, self._report, self._queues, self._functions = app, report, queues, functions
        self._indexes: dict[str, dynamodb.Indexes] = {}
        self._uploads = s3.Uploads()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Serve one request."""
        if scope["type"] == "websocket":
            await gateway.socket(self._app, scope, receive, send)
        elif scope["type"] != "http":
            await self._app(scope, receive, send)
        elif scope["path"] == "/_strict/report":
            found = self._report.read(take=scope["method"] == "DELETE")
            await gateway.respond(send, 200, json.dumps(found).encode())
        else:
            try:
                await self._serve(scope, receive, send)
            except Refused as refused:
                self._report.violated(refused.rule, f"{scope['method']} {scope['path'][:100]}: {refused.message}")
                await _refuse(scope, send, refused)

    async def _serve(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        headers = {name.lower(): value for name, value in scope["headers"]}
        target = headers.get(b"x-amz-target", b"").decode("latin-1")
        path = scope["path"]
        if target.startswith("AmazonSQS."):
            await self._sqs(target.partition(".")[2], scope, receive, send, headers)
        elif target.startswith("DynamoDB_"):
            await self._dynamodb(scope, receive, send, headers)
        elif path.startswith(gateway.PATH):
            await self._gateway(scope, receive, send)
        elif path.startswith("/20") and scope["method"] in ("POST", "PUT"):
            await self._lambda(scope, receive, send, headers)
        elif b"/s3/aws4_request" in headers.get(b"authorization", b""):
            await self._s3(scope, receive, send, headers)
        else:
            if b"X-Amz-Expires=" in scope["query_string"]:
                s3.check_presigned(scope)
            await self._app(scope, receive, send)

    async def _sqs(self, operation: str, scope: Any, receive: Any, send: Any, headers: dict[bytes, bytes]) -> None:
        raw, again = await _whole(receive)
        body = _json(raw)
        self._queues.check(operation, body)
        if operation not in _NOTED:
            await self._app(scope, again, send)
            return
        answer = _Kept(send)
        await self._app(scope, again, answer)
        self._note(operation, body, _json(answer.body), headers.get(b"x-amzn-trace-id", b"").decode("latin-1"))

    def _note(self, operation: str, body: dict[str, Any], answer: dict[str, Any], caller: str) -> None:
        queue = str(body.get("QueueUrl"))
        if operation == "ReceiveMessage":
            handles = [one["ReceiptHandle"] for one in answer.get("Messages") or []]
            self._queues.received(queue, handles, float(body.get("VisibilityTimeout") or 0))
        elif operation.startswith("Delete"):
            entries = body.get("Entries") or [body]
            self._queues.deleted(queue, [str(one.get("ReceiptHandle")) for one in entries])
        else:
            entries = {one.get("Id"): one for one in body.get("Entries") or []}
            for sent in answer.get("Successful") or [answer]:
                asked = entries.get(sent.get("Id"), body)
                trace = ((asked.get("MessageSystemAttributes") or {}).get("AWSTraceHeader") or {}).get("StringValue")
                if "MessageId" in sent:
                    self._functions.lineage.sent(caller, trace, sent["MessageId"])

    async def _dynamodb(self, scope: Any, receive: Any, send: Any, headers: dict[bytes, bytes]) -> None:
        if int(headers.get(b"content-length", b"0")) <= dynamodb.SMALLEST:
            await self._app(scope, receive, send)
            return
        raw, again = await _whole(receive)
        body = _json(raw)
        for table in dynamodb.tables_in(body) - self._indexes.keys():
            self._indexes[table] = await self._describe(table, scope)
        dynamodb.check(body, self._indexes)
        await self._app(scope, again, send)

    async def _describe(self, table: str, scope: dict[str, Any]) -> dynamodb.Indexes:
        """Ask the emulator for a table's indexes, as who asks for the request at hand."""
        body = json.dumps({"TableName": table}).encode()
        given = {name: value for name, value in scope["headers"] if name.lower() not in (b"x-amz-target",)}
        given |= {b"x-amz-target": b"DynamoDB_20120810.DescribeTable", b"content-length": str(len(body)).encode()}
        answer = _Kept(None)
        _, again = await _whole(_once(body))
        await self._app({**scope, "headers": list(given.items())}, again, answer)
        return dynamodb.indexes_of(_json(answer.body).get("Table") or {})

    async def _gateway(self, scope: Any, receive: Any, send: Any) -> None:
        if _PUSH.search(scope["path"]) and scope["method"] == "POST":
            raw, receive = await _whole(receive)
            if len(raw) > RULES["socket-message"].most:
                raise Refused(
                    "socket-message", "PayloadTooLargeException", f"{len(raw)} bytes for a client", status=413
                )
            await self._app(scope, receive, send)
            return
        gateway.check_headers(scope)
        length = next((value for name, value in scope["headers"] if name.lower() == b"content-length"), b"0")
        if int(length) > RULES["gateway-body"].most:
            await gateway.respond(send, 413, b'{"message":"Request Entity Too Large"}')  # the client's doing
            return
        await gateway.answer_in_time(self._app, gateway.traced(scope), receive, send, self._report)

    async def _lambda(self, scope: Any, receive: Any, send: Any, headers: dict[bytes, bytes]) -> None:
        raw, again = await _whole(receive)
        path = scope["path"]
        if found := _INVOKE.search(path):
            rule = "lambda-async" if headers.get(b"x-amz-invocation-type") == b"Event" else "lambda-request"
            if len(raw) > RULES[rule].most:
                message = f"{found[1]}: {len(raw)} bytes"
                raise Refused(rule, "RequestTooLargeException", message, status=413)
        elif _CONFIGURE.search(path):
            body = _json(raw)
            size = environment_bytes((body.get("Environment") or {}).get("Variables") or {})
            if size > RULES["lambda-environment"].most:
                raise Refused("lambda-environment", "InvalidParameterValueException", f"{size} bytes of environment")
            if (body.get("Timeout") or 0) > RULES["lambda-timeout"].most:
                raise Refused("lambda-timeout", "ValidationException", f"timeout {body['Timeout']}")
        elif _MAPPING.search(path):
            body = _json(raw)
            if (body.get("BatchSize") or 0) > RULES["lambda-mapping-batch"].most and not body.get(
                "MaximumBatchingWindowInSeconds"
            ):
                raise Refused("lambda-mapping-batch", "InvalidParameterValueException", f"batch of {body['BatchSize']}")
        elif found := _RESERVE.search(path):
            self._functions.check_reservation(found[1], int(_json(raw).get("ReservedConcurrentExecutions") or 0))
        await self._app(scope, again, send)

    async def _s3(self, scope: Any, receive: Any, send: Any, headers: dict[bytes, bytes]) -> None:
        key = unquote(scope["path"]).strip("/").partition("/")[2]
        if len(key.encode()) > RULES["s3-key"].most:
            raise Refused("s3-key", "KeyTooLongError", "Your key is too long")
        owner = headers.get(OWNER)
        if owner is not None and owner != ACCOUNT:
            await gateway.respond(send, 403, _DENIED, _XML)
            return
        if b"uploadId=" in scope["query_string"] and scope["method"] == "PUT":
            length = headers.get(b"x-amz-decoded-content-length", headers.get(b"content-length"))
            self._uploads.sent(scope, s3.SMALLEST_PART if length is None else int(length))
        elif b"uploadId=" in scope["query_string"] and scope["method"] == "POST":
            raw, receive = await _whole(receive)
            self._uploads.completed(scope, raw)
        if scope["method"] not in ("GET", "HEAD") or not key or not _FUNCTION_KEY.search(headers[b"authorization"]):
            await self._app(scope, receive, send)
            return
        answer = _Held(send)
        await self._app(scope, receive, answer)
        if answer.missing:  # no function may list the bucket
            await gateway.respond(send, 403, _DENIED, _XML)


class _Kept:
    """Passes an answer on, and keeps its body."""

    def __init__(self, send: Any) -> None:
        self._send = send
        self.body = b""

    async def __call__(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.body":
            self.body += message.get("body", b"")
        if self._send is not None:
            await self._send(message)


class _Held:
    """Passes an answer on unless it is a 404."""

    def __init__(self, send: Any) -> None:
        self._send = send
        self.missing = False

    async def __call__(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.missing = message["status"] == 404
        if not self.missing:
            await self._send(message)


def _once(body: bytes) -> Any:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


async def _whole(receive: Any) -> tuple[bytes, Any]:
    """Read a request's body; returns it with a `receive` that brings it once more."""
    parts: list[bytes] = []
    last: dict[str, Any] | None = None
    while True:
        message = await receive()
        if message["type"] != "http.request":
            last = message
            break
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            break
    body = b"".join(parts)
    given = False

    async def again() -> dict[str, Any]:
        nonlocal given
        if not given:
            given = True
            return {"type": "http.request", "body": body, "more_body": last is not None}
        if last is not None:
            return last
        following: dict[str, Any] = await receive()
        return following

    return body, again


def _json(raw: bytes) -> dict[str, Any]:
    try:
        found = json.loads(raw)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


async def _refuse(scope: dict[str, Any], send: Any, refused: Refused) -> None:
    body = json.dumps({"__type": refused.code, "message": refused.message}).encode()
    headers = {"x-amzn-errortype": refused.code, "x-amzn-query-error": f"{refused.code};Sender"}
    if refused.rule.startswith("s3-"):
        body = f"<Error><Code>{refused.code}</Code><Message>{refused.message}</Message></Error>".encode()
        headers = _XML
    await gateway.respond(send, refused.status, body, headers)
