"""Which addresses Sluice may connect to on a user's word: public ones only.

The rules alone, on the standard library; `shared.guarded_http` holds the transports that keep to them.
"""

import ipaddress
import re
import socket
from ipaddress import IPv4Address, IPv6Address, ip_network
from urllib.parse import urlsplit

from shared.errors import SluiceError
from shared.settings import settings

URL_CHARACTERS = 2048
PORTS = frozenset({80, 443, 8080, 8443})
"""Ports that a URL may name; others speak other protocols, which an HTTP request must not be smuggled into."""

# What is not for the public, from the IANA special-purpose address registries
# (https://www.iana.org/assignments/iana-ipv4-special-registry, …/iana-ipv6-special-registry), and multicast.
_SPECIAL_V4 = tuple(
    ip_network(block)
    for block in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
        "224.0.0.0/4", "240.0.0.0/4",
    )
)  # fmt: skip
_GLOBAL_V6 = ip_network("2000::/3")
# 2001::/23 holds Teredo, 2002::/16 is 6to4: both carry an IPv4 address and are not in use any more.
_SPECIAL_V6 = tuple(ip_network(block) for block in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"))
_NAT64 = ip_network("64:ff9b::/96")
"""How an IPv6-only network reaches an IPv4 address, which is in the last 32 bits (RFC 6052)."""

_NAME = re.compile(
    r"(?=.{1,253}\Z)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.?"
)
_NUMBER = re.compile(r"(?:[0-9]+|0x[0-9a-f]*)\.?")
_LOCAL = ("localhost", "local", "internal", "intranet", "lan", "home.arpa", "arpa", "onion")


class Forbidden(SluiceError):
    """An address that nobody's input may reach."""

    code = "forbidden_address"


def is_public(address: str | IPv4Address | IPv6Address) -> bool:
    """Tell whether an IP address is one of the public internet.

    Private, loopback, link-local (so the metadata service, too), shared (100.64/10), multicast, documentation,
    reserved and unspecified addresses are not, nor is an IPv6 address that carries such an IPv4 one (mapped, NAT64),
    nor any 6to4 or Teredo address, nor one with a zone.
    """
    if isinstance(address, str):
        try:
            address = ipaddress.ip_address(address)
        except ValueError:
            return False
    if isinstance(address, IPv4Address):
        return not any(address in block for block in _SPECIAL_V4)
    if address.scope_id is not None:
        return False
    if address.ipv4_mapped is not None:
        return is_public(address.ipv4_mapped)
    if address in _NAT64:
        return is_public(IPv4Address(int(address) & 0xFFFFFFFF))
    return address in _GLOBAL_V6 and not any(address in block for block in _SPECIAL_V6)


def allowed(address: str) -> bool:
    """Tell whether an IP address may be connected to under this deployment's settings."""
    return settings().allow_private_addresses or is_public(address)


def check_url(url: str, *, https_only: bool) -> None:
    """Hold a URL against what may be asked for, before anything is resolved.

    So strict that no two readers of URLs can differ about the host: ASCII only, names of letters, digits and hyphens,
    IPv4 addresses in their usual form.

    Raises:
        Forbidden: too long, another scheme, a user name in it, no host, a port not in ``PORTS``, or a host that is
            local or a literal address that is not public.
    """
    if len(url) > URL_CHARACTERS:
        raise Forbidden(f"a URL has at most {URL_CHARACTERS} characters")
    if not url.isascii() or not url.isprintable() or any(character in url for character in ' \\"<>^`{|}'):
        raise Forbidden("a URL has only ASCII characters, and no spaces, quotes or control characters")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise Forbidden("this is no URL") from error
    if parts.scheme not in (("https",) if https_only else ("http", "https")):
        raise Forbidden("only https is allowed" if https_only else "only http and https are allowed")
    if "@" in parts.netloc:
        raise Forbidden("a URL must not contain a user name")
    if not host:
        raise Forbidden("the URL names no host")
    _check_host(host, bracketed="[" in parts.netloc)
    if port is not None and port not in PORTS and not settings().allow_private_addresses:
        raise Forbidden(f"the port must be one of {', '.join(map(str, sorted(PORTS)))}")


def _check_host(host: str, *, bracketed: bool) -> None:
    if bracketed or _NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]):
        try:
            IPv6Address(host) if bracketed else IPv4Address(host)
        except ValueError as error:  # 127.1, 0x7f.0.0.1 and 2130706433 are addresses to some readers
            raise Forbidden("this is no IP address in its usual form") from error
        if not allowed(host):
            raise Forbidden("this address cannot be reached from here")
        return
    if not _NAME.fullmatch(host):
        raise Forbidden("this is no host name")
    name = host.rstrip(".")
    local = "." not in name or any(name.endswith(f".{suffix}") for suffix in _LOCAL)
    if local and not settings().allow_private_addresses:
        raise Forbidden("this address cannot be reached from here")


def resolve(host: str, port: int) -> list[str]:
    """Resolve a name to its addresses."""
    return list(dict.fromkeys(str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))


def checked_addresses(host: str, port: int) -> list[str]:
    """Resolve a name and return the addresses to connect to, in order.

    The name is resolved once, all its addresses are checked, and these very addresses are connected to: a name that
    resolves differently a moment later (DNS rebinding) gains nothing.

    Raises:
        Forbidden: one of its addresses is not public.
        OSError: it does not resolve.
    """
    try:
        addresses = resolve(host, port)
    except UnicodeError as error:  # a label that is empty or too long
        raise OSError(f"{host} is no name") from error
    if not addresses:
        raise OSError(f"{host} has no address")
    if not all(map(allowed, addresses)):
        raise Forbidden(f"{host} cannot be reached from here")
    return addresses
