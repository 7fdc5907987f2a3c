"""The transport: takes a request of `httpx2`, hands back its answer as it comes.

It speaks HTTP/1.1 to the server itself. Where the environment names a proxy, httpx2's own transport is used.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from typing import Any

import httpx2

from functions.worker.wire.connection import Connection
from functions.worker.wire.pool import Origin, Pool

_PORTS = {"http": 80, "https": 443}
WHOLE_BODY = "sluice_body"
"""The extension of an answer under which its body is found as it came, past what decodes and cuts it."""


class Transport(httpx2.AsyncBaseTransport):
    """Sends requests over a pool of connections. Bound to one event loop."""

    def __init__(self, limits: httpx2.Limits, tls: ssl.SSLContext) -> None:
        self._pool = Pool(limits, tls)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request and wait for the head of its answer.

        Raises:
            httpx2.TransportError: its kinds tell what failed.
        """
        timeouts: dict[str, float | None] = request.extensions.get("timeout", {})
        trace = request.extensions.get("trace")

        async def phase(name: str) -> None:
            if trace is not None:
                await trace(name, {})

        connection = await self._pool.take(
            _origin(request),
            wait_s=timeouts.get("pool"),
            connect_s=timeouts.get("connect"),
            connecting=lambda: phase("connection.connect_tcp.started"),
        )
        try:
            await phase("http11.send_request_headers.started")
            await _send(connection, request, timeouts.get("write"))
            await _within(timeouts.get("read"), connection.head(), httpx2.ReadTimeout)
            await phase("http11.receive_response_headers.complete")
        except BaseException:
            connection.abort()
            raise
        body = Body(connection, self._pool, timeouts.get("read"))
        return httpx2.Response(
            connection.status,
            headers=connection.headers,
            stream=body,
            extensions={"http_version": connection.version, "reason_phrase": connection.reason, WHOLE_BODY: body},
        )

    async def aclose(self) -> None:
        """Close every connection."""
        await self._pool.aclose()


class Body(httpx2.AsyncByteStream):
    """The body of an answer. To be closed, at its end or before: then its connection is another request's."""

    def __init__(self, connection: Connection, pool: Pool, read_s: float | None) -> None:
        self._connection, self._pool, self._read_s = connection, pool, read_s
        self._closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Iterate over what comes; raises `httpx2.TransportError` if it breaks off."""
        while piece := await self.piece():
            yield piece

    async def piece(self) -> bytes:
        """Return the next piece, empty at the end; raises `httpx2.TransportError` if it breaks off."""
        if self._read_s is None:
            return await self._connection.piece()
        return await _within(self._read_s, self._connection.piece(), httpx2.ReadTimeout)

    async def aclose(self) -> None:
        """Give the connection back, or close it if the answer is not whole."""
        if not self._closed:
            self._closed = True
            self._pool.give_back(self._connection)


def _origin(request: httpx2.Request) -> Origin:
    url = request.url
    if url.scheme not in _PORTS:
        raise httpx2.UnsupportedProtocol(f"Request URL has an unsupported protocol {url.scheme!r}.")
    name = request.extensions.get("sni_hostname") or url.raw_host.decode()
    return Origin(url.scheme == "https", url.raw_host.decode(), url.port or _PORTS[url.scheme], name)


async def _send(connection: Connection, request: httpx2.Request, write_s: float | None) -> None:
    """Send a request, as fast as the server takes it."""
    assert isinstance(request.stream, httpx2.AsyncByteStream)  # noqa: S101 - for the type checker; httpx2 checks it
    head, chunked = _head(request)
    first = True
    async for piece in request.stream:
        data = b"%x\r\n%b\r\n" % (len(piece), piece) if chunked and piece else piece
        if first:
            connection.send(head + data, head_only=request.method == "HEAD")
            first = False
        else:
            connection.write(data)
        if connection.full:
            await _within(write_s, connection.drained(), httpx2.WriteTimeout)
    if first:
        connection.send(head, head_only=request.method == "HEAD")
    if chunked:
        connection.write(b"0\r\n\r\n")


def _head(request: httpx2.Request) -> tuple[bytes, bool]:
    """Write a request's head; tells, too, whether its body goes in chunks."""
    lines = [b"%b %b HTTP/1.1" % (request.method.encode("ascii"), request.url.raw_path)]
    chunked = False
    for name, value in request.headers.raw:
        lines.append(b"%b: %b" % (name, value))
        chunked = chunked or (name.lower() == b"transfer-encoding" and value.lower() == b"chunked")
    head = b"\r\n".join(lines)
    if head.count(b"\n") + head.count(b"\r") != 2 * (len(lines) - 1) or b"\0" in head or lines[0].count(b" ") != 2:
        raise httpx2.LocalProtocolError("a header of the request cannot be sent")
    return head + b"\r\n\r\n", chunked


async def _within[T](seconds: float | None, waiting: Any, error: type[httpx2.TimeoutException]) -> T:
    if seconds is None:
        return await waiting  # type: ignore[no-any-return]
    try:
        async with asyncio.timeout(seconds):
            return await waiting  # type: ignore[no-any-return]
    except TimeoutError as late:
        raise error("") from late
