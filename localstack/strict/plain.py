"""Serves plain HTTP/1.1 requests, as nearly all are, for a fifth of the processor time of hypercorn and h11.

Whatever is not plain (a WebSocket, a body in chunks or of hundreds of megabytes, another version, a malformed head) is
handed over to hypercorn, with the connection and all that came on it: what it says of them stands.
"""

from __future__ import annotations

import asyncio
import re
import sys
import traceback
from http import HTTPStatus
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

HEAD_BYTES = 16 * 1024
"""Longest head that is plain: a longer one is hypercorn's to refuse."""
BODY_BYTES = 128 * 1024 * 1024
"""Largest body that is plain, enough for any bundle: it is handed on in one piece."""
AHEAD_BYTES = 1024 * 1024
"""How much of the next request is read while one is answered."""
_LINE = re.compile(rb"([A-Z]{3,10}) (/[!-~]{0,16384}) HTTP/1\.1")
_HEADER = re.compile(
    rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}):[ \t]*([!-~\x80-\xff](?:[ \t!-~\x80-\xff]*[!-~\x80-\xff])?)?[ \t]*"
)
_UNUSUAL = frozenset({b"transfer-encoding", b"upgrade", b"te", b"trailer"})
_CONTINUE = b"100-continue"
_BODILESS = frozenset({204, 304})
_ASGI = {"spec_version": "2.1", "version": "3.0"}

type Head = tuple[dict[str, Any], int, bool]
"""The request's scope, the bytes of its body, and whether the connection stays."""


def read_head(head: bytes) -> Head | None:
    """Read the head of a request, without the empty line; None if it is not plain."""
    first, *lines = head.split(b"\r\n")
    line = _LINE.fullmatch(first)
    if line is None:
        return None
    headers: list[tuple[bytes, bytes]] = []
    seen: dict[bytes, bytes] = {}
    for one in lines:
        found = _HEADER.fullmatch(one)
        if found is None:
            return None
        name = found[1].lower()
        if name in _UNUSUAL or (name in seen and name in (b"content-length", b"host", b"connection")):
            return None
        seen[name] = value = found[2] or b""
        headers.append((name, value))
    length, connection = seen.get(b"content-length", b"0"), seen.get(b"connection", b"keep-alive").lower()
    if b"host" not in seen or not length.isdigit() or len(length) > 9 or connection not in (b"keep-alive", b"close"):
        return None
    if seen.get(b"expect", _CONTINUE).lower() != _CONTINUE:
        return None
    path, _, query = line[2].partition(b"?")
    scope = {
        "type": "http", "http_version": "1.1", "asgi": _ASGI, "method": line[1].decode(), "scheme": "http",
        "path": unquote(path.decode("ascii")), "raw_path": path, "query_string": query, "root_path": "",
        "headers": headers, "extensions": {},
    }  # fmt: skip
    return (scope, int(length), connection == b"keep-alive") if int(length) <= BODY_BYTES else None


