"""TCP connections seen from inside the HTTP server: counted, cut, and watched for a client that leaves.

ASGI tells of a lost client only to who waits in ``receive``, which costs a task or a cancelled wait for
each call. Uvicorn hands every request a copy of its connection's state, and through it this module hands on
the connection.
"""

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.auto import AutoHTTPProtocol

from localstack.llm.state import Connections


class Connection:
    """One client's TCP connection."""

    __slots__ = ("_counts", "_loop", "_transport", "_used", "_waiter", "gone")

    def __init__(self, transport: asyncio.Transport, counts: Connections) -> None:
        """Wraps a connection that has just been made."""
        self._transport = transport
        self._counts = counts
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[None] | None = None
        self._used = False
        self.gone = False
        counts.made()

    def use(self) -> None:
        """Notes that the connection carries a model call."""
        if not self._used:
            self._used = True
            self._counts.used()

    def lost(self) -> None:
        """The connection has ended: wakes who waits."""
        if self.gone:
            return
        self.gone = True
        self._counts.lost(model=self._used)
        self.wake()

    def wake(self) -> None:
        """Ends the wait for a time, if there is one."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait_until(self, when: float) -> bool:
        """Sleeps until the loop's clock shows ``when``, the client leaves or `wake` is called; true if it left."""
        if self.gone or when <= self._loop.time():
            return self.gone
        self._waiter = self._loop.create_future()
        timer = self._loop.call_at(when, self.wake)
        try:
            await self._waiter
        finally:
            timer.cancel()
            self._waiter = None
        return self.gone

    async def close(self) -> None:
        """Closes once what was written has been sent, or at the latest after 5 s."""
        self._transport.close()
        if not await self.wait_until(self._loop.time() + 5):
            await self.abort()

    async def abort(self) -> None:
        """Cuts the connection, whatever is still to be sent."""
        self._transport.abort()
        await self.wait_until(self._loop.time() + 5)


class _Watched(asyncio.Protocol):
    """Mixed into uvicorn's protocol, whichever of its implementations is in use."""

    counts: Connections
    app_state: dict[str, Any]
    connection: Connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Counts the connection and puts it where each request's scope will find it."""
        self.connection = Connection(cast(asyncio.Transport, transport), self.counts)
        self.app_state = {**self.app_state, "connection": self.connection}
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tells the server first: it must know of the loss before the call that waits does."""
        super().connection_lost(exc)
        self.connection.lost()

    def shutdown(self) -> None:
        """On a stop of the simulator, answers in progress are cut: some of them would last for hours."""
        self.connection._transport.close()


def protocol_class(counts: Connections) -> type[asyncio.Protocol]:
    """Uvicorn's HTTP protocol (httptools where installed, else h11), its connections counted and watched."""
    return cast(type[asyncio.Protocol], type("WatchedProtocol", (_Watched, AutoHTTPProtocol), {"counts": counts}))
