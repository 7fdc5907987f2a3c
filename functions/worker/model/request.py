"""The request of a model call and its address; made as the `openai` client says, once for each, but for the body.

The client puts every request together anew, from headers that never change: with its checks and copies that is as much
processor time as all that follows.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urljoin, urlsplit, urlunsplit

import httpx2

if TYPE_CHECKING:
    import openai

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


FORMS = 512
"""Forms that are kept: one for each client and address."""


@lru_cache(FORMS)
def _form(client: openai.AsyncOpenAI, http: httpx2.AsyncClient, url: str) -> httpx2.Request:
    """Return a request of the client's without a body; an omitted header is no text."""
    told = {**client.auth_headers, **client.default_headers}
    headers = {name: value for name, value in told.items() if isinstance(value, str)}
    made = http.build_request("POST", url, headers=headers)
    made.headers.pop("content-length", None)
    return made


def make(
    client: openai.AsyncOpenAI, http: httpx2.AsyncClient, url: str, body: dict[str, Any], headers: dict[str, str]
) -> httpx2.Request:
    """Make a request that is sent over ``http``; ``headers`` are this one's own.

    Raises:
        TypeError, ValueError: the body is no JSON.
    """
    form = _form(client, http, url)
    content = json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    made = httpx2.Request("POST", form.url, headers=form.headers, content=content, extensions=form.extensions.copy())
    made.headers.update(headers)
    return made
