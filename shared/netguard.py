"""Which addresses Sluice may connect to on a user's word: public ones only, checked on the very address connected to.

A name is resolved once, every address it has is checked, and the connection goes to a checked address. A name that
resolves differently a moment later (DNS rebinding) therefore gains nothing. Used by page fetches and webhooks.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpcore2
import httpx2

from shared.errors import SluiceError
from shared.settings import settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from httpcore2 import AsyncNetworkStream, NetworkStream

URL_CHARACTERS = 2048
_METADATA = frozenset({"169.254.169.254", "fd00:ec2::254"})
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class Forbidden(SluiceError):
    """An address that nobody's input may reach."""

    code = "forbidden_address"


class _ForbiddenConnection(httpcore2.ConnectError):
    """The same, in the terms of the HTTP client."""


def is_public(text: str) -> bool:
    """Tell whether an IP address is one of the public internet.

    Private, loopback, link-local, shared (100.64/10), multicast, reserved and metadata addresses are not, nor is an
    IPv6 address that carries such an IPv4 one inside (mapped, 6to4, Teredo, NAT64).
    """
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    if str(address) in _METADATA:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        inner = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
        if address in _NAT64:
            inner.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        if any(part is not None and not is_public(str(part)) for part in inner):
            return False
        if address.ipv4_mapped is not None:
            return True
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def check_url(url: str, *, https_only: bool) -> None:
    """Hold a URL against what may be asked for, before anything is resolved.

    Raises:
        Forbidden: too long, another scheme, a user name in it, no host, or a literal address that is not public.
    """
    if len(url) > URL_CHARACTERS:
        raise Forbidden(f"a URL has at most {URL_CHARACTERS} characters")
    if any(ord(character) <= 32 or ord(character) == 127 for character in url):
        raise Forbidden("a URL has no spaces or control characters")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise Forbidden("this is no URL") from error
    if parts.scheme not in (("https",) if https_only else ("http", "https")):
        raise Forbidden("only https is allowed" if https_only else "only http and https are allowed")
    if parts.username is not None or parts.password is not None:
        raise Forbidden("a URL must not contain a user name")
    if not host:
        raise Forbidden("the URL names no host")
    if _literal(host) and not _allowed(host):
        raise Forbidden("this address cannot be reached from here")


def _literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _allowed(address: str) -> bool:
    return settings().allow_private_addresses or is_public(address)


def resolve(host: str, port: int) -> list[str]:
    """Resolve a name to its addresses."""
    return list(dict.fromkeys(str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))


def checked_address(host: str, port: int) -> str:
    """Resolve a name and return one address to connect to.

    Raises:
        httpcore2.ConnectError: it does not resolve, or any of its addresses is not public.
    """
    try:
        addresses = resolve(host, port)
    except OSError as error:
        raise httpcore2.ConnectError(f"{host} does not resolve") from error
    if not addresses or not all(map(_allowed, addresses)):
        raise _ForbiddenConnection(f"{host} cannot be reached from here")
    return addresses[0]


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
        address = await asyncio.to_thread(checked_address, host, port)
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
        return self._inner.connect_tcp(checked_address(host, port), port, timeout, local_address, socket_options)

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