class Plain(asyncio.Protocol):
    """A connection: one request after the other, each answered before the next is read."""

    def __init__(
        self, app: Any, others: Callable[[Any, Any], Awaitable[None]], idle_s: float, open_: set[Plain]
    ) -> None:
        """Serve ``app``; ``others`` takes a connection that is not plain (reader, writer); ``open_`` has them all."""
        self._app, self._others, self._idle_s, self._all = app, others, idle_s, open_
        self._loop = asyncio.get_running_loop()
        self._transport: Any = None
        self._came = bytearray()
        self._whole = 0
        """How many bytes the request has that is coming, if its head is there."""
        self._ends: tuple[Any, Any] = (None, None)
        self._request: _Request | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._flows = asyncio.Event()
        self._flows.set()
        self._last = False
        """Whether the connection is closed after the answer under way."""

    def connection_made(self, transport: Any) -> None:
        """Begin."""
        self._transport = transport
        self._ends = transport.get_extra_info("peername")[:2], transport.get_extra_info("sockname")[:2]
        self._all.add(self)
        self._idle = self._loop.call_later(self._idle_s, self.close)

    def data_received(self, data: bytes) -> None:
        """Take what came; more than one request is waited for elsewhere."""
        self._came += data
        if self._request is not None:
            if len(self._came) > AHEAD_BYTES:
                self._transport.pause_reading()
        elif len(self._came) >= self._whole:
            self._next()

    def eof_received(self) -> bool:
        """Have the connection closed."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whom it concerns."""
        self._all.discard(self)
        self._stop_waiting()
        self._flows.set()
        if self._request is not None:
            self._request.gone()

    def pause_writing(self) -> None:
        """Note that the client does not read as fast as it is sent to."""
        self._flows.clear()

    def resume_writing(self) -> None:
        """Note that it does."""
        self._flows.set()

    def close(self) -> None:
        """Close it, after the answer that is under way."""
        self._last = True
        if self._request is None:
            self._transport.close()

    def _stop_waiting(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None

    def _next(self) -> None:
        """Begin with a request if all of it is there."""
        end = self._came.find(b"\r\n\r\n", 0, HEAD_BYTES)
        if end < 0:
            if len(self._came) >= HEAD_BYTES or bytes(self._came[:1]) in (b"\r", b"\n"):
                self._hand_over()
            return
        head = read_head(bytes(self._came[:end]))
        if head is None:
            self._hand_over()
            return
        scope, length, stays = head
        whole = end + 4 + length
        if len(self._came) < whole:
            if not self._whole and any(name == b"expect" for name, _ in scope["headers"]):
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self._whole = whole
            return
        self._whole = 0
        body = bytes(memoryview(self._came)[end + 4 : whole])
        del self._came[:whole]
        self._stop_waiting()
        self._last = self._last or not stays
        scope |= {"client": self._ends[0], "server": self._ends[1], "state": {}}
        request = self._request = _Request(scope, body, self._transport, self._flows)
        task = self._loop.create_task(self._app(scope, request.receive, request.send))
        request.task = task
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        request, self._request = self._request, None
        error = None if task.cancelled() else task.exception()
        if error is not None:
            traceback.print_exception(error, file=sys.stderr)
        if request is None or self._transport.is_closing():
            return
        if not request.ended:
            if not request.started:
                self._transport.write(
                    b"HTTP/1.1 500 Internal Server Error\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
                )
            self._transport.close()
        elif self._last or request.closes:
            self._transport.close()
        else:
            self._idle = self._loop.call_later(self._idle_s, self.close)
            self._transport.resume_reading()
            if self._came:
                self._next()

    def _hand_over(self) -> None:
        self._stop_waiting()
        self._all.discard(self)
        reader = asyncio.StreamReader(loop=self._loop)
        protocol = asyncio.StreamReaderProtocol(reader, self._others, loop=self._loop)
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        reader.feed_data(bytes(self._came))
        self._came.clear()


class _Request:
    """A request and its answer, as the application sees them."""

    def __init__(self, scope: dict[str, Any], body: bytes, transport: Any, flows: asyncio.Event) -> None:
        self._scope, self._body, self._transport, self._flows = scope, body, transport, flows
        self._given = False
        self._left = asyncio.Event()
        self._head = b""
        self._chunked = False
        self.task: asyncio.Task[None] | None = None
        self.started = self.ended = self.closes = False

    def gone(self) -> None:
        """Note that the client has left."""
        self._left.set()

    async def receive(self) -> dict[str, Any]:
        """Return the request's body, then that the client has left once it has, or was answered."""
        if not self._given:
            self._given = True
            return {"type": "http.request", "body": self._body, "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        """Take a message of the application's."""
        if message["type"] == "http.response.start" and not self._head:
            self._head = self._write_head(int(message["status"]), message.get("headers", []))
        elif message["type"] == "http.response.body" and self._head and not self.ended:
            self._write(message.get("body", b""), last=not message.get("more_body", False))
            if not self._flows.is_set():
                await self._flows.wait()
        else:
            raise RuntimeError(f"{message['type']} is not due")

    def _write_head(self, status: int, headers: list[tuple[bytes, bytes]]) -> bytes:
        lines = [b"HTTP/1.1 %d %b" % (status, _phrase(status))]
        sized = False
        for name, value in headers:
            low = name.lower()
            sized = sized or low == b"content-length"
            self.closes = self.closes or (low == b"connection" and value.lower() == b"close")
            lines.append(b"%b: %b" % (name, value))
        self._bodiless = self._scope["method"] == "HEAD" or status in _BODILESS
        self._chunked = not sized and not self._bodiless
        if self._chunked:
            lines.append(b"transfer-encoding: chunked")
        head = b"\r\n".join(lines)
        if head.count(b"\n") + head.count(b"\r") != 2 * (len(lines) - 1) or b"\0" in head:
            raise ValueError("a header of the answer has a line break in it")
        return head + b"\r\n\r\n"

    def _write(self, body: bytes, *, last: bool) -> None:
        pieces = [] if self.started else [self._head]
        if body and not self._bodiless:
            pieces += [b"%x\r\n" % len(body), body, b"\r\n"] if self._chunked else [body]
        if last and self._chunked:
            pieces.append(b"0\r\n\r\n")
        self.started = True
        if pieces and not self._transport.is_closing():
            self._transport.write(b"".join(pieces))
        if last:
            self.ended = True
            self._left.set()


def _phrase(status: int) -> bytes:
    try:
        return HTTPStatus(status).phrase.encode()
    except ValueError:
        return b""


def install(runner: Any, app: Any, idle_s: float) -> None:
    """Have hypercorn's ``runner`` module (`hypercorn.asyncio.run`) listen so, for ``app``."""

    async def start_server(others: Any, *, backlog: int, sock: Any) -> asyncio.Server:
        loop, connections = asyncio.get_running_loop(), set[Plain]()
        server = await loop.create_server(lambda: Plain(app, others, idle_s, connections), sock=sock, backlog=backlog)
        close = server.close

        def close_all() -> None:
            close()
            for one in list(connections):
                one.close()

        server.close = close_all  # type: ignore[method-assign]
        return server

    runner.asyncio = SimpleNamespace(**vars(asyncio) | {"start_server": start_server})
