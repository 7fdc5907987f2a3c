"""API Gateway: how large and how slow a request may be, and what a WebSocket carries."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any

from localstack.strict.lineage import new_root
from localstack.strict.report import Refused
from localstack.strict.rules import RULES

if TYPE_CHECKING:
    from localstack.strict.report import Report

PATH = "/_aws/execute-api/"


def check_headers(scope: dict[str, Any]) -> None:
    """Hold a request's line and headers against what the gateway takes.

    Raises:
        Refused: they are too large.
    """
    size = len(scope.get("raw_path") or b"") + len(scope.get("query_string") or b"")
    size += sum(len(name) + len(value) + 4 for name, value in scope["headers"])
    if size > RULES["gateway-headers"].most:
        raise Refused("gateway-headers", "RequestHeaderFieldsTooLarge", f"{size} bytes of headers", status=431)


def traced(scope: dict[str, Any]) -> dict[str, Any]:
    """Give a request the trace that the gateway gives it."""
    if any(name.lower() == b"x-amzn-trace-id" for name, _ in scope["headers"]):
        return scope
    return {**scope, "headers": [*scope["headers"], (b"x-amzn-trace-id", f"Root={new_root()}".encode())]}


async def answer_in_time(app: Any, scope: dict[str, Any], receive: Any, send: Any, report: Report) -> None:
    """Let the function answer, or answer 503 in its place when its time is over."""
    started, late = False, False

    async def watched(message: dict[str, Any]) -> None:
        nonlocal started
        if late:
            return
        started = True
        await send(message)

    task = asyncio.ensure_future(app(scope, receive, watched))
    done, _ = await asyncio.wait({task}, timeout=RULES["gateway-time"].most)
    if not done and not started:
        late = True
        report.violated("gateway-time", f"{scope['method']} {scope['path']}")
        await respond(send, 503, b'{"message":"Service Unavailable"}')
    await task


async def respond(send: Any, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
    """Send a whole answer."""
    given = {"content-type": "application/json", "content-length": str(len(body))} | (headers or {})
    listed = [(name.encode(), value.encode()) for name, value in given.items()]
    await send({"type": "http.response.start", "status": status, "headers": listed})
    await send({"type": "http.response.body", "body": body})


async def socket(app: Any, scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Serve a WebSocket: too large a frame closes it with 1009, ten idle minutes or two hours with 1001."""
    begun = used = time.monotonic()
    closed = False

    async def heard() -> dict[str, Any]:
        nonlocal used, closed
        message: dict[str, Any] = await receive()
        used = time.monotonic()
        size = len(message.get("bytes") or b"") or len((message.get("text") or "").encode())
        if message["type"] == "websocket.receive" and size > RULES["socket-frame"].most and not closed:
            closed = True
            await send({"type": "websocket.close", "code": 1009})
            return {"type": "websocket.disconnect", "code": 1009}
        return message

    async def said(message: dict[str, Any]) -> None:
        nonlocal used, closed
        if closed:
            return
        used = time.monotonic()
        closed = message["type"] == "websocket.close"
        await send(message)

    def ends() -> float:
        return min(used + RULES["socket-idle"].most, begun + RULES["socket-life"].most)

    async def watch(left: float) -> None:
        nonlocal closed
        await asyncio.sleep(left)
        left = ends() - time.monotonic()
        if left > 0:
            await watch(left)
        elif not closed:
            closed = True
            await send({"type": "websocket.close", "code": 1001})

    watching = asyncio.ensure_future(watch(ends() - begun))
    try:
        await app(scope, heard, said)
    finally:
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
