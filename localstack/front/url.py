"""The Function URL: what clients speak to (an ASGI application)."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import TYPE_CHECKING, Any

from localstack.front.calls import Broken, Call, event_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Scope = dict[str, Any]
    Receive = Callable[[], Awaitable[dict[str, Any]]]
    Send = Callable[[dict[str, Any]], Awaitable[None]]

BODY_BYTES = 6 * 1024 * 1024
"""Largest body that Lambda takes."""
STREAM_BYTES = 200 * 1024 * 1024
"""Most that a function may stream in one answer
(https://docs.aws.amazon.com/lambda/latest/dg/configuration-response-streaming.html, 2026-11)."""


class FunctionUrl:
    """Hands requests to environments and their answers to clients."""

    def __init__(self, waiting: asyncio.Queue[Call], capacity: int, seconds: float) -> None:
        """Say how many requests may be under way and how long each may take."""
        self._waiting = waiting
        self._capacity = capacity
        self._seconds = seconds
        self._under_way = 0
        self.ready: Callable[[], bool] = lambda: False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if scope["path"] == "/_front/health":
            await _short(send, 200 if self.ready() else 503, b"{}")
        elif self._under_way >= self._capacity:
            await _short(send, 429, b'{"Reason":"ReservedFunctionConcurrentInvocationLimitExceeded"}')
        else:
            self._under_way += 1
            try:
                await self._pass_on(scope, headers, receive, send)
            finally:
                self._under_way -= 1

    async def _pass_on(self, scope: Scope, headers: dict[str, str], receive: Receive, send: Send) -> None:
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            if len(body) > BODY_BYTES:
                await _short(send, 413, b'{"Message":"Request must be smaller than 6291456 bytes"}')
                return
            if not message.get("more_body"):
                break
        client = (scope.get("client") or ("127.0.0.1", 0))[0]
        event = event_of(scope["method"], scope["raw_path"], scope["query_string"], headers, client, body)
        call = Call(event, self._seconds)
        self._waiting.put_nowait(call)
        try:
            async with asyncio.timeout(call.deadline - time.time()):
                await _relay(call, send)
        except TimeoutError:
            call.break_off("Sandbox.Timedout")
            raise


async def _relay(call: Call, send: Send) -> None:
    """Pass an answer on. Where its client has left, `send` does nothing: the environment is not told, and goes on."""
    try:
        head = await call.head
    except Broken as error:
        print(f"no answer: {error}", file=sys.stderr, flush=True)
        await _short(send, 502, b"Internal Server Error")
        return
    named = head.get("headers", {})
    sent = [(name.lower().encode("latin-1"), str(value).encode("latin-1")) for name, value in named.items()]
    await send({"type": "http.response.start", "status": head["statusCode"], "headers": sent})
    size = 0
    while (data := await call.chunk()) is not None:
        size += len(data)
        if size > STREAM_BYTES:
            call.break_off("Function.ResponseSizeTooLarge")
            raise Broken(f"an answer of more than {STREAM_BYTES} bytes")
        await send({"type": "http.response.body", "body": data, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _short(send: Send, status: int, body: bytes) -> None:
    named = {"content-type": "application/json", "content-length": str(len(body))}
    sent = [(name.encode(), value.encode()) for name, value in named.items()]
    await send({"type": "http.response.start", "status": status, "headers": sent})
    await send({"type": "http.response.body", "body": body})
