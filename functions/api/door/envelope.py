"""What surrounds every request: its id, its prefix, one log line, and an answer whatever happens inside."""

import re
import time
import uuid
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from functions.api.door import error_answers, forwarded
from shared import traceparent
from shared.logs import fields, get_logger

log = get_logger("api")

SAFE = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}
"""Headers of every answer that does not set them itself."""


class Envelope:
    """Outermost layer. Answers HEAD as GET without the body; logs path and status, never content or keys."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        event: dict[str, Any] | None = scope.get("aws.event")
        headers = Headers(scope=scope)
        request_id = _request_id(event)
        prefix, path = forwarded.split(event, headers, scope["path"])
        head = scope["method"] == "HEAD"
        # Routing takes the root path off again where the path starts with it (ASGI: `path` includes `root_path`).
        scope["root_path"], scope["path"] = prefix, prefix + path
        if head:
            scope["method"] = "GET"
        scope.setdefault("state", {}).update(request_id=request_id, trace=_trace(headers))
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                found = MutableHeaders(scope=message)
                found["x-request-id"] = request_id
                for name, value in SAFE.items():
                    found.setdefault(name, value)
            elif head and message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        started = time.perf_counter()
        given = headers.get(traceparent.HEADER)
        token = traceparent.INCOMING.set(given if traceparent.parse(given) is not None else None)
        with fields(request_id=request_id):
            try:
                await self.app(scope, receive, answer)
            finally:
                traceparent.INCOMING.reset(token)
                log.info(
                    "request",
                    extra={
                        "method": "HEAD" if head else scope["method"],
                        "path": path[:200],
                        "status": status,
                        "ms": round((time.perf_counter() - started) * 1000, 1),
                        **scope["state"].get("log", {}),
                    },
                )


class CatchErrors:
    """Innermost layer: an exception that no handler took becomes the documented 500."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        started = False

        async def watch(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, watch)
        except Exception as error:
            response = error_answers.of_error(Request(scope), error)
            if not started:
                await response(scope, receive, send)


_TRACE = re.compile(r"Root=1-[0-9a-f]{8}-[0-9a-f]{24}(;Parent=[0-9a-f]{16})?(;Sampled=[01])?")


def _trace(headers: Headers) -> str | None:
    """Return the X-Ray trace header, if it is one: SQS refuses messages that carry any other text."""
    found = _TRACE.match(headers.get("x-amzn-trace-id", ""))
    return found.group() if found else None


def _request_id(event: dict[str, Any] | None) -> str:
    given = str(((event or {}).get("requestContext") or {}).get("requestId") or "")
    return given if given.isascii() and 0 < len(given) <= 64 and given.isprintable() else f"req_{uuid.uuid4().hex}"
