"""The address of chat completions: made from the base address, whose query stays, and followed when it has moved."""

from urllib.parse import SplitResult, urljoin, urlsplit, urlunsplit

PATH = "/chat/completions"
MOVED = frozenset({307, 308})
"""Redirects that keep the method; the others would turn the call into a GET."""
_PORTS = {"http": 80, "https": 443}


def completions(base: str) -> str:
    """Return the whole address for a base address, which may be the whole one already."""
    parts = urlsplit(base)
    path = parts.path.rstrip("/")
    if not path.endswith(PATH):
        path += PATH
    return urlunsplit(parts._replace(path=path, fragment=""))


def moved(url: str, location: str) -> str | None:
    """Return where a redirect leads if our key may go there: the same host and port, or its https; else None."""
    old, new = urlsplit(url), urlsplit(urljoin(url, location))
    if new.username or not new.hostname or new.hostname != old.hostname:
        return None
    upgraded = (old.scheme, new.scheme) == ("http", "https")
    if new.scheme != old.scheme and not upgraded:
        return None
    same_port = _port(old) == _port(new)
    if not same_port and not (upgraded and (_port(old), _port(new)) == (80, 443)):
        return None
    if old.query and not new.query:
        new = new._replace(query=old.query)
    return urlunsplit(new)


def _port(parts: SplitResult) -> int | None:
    return parts.port or _PORTS.get(parts.scheme)


def shown(url: str) -> str:
    """Return an address without its query, which may hold a key."""
    return urlunsplit(urlsplit(url)._replace(query="", fragment=""))
