"""Which addresses Sluice may connect to on a user's word: public ones only.

The rules alone; `shared.guarded_http` holds the transports that keep to them.
"""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

from shared.errors import SluiceError
from shared.settings import settings

URL_CHARACTERS = 2048
_METADATA = frozenset({"169.254.169.254", "fd00:ec2::254"})
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class Forbidden(SluiceError):
    """An address that nobody's input may reach."""

    code = "forbidden_address"


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
    if _literal(host) and not allowed(host):
        raise Forbidden("this address cannot be reached from here")


def _literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def allowed(address: str) -> bool:
    """Tell whether an IP address may be connected to under this deployment's settings."""
    return settings().allow_private_addresses or is_public(address)


def resolve(host: str, port: int) -> list[str]:
    """Resolve a name to its addresses."""
    return list(dict.fromkeys(str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))


def checked_address(host: str, port: int) -> str:
    """Resolve a name and return one address to connect to.

    The name is resolved once, all its addresses are checked, and one of them is connected to: a name that resolves
    differently a moment later (DNS rebinding) gains nothing.

    Raises:
        Forbidden: one of its addresses is not public.
        OSError: it does not resolve.
    """
    addresses = resolve(host, port)
    if not addresses or not all(map(allowed, addresses)):
        raise Forbidden(f"{host} cannot be reached from here")
    return addresses[0]
