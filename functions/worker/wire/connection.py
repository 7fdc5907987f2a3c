"""One connection to a server: requests one after the other, each answered before the next is sent."""

from __future__ import annotations

import asyncio
import select
from collections import deque
from collections.abc import Callable
from typing import Any

import httptools
import httpx2

type Headers = list[tuple[bytes, bytes]]

HEAD_BYTES = 128 * 1024
"""Longest head of an answer, about: no server of a model sends a hundredth of it."""
AHEAD_BYTES = 256 * 1024
"""How much of an answer is read ahead of who reads it."""
_BODILESS = frozenset({204, 304})
_buffer = memoryview(bytearray(64 * 1024))
"""Where all connections read: what comes is taken out of it before the next one's turn."""

NO_ANSWER = "Server disconnected without sending a response."
CUT_SHORT = "peer closed connection without sending complete message body"


class Connection(asyncio.BufferedProtocol):
    """A connection. Bound to its event loop; the pool says whose it is."""

    def __init__(self, on_lost: Callable[[Connection], None]) -> None:
        """Start unconnected; ``on_lost`` is told, once, that nothing can be sent here any more."""
        self.origin: Any = None
        self.expires = 0.0
        """Until when it may be kept idle, by its loop's clock."""
        self._on_lost = on_lost
        self._transport: Any = None
        self._poll: select.poll | None = None
        self._lost = False
        self._full = False
        self._drained: asyncio.Future[None] | None = None
        self._begin()

    def _begin(self) -> None:
        self._parser: Any = None
        self.status = 0
        self.reason = b""
        self.version = b"HTTP/1.1"
        self.headers: Headers = []
        self._size = 0
        self._headed = False
        self._framed = False
        """Whether the answer says itself where it ends; else it ends with the connection."""
        self.whole = False
        """Whether the whole answer came."""
        self._reusable = False
        self._head_only = False
        self._pieces: deque[bytes] = deque()
        self._ahead = 0
        self._paused = False
        self._news: asyncio.Future[None] | None = None
        self._error: Exception | None = None

    # What asyncio calls.

    def connection_made(self, transport: Any) -> None:
        """Note the transport."""
        self._transport = transport
        socket = transport.get_extra_info("socket")
        self._poll = select.poll()
        self._poll.register(socket.fileno(), select.POLLIN)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where to read to."""
        return _buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take what was read."""
        if self._parser is None or self.whole:  # nobody asked for it
            self.abort()
            return
        try:
            self._parser.feed_data(_buffer[:nbytes])
        except httptools.HttpParserCallbackError as error:
            self._fail(httpx2.RemoteProtocolError(str(error.__context__ or error)))
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(httpx2.RemoteProtocolError(str(error) or type(error).__name__))
        else:
            if self._ahead > AHEAD_BYTES and not self._paused:
                self._paused = True
                self._transport.pause_reading()
            self._tell()

    def eof_received(self) -> bool:
        """Have the connection closed: a server that has ended its side sends nothing more."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that it is gone."""
        self._lost = True
        if self._parser is not None and not self.whole and self._error is None:
            if self._headed and not self._framed and exc is None:
                self.whole = True
            elif exc is not None:
                self._error = httpx2.ReadError(str(exc))
                self._error.__cause__ = exc
            else:
                self._error = httpx2.RemoteProtocolError(CUT_SHORT if self._headed else NO_ANSWER)
        self._tell()
        self._resumed()
        self._on_lost(self)

    def pause_writing(self) -> None:
        """Note that the socket takes no more for now."""
        self._full = True

    def resume_writing(self) -> None:
        """Note that it does."""
        self._full = False
        self._resumed()

    def _resumed(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def _tell(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    # What the parser calls.

    def on_status(self, status: bytes) -> None:
        """Take the words behind the status."""
        self.reason += status

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        self._size += len(name) + len(value)
        if self._size > HEAD_BYTES:
            raise ValueError("the head of the answer is too long")
        if not self._headed:  # else of a trailer
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """See what kind of answer it is."""
        self.status = self._parser.get_status_code()
        if self.status == 101:
            raise ValueError("the server changed to another protocol unasked")
        if self.status < 200:  # an answer before the answer
            self.headers, self.reason = [], b""
            return
        self.version = b"HTTP/" + self._parser.get_http_version().encode()
        self._headed = True
        self._reusable = self._parser.should_keep_alive()
        named = {name.lower(): value for name, value in self.headers}
        chunked = named.get(b"transfer-encoding", b"").lower().endswith(b"chunked")
        self._framed = chunked or b"content-length" in named or self.status in _BODILESS
        if self._head_only:
            self.whole, self._reusable = True, False

    def on_body(self, body: bytes) -> None:
        """Take a piece of the answer."""
        if not self._head_only:
            self._pieces.append(body)
            self._ahead += len(body)

    def on_message_complete(self) -> None:
        """Note the answer's end."""
        if self._headed:
            self.whole = True

    def on_message_begin(self) -> None:
        """Refuse a second answer."""
        if self.whole:
            raise ValueError("more than one answer")

    # What the transport calls.

    @property
    def full(self) -> bool:
        """Whether more was written than the socket takes for now."""
        return self._full

    @property
    def lost(self) -> bool:
        """Whether it is closed, or about to be."""
        return self._lost

    @property
    def usable(self) -> bool:
        """Whether it can take a request now: nobody has closed it, or sent something unasked."""
        return not self._lost and self._poll is not None and not self._poll.poll(0)

    def send(self, data: bytes, *, head_only: bool) -> None:
        """Begin a request with these bytes of it; ``head_only`` for one whose answer is only a head."""
        self._begin()
        self._head_only = head_only
        if self._lost:  # since it was taken
            self._error = httpx2.RemoteProtocolError(NO_ANSWER)
        self._parser = httptools.HttpResponseParser(self)
        self._parser.set_dangerous_leniencies(lenient_spaces_after_chunk_size=True)  # old servers pad it
        # What h11 takes, some servers send: lines that end without a carriage return, both kinds of length.
        self._parser.set_dangerous_leniencies(lenient_optional_cr_before_lf=True, lenient_chunked_length=True)
        self.write(data)

    def write(self, data: bytes) -> None:
        """Send more of the request."""
        if not self._lost:
            self._transport.write(data)

    async def drained(self) -> None:
        """Wait until the socket takes more, or nothing ever again."""
        while self._full and not self._lost:
            self._drained = asyncio.get_running_loop().create_future()
            await self._drained

    async def head(self) -> None:
        """Wait for the answer's head.

        Raises:
            httpx2.ReadError, httpx2.RemoteProtocolError: there is none.
        """
        while not self._headed:
            await self._wait()

    async def piece(self) -> bytes:
        """Return what came of the answer since, empty at its end.

        Raises:
            httpx2.ReadError, httpx2.RemoteProtocolError: it breaks off.
        """
        while not self._pieces:
            if self.whole:
                return b""
            await self._wait()
        if len(self._pieces) == 1:
            got = self._pieces.popleft()
        else:
            got = b"".join(self._pieces)
            self._pieces.clear()
        self._ahead = 0
        if self._paused:
            self._paused = False
            if not self._lost:
                self._transport.resume_reading()
        return got

    async def _wait(self) -> None:
        if self._error is not None:
            raise self._error
        self._news = asyncio.get_running_loop().create_future()
        await self._news

    def finish(self) -> bool:
        """End an exchange; whether another request may follow here. If not, it is closed."""
        keeps = self.whole and not self._pieces and self._reusable and not self._lost and not self._full
        self._begin()
        if not keeps:
            self.abort()
        return keeps

    def _fail(self, error: Exception) -> None:
        self._error = self._error or error
        self.abort()
        self._tell()

    def abort(self) -> None:
        """Close it at once."""
        if self._transport is not None and not self._lost:
            self._lost = True
            self._transport.abort()
