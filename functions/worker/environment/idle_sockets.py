"""Lets the model client's pool see cheaply whether an idle connection was closed by its server.

The pool asks every idle connection at the beginning and at the end of each request. The way to the answer leads through
two typed look-ups and a new poll object, 15 microseconds; with a hundred connections that is a third of a worker's
processor time. Here it is one system call on the socket, which is looked up once.
"""

from __future__ import annotations

import select
from typing import TYPE_CHECKING, Any

import httpcore2
import httpx2

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable


class _Stream(httpcore2.AsyncNetworkStream):
    """A connection as it was made, but for that question."""

    def __init__(self, inner: httpcore2.AsyncNetworkStream) -> None:
        self._inner = inner
        self._socket = inner.get_extra_info("socket")
        self._poll = select.poll()
        self._poll.register(self._socket.fileno(), select.POLLIN)
        # Not through methods of its own, which every piece of a stream would pay for.
        self.read = inner.read  # type: ignore[method-assign]
        self.write = inner.write  # type: ignore[method-assign]
        self.aclose = inner.aclose  # type: ignore[method-assign]

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - the interface has it
    ) -> httpcore2.AsyncNetworkStream:
        return _Stream(await self._inner.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        if info != "is_readable":
            return self._inner.get_extra_info(info)
        # A closed socket has no number, and its old one may be another's by now.
        return self._socket.fileno() < 0 or bool(self._poll.poll(0))


class _Backend(httpcore2.AnyIOBackend):
    """Makes such connections."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the interface has it
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        return _Stream(await super().connect_tcp(host, port, timeout, local_address, socket_options))


def watched(client: httpx2.AsyncClient) -> httpx2.AsyncClient:
    """Have a new client's pool make such connections; a proxy's, and a pool of another build, stay as they are."""
    pool = getattr(client._transport, "_pool", None)
    if type(pool) is httpcore2.AsyncConnectionPool:
        pool._network_backend = _Backend()
    return client
