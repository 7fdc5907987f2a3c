"""HTTP transports that connect to public addresses only, checked on the very address connected to.

The check sits below the connection pool, in its network backend: the pool still knows the host by its name, so that
the Host header, the TLS server name and the certificate check are those of the name.
"""

import asyncio
import ssl
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import httpcore2
import httpx2
from httpcore2 import AsyncNetworkStream, NetworkStream

from shared import tls
from shared.netguard import Forbidden, checked_addresses

RESOLVER_THREADS = 16
"""Names are looked up in threads of their own: a slow name server must not hold up the threads that runs share."""
CONNECTION_SECONDS = 10.0
CONNECTIONS = 100
"""Most connections of a synchronous transport at once."""
ADDRESSES_TRIED = 3
"""How many of a host's addresses are tried before it counts as unreachable."""


class _ForbiddenConnection(httpcore2.ConnectError):
    """The same, in the terms of the HTTP client."""


def no_cookies() -> CookieJar:
    """Return a jar that takes nothing: all users share a client, and one's cookies would go out with another's."""
    return CookieJar(policy=DefaultCookiePolicy(allowed_domains=()))


def _addresses(host: str, port: int) -> list[str]:
    try:
        return checked_addresses(host, port)[:ADDRESSES_TRIED]
    except Forbidden as error:
        raise _ForbiddenConnection(error.message) from error
    except (OSError, UnicodeError) as error:
        raise httpcore2.ConnectError(f"{host} does not resolve") from error


class _AsyncBackend(httpcore2.AsyncNetworkBackend):
    def __init__(self) -> None:
        self._inner = httpcore2.AnyIOBackend()

    @cached_property
    def _resolver(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(RESOLVER_THREADS, thread_name_prefix="resolve")

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the client's interface
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> AsyncNetworkStream:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout):
                addresses = await loop.run_in_executor(self._resolver, _addresses, host, port)
                share = None if timeout is None else timeout / len(addresses)
                for address in addresses[:-1]:
                    try:
                        return await self._inner.connect_tcp(address, port, share, local_address, socket_options)
                    except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                        continue
                return await self._inner.connect_tcp(addresses[-1], port, None, local_address, socket_options)
        except TimeoutError as error:
            raise httpcore2.ConnectTimeout(f"{host} took no connection in time") from error

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)


class _Timed(httpcore2.NetworkStream):
    """A connection that ends at a point in time, however slowly its peer goes on sending."""

    def __init__(self, inner: NetworkStream, until: float) -> None:
        self._inner = inner
        self._until = until

    def _left(self, timeout: float | None) -> float:
        left = self._until - time.monotonic()
        if left <= 0:
            raise httpcore2.ReadTimeout("out of time")
        return left if timeout is None else min(timeout, left)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, self._left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), 16_384):
            self._inner.write(buffer[start : start + 16_384], self._left(timeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> NetworkStream:
        return _Timed(self._inner.start_tls(ssl_context, server_hostname, self._left(timeout)), self._until)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class _Backend(httpcore2.NetworkBackend):
    def __init__(self, seconds: float) -> None:
        self._inner = httpcore2.SyncBackend()
        self._seconds = seconds
        self._resolver = ThreadPoolExecutor(RESOLVER_THREADS, thread_name_prefix="resolve")

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> NetworkStream:
        seconds = self._seconds if timeout is None else min(timeout, self._seconds)
        until = time.monotonic() + self._seconds
        try:
            addresses = self._resolver.submit(_addresses, host, port).result(seconds)
        except TimeoutError as error:
            raise httpcore2.ConnectTimeout(f"{host} does not resolve in time") from error
        for n, address in enumerate(addresses, 1):
            bound = max(0.1, min(seconds, until - time.monotonic()) / (len(addresses) - n + 1))
            try:
                return _Timed(self._inner.connect_tcp(address, port, bound, local_address, socket_options), until)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                if n == len(addresses):
                    raise
        raise httpcore2.ConnectError(f"{host} has no address")

    def sleep(self, seconds: float) -> None:
        self._inner.sleep(seconds)


class AsyncGuardedTransport(httpx2.AsyncHTTPTransport):
    """An HTTP transport that connects to public addresses only. It ignores proxies, which would resolve for it."""

    def __init__(self, limits: httpx2.Limits) -> None:
        context = tls.context()
        super().__init__(verify=context, trust_env=False)
        _expect(self._pool, httpcore2.AsyncConnectionPool)
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=context,
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            network_backend=_AsyncBackend(),
        )


class GuardedTransport(httpx2.HTTPTransport):
    """The same for synchronous clients, one connection per request.

    ``seconds`` bounds a connection from the look-up of its name to its last byte; the client's own timeouts bound each
    read only, and start anew with every byte that comes.
    """

    def __init__(self, seconds: float = CONNECTION_SECONDS) -> None:
        context = tls.context()
        super().__init__(verify=context, trust_env=False)
        _expect(self._pool, httpcore2.ConnectionPool)
        self._pool = httpcore2.ConnectionPool(
            ssl_context=context,
            max_connections=CONNECTIONS,
            max_keepalive_connections=0,
            network_backend=_Backend(seconds),
        )


def _expect(pool: object, kind: type) -> None:
    # The pool is the transport's private attribute: were its name another one day, the guard would silently be gone.
    if type(pool) is not kind:
        raise TypeError(f"the transport holds a {type(pool).__name__}, not a {kind.__name__}")


def was_forbidden(error: BaseException) -> bool:
    """Tell whether a failed request failed because its address is not public."""
    one: BaseException | None = error
    for _ in range(10):
        if one is None or isinstance(one, _ForbiddenConnection | Forbidden):
            break
        one = one.__cause__ or one.__context__
    return isinstance(one, _ForbiddenConnection | Forbidden)
