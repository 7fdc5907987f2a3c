"""The connections of one environment: at most so many, kept for a while when idle, the newest used first."""

import asyncio
import itertools
import socket
import ssl
from asyncio.staggered import staggered_race
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, NamedTuple

import httpx2

from functions.worker.wire.connection import NO_ANSWER, Connection

HAPPY_EYEBALLS_SECONDS = 0.25
"""How long the first address of a host is tried before the next one is, too (RFC 8305)."""


class Origin(NamedTuple):
    """Where a connection leads."""

    tls: bool
    host: str
    port: int
    name: str
    """The name that the server's certificate has to have."""


class Pool:
    """A pool of connections. Bound to one event loop."""

    def __init__(self, limits: httpx2.Limits, tls: ssl.SSLContext) -> None:
        self._most = limits.max_connections or 10_000
        self._kept = self._most if limits.max_keepalive_connections is None else limits.max_keepalive_connections
        self._keep_s = limits.keepalive_expiry
        self._tls = tls
        tls.set_alpn_protocols(["http/1.1"])
        self._places = 0
        """Connections that are open or being opened."""
        self._open: set[Connection] = set()
        self._idle: defaultdict[Origin, list[Connection]] = defaultdict(list)
        self._idle_count = 0
        self._waiting: deque[tuple[Origin, asyncio.Future[Connection | None]]] = deque()

    async def take(
        self,
        origin: Origin,
        *,
        wait_s: float | None,
        connect_s: float | None,
        connecting: Callable[[], Awaitable[None]],
    ) -> Connection:
        """Return a connection that can take a request; ``connecting`` is told before a new one is opened.

        Raises:
            httpx2.PoolTimeout: none came free.
            httpx2.ConnectError, httpx2.ConnectTimeout: the server is not to be reached.
        """
        if (connection := self._idle_one(origin)) is not None:
            return connection
        if self._places >= self._most and not self._evict():
            if (connection := await self._wait(origin, wait_s)) is not None:
                return connection  # with its place
        else:
            self._places += 1
        # From here on the place is ours.
        try:
            await connecting()
            return await self._connect(origin, connect_s)
        except BaseException:
            self._leave()
            raise

    def give_back(self, connection: Connection) -> None:
        """End a connection's exchange: it is kept for the next request, or closed."""
        if not connection.finish():
            return  # its place comes free when it is gone
        while self._waiting:
            origin, turn = self._waiting[0]
            if turn.done():
                self._waiting.popleft()
                continue
            if origin != connection.origin:
                connection.abort()
                return
            self._waiting.popleft()
            turn.set_result(connection)
            return
        if self._idle_count >= self._kept and not self._evict():
            connection.abort()
            return
        if self._keep_s is not None:
            connection.expires = asyncio.get_running_loop().time() + self._keep_s
        self._idle[connection.origin].append(connection)
        self._idle_count += 1

    def _idle_one(self, origin: Origin) -> Connection | None:
        kept = self._idle.get(origin)
        now = asyncio.get_running_loop().time()
        while kept:
            connection = kept.pop()
            self._idle_count -= 1
            if connection.usable and (self._keep_s is None or now < connection.expires):
                return connection
            connection.abort()
        return None

    def _evict(self) -> bool:
        """Close the connection that was idle for longest; False if none is. Its place is free at once."""
        oldest = min((kept for kept in self._idle.values() if kept), key=lambda kept: kept[0].expires, default=None)
        if oldest is None:
            return False
        connection = oldest.pop(0)
        self._idle_count -= 1
        self._forget(connection)
        connection.abort()
        return True

    async def _wait(self, origin: Origin, wait_s: float | None) -> Connection | None:
        """Wait for a connection, or for a place alone (None)."""
        turn: asyncio.Future[Connection | None] = asyncio.get_running_loop().create_future()
        self._waiting.append((origin, turn))
        try:
            async with asyncio.timeout(wait_s):
                return await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():  # it came just then: the next one's
                connection = turn.result()
                if connection is None:
                    self._leave()
                else:
                    self.give_back(connection)
            turn.cancel()
            if isinstance(error, TimeoutError):
                raise httpx2.PoolTimeout("no connection of the pool came free") from error
            raise

    async def _connect(self, origin: Origin, connect_s: float | None) -> Connection:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(connect_s):
                connected = await _reach(origin)
                try:
                    _, connection = await loop.create_connection(
                        lambda: Connection(self._gone),
                        sock=connected,
                        ssl=self._tls if origin.tls else None,
                        server_hostname=origin.name if origin.tls else None,
                    )
                except BaseException:
                    connected.close()
                    raise
        except TimeoutError as error:
            raise httpx2.ConnectTimeout(str(error)) from error
        except OSError as error:  # ssl.SSLError is one
            raise httpx2.ConnectError(str(error)) from error
        if connection.lost:
            raise httpx2.RemoteProtocolError(NO_ANSWER)
        connection.origin = origin
        self._open.add(connection)
        return connection

    def _gone(self, connection: Connection) -> None:
        """Note that a connection was lost, whoever closed it."""
        if connection.origin is None:
            return  # while it was being made: who makes it has its place
        kept = self._idle.get(connection.origin)
        if kept and connection in kept:
            kept.remove(connection)
            self._idle_count -= 1
        self._forget(connection)

    def _forget(self, connection: Connection) -> None:
        if connection in self._open:
            self._open.remove(connection)
            self._leave()

    def _leave(self) -> None:
        """Hand a place on to who waits, or have one more."""
        while self._waiting:
            _, turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._places -= 1

    async def aclose(self) -> None:
        """Close every connection."""
        for connection in list(self._open):
            connection.abort()
        await asyncio.sleep(0)  # they are told then


async def _reach(origin: Origin) -> socket.socket:
    """Return a socket that is connected to the first address that answers; raises `OSError` where none does.

    Not every event loop knows how to try several at once.
    """
    found = await _found(origin.host, origin.port)
    by_family: dict[int, list[Any]] = {}
    for one in found:
        by_family.setdefault(one[0], []).append(one)
    turns = [one for turn in itertools.zip_longest(*by_family.values()) for one in turn if one is not None]
    made: list[socket.socket] = []
    reached: socket.socket | None = None
    try:
        tries = [partial(_connected, made, *one) for one in turns]
        reached, _, failed = await staggered_race(tries, HAPPY_EYEBALLS_SECONDS)
    finally:  # also of one that was reached just when nobody waited any more
        for one in made:
            if one is not reached:
                one.close()
    if reached is None:
        raise next((error for error in failed if error is not None), OSError("no address"))
    return reached


async def _found(host: str, port: int) -> list[Any]:
    return await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)


async def _connected(
    made: list[socket.socket], family: int, kind: int, protocol: int, _: str, address: Any
) -> socket.socket:
    one = socket.socket(family, kind, protocol)
    made.append(one)
    one.setblocking(False)
    await asyncio.get_running_loop().sock_connect(one, address)
    return one
