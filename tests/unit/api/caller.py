"""A client of the application that asks it where it stands: in the caller's thread, as a Lambda environment does.

Starlette's client has a thread with a loop of its own, and changes to it and back seven times a request; the routes
change threads four times more. That was half of what a request took. What is read while it comes, with
``client.stream``, goes Starlette's way.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote

import httpx2
from anyio.from_thread import BlockingPortal
from starlette.testclient import TestClient

from functions.api.door.alone import alone

_WHOLE = "sluice.whole"
"""Of a request whose answer is read at once."""
_idle: list[tuple[int, asyncio.AbstractEventLoop]] = []
"""Loops of this process that nobody runs now, to be used again: to make one takes as long as a request."""


@contextmanager
def _loop() -> Iterator[asyncio.AbstractEventLoop]:
    pid = os.getpid()
    try:
        owner, found = _idle.pop()
    except IndexError:
        owner, found = pid, asyncio.new_event_loop()
    if owner != pid:  # of the process that this one is a copy of
        found = asyncio.new_event_loop()
    try:
        yield found
    finally:
        _idle.append((pid, found))


def here[T](asking: Coroutine[Any, Any, T]) -> T:
    """Have the application answer in this thread."""
    with _loop() as loop, alone():
        return loop.run_until_complete(asking)


class _Answer:
    """What the application says to one request."""

    def __init__(self, body: bytes) -> None:
        self.asked, self.ended = False, asyncio.Event()
        self.body, self.status = body, 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.parts: list[bytes] = []

    async def receive(self) -> dict[str, Any]:
        if not self.asked:
            self.asked = True
            return {"type": "http.request", "body": self.body}
        await self.ended.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        assert not self.ended.is_set(), "more after the end of the answer"
        if message["type"] == "http.response.start":
            assert not self.status, "a second start of the answer"
            self.status, self.headers = message["status"], message.get("headers", [])
            return
        assert self.status, "a body before the start of the answer"
        self.parts.append(bytes(message.get("body", b"")))
        if not message.get("more_body"):
            self.ended.set()


class _Straight(httpx2.BaseTransport):
    """Hands requests to the application, and those that are read bit by bit to Starlette's transport."""

    def __init__(self, app: Any, bit_by_bit: httpx2.BaseTransport) -> None:
        self.app, self.bit_by_bit = app, bit_by_bit

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        if not request.extensions.get(_WHOLE) or asyncio._get_running_loop() is not None:
            return self.bit_by_bit.handle_request(request)
        body = request.read()
        answer = here(self._ask(request, body))
        content = b"" if request.method == "HEAD" else b"".join(answer.parts)
        headers = [(name.decode(), value.decode()) for name, value in answer.headers]
        return httpx2.Response(answer.status, headers=headers, stream=httpx2.ByteStream(content), request=request)

    async def _ask(self, request: httpx2.Request, body: bytes) -> _Answer:
        answer = _Answer(body)
        url = request.url
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": request.method,
            "path": unquote(url.path),
            "raw_path": url.raw_path.split(b"?", 1)[0],
            "root_path": "",
            "scheme": url.scheme,
            "query_string": url.query,
            "headers": [(name.lower().encode(), value.encode()) for name, value in request.headers.multi_items()],
            "client": ("testclient", 50000),
            "server": [url.host, url.port or (443 if url.scheme == "https" else 80)],
            "extensions": {},
            "state": {},
        }
        await self.app(scope, answer.receive, answer.send)
        assert answer.ended.is_set(), "no answer, or no end of it"
        return answer

    def close(self) -> None:
        self.bit_by_bit.close()


class Caller(TestClient):
    """Starlette's client, which begins its thread when it has a use for it."""

    def __init__(self, app: Any) -> None:
        super().__init__(app)
        self._transport = _Straight(self.app, self._transport)
        self._begins, self._begun = threading.Lock(), False

    def send(self, request: httpx2.Request, *, stream: bool = False, **more: Any) -> httpx2.Response:
        """Send a request."""
        request.extensions = request.extensions | {_WHOLE: not stream}
        return super().send(request, stream=stream, **more)

    @contextmanager
    def _portal_factory(self) -> Iterator[BlockingPortal]:
        with self._begins:
            if not self._begun:
                super().__enter__()
                self._begun = True
        with super()._portal_factory() as portal:
            yield portal

    def __enter__(self) -> Caller:
        return self

    def __exit__(self, *_: object) -> None:
        if self._begun:
            self.exit_stack.close()
            self._begun = False
