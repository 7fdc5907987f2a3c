"""HTTP transports that connect to public addresses only, checked on the very address connected to."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING

import httpcore2
import httpx2

from shared.netguard import Forbidden, checked_address

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from httpcore2 import AsyncNetworkStream, NetworkStream


class _ForbiddenConnection(httpcore2.ConnectError):
    """The same, in the terms of the HTTP client."""


def _address(host: str, port: int) -> str:
    try:
        return checked_address(host, port)
    except Forbidden as error:
        raise _ForbiddenConnection(error.message) from error
    except OSError as error:
        raise httpcore2.ConnectError(f"{host} does not resolve") from error


class _AsyncBackend(httpcore2.AsyncNetworkBackend):
    def __init__(self) -> None:
        self._inner = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the client's interface
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> AsyncNetworkStream:
        address = await asyncio.to_thread(_address, host, port)
        return await self._inner.connect_tcp(address, port, timeout, local_address, socket_options)

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)


class _Backend(httpcore2.NetworkBackend):
    def __init__(self) -> None:
        self._inner = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> NetworkStream:
        return self._inner.connect_tcp(_address(host, port), port, timeout, local_address, socket_options)

    def sleep(self, seconds: float) -> None:
        self._inner.sleep(seconds)


class AsyncGuardedTransport(httpx2.AsyncHTTPTransport):
    """An HTTP transport that connects to public addresses only. It ignores proxies, which would resolve for it."""

    def __init__(self, limits: httpx2.Limits) -> None:
        """Make the transport with a pool of its own."""
        super().__init__(trust_env=False)
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=ssl.create_default_context(),
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            network_backend=_AsyncBackend(),
        )


class GuardedTransport(httpx2.HTTPTransport):
    """The same for synchronous clients."""

    def __init__(self) -> None:
        """Make the transport with a pool of its own."""
        super().__init__(trust_env=False)
        self._pool = httpcore2.ConnectionPool(ssl_context=ssl.create_default_context(), network_backend=_Backend())


def was_forbidden(error: BaseException) -> bool:
    """Tell whether a failed request failed because its address is not public."""
    seen: Sequence[BaseException | None] = (error, error.__cause__, error.__context__)
    return any(isinstance(one, _ForbiddenConnection | Forbidden) for one in seen)
