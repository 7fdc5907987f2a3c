"""Reads a public web page as text, for agents. Nothing private can be reached, redirects included."""

from __future__ import annotations

import asyncio
from html.parser import HTMLParser
from urllib.parse import urljoin

import httpx2

from shared.guarded_http import AsyncGuardedTransport, was_forbidden
from shared.netguard import Forbidden, check_url

PAGE_BYTES = 1_000_000
"""Most bytes of a page that are read; the rest is left."""
PAGE_CHARACTERS = 50_000
"""Most characters of its text that are kept."""
PAGE_SECONDS = 15.0
MAX_REDIRECTS = 3
CONNECTIONS = 50


class PageError(Exception):
    """The page cannot be read; the text says why and may be shown to the model."""


def pages_client() -> httpx2.AsyncClient:
    """Make the pooled client for pages; it connects to public addresses only."""
    limits = httpx2.Limits(max_connections=CONNECTIONS, max_keepalive_connections=10, keepalive_expiry=30)
    return httpx2.AsyncClient(
        transport=AsyncGuardedTransport(limits),
        timeout=httpx2.Timeout(PAGE_SECONDS, connect=5),
        headers={"User-Agent": "Sluice", "Accept": "text/html, text/*;q=0.9, application/json;q=0.8"},
        follow_redirects=False,
        trust_env=False,
    )


async def fetch_page(client: httpx2.AsyncClient, url: str) -> str:
    """Get a page and return its text, HTML reduced to what a reader sees.

    Raises:
        PageError: forbidden, unreachable, too slow, not text, or it redirects too often.
    """
    try:
        async with asyncio.timeout(PAGE_SECONDS):
            for _ in range(MAX_REDIRECTS + 1):
                check_url(url, https_only=False)
                found = await _get(client, url)
                if isinstance(found, str):
                    return found
                url = urljoin(url, found.location)
    except Forbidden as error:
        raise PageError(error.message) from error
    except TimeoutError as error:
        raise PageError(f"the page took longer than {PAGE_SECONDS:g} s") from error
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        if was_forbidden(error):
            raise PageError("this address cannot be reached from here") from error
        raise PageError(f"the page cannot be reached: {type(error).__name__}") from error
    raise PageError(f"the page redirects more than {MAX_REDIRECTS} times")


class _Redirect:
    def __init__(self, location: str) -> None:
        self.location = location


async def _get(client: httpx2.AsyncClient, url: str) -> str | _Redirect:
    async with client.stream("GET", url) as answer:
        if answer.is_redirect:
            return _Redirect(answer.headers.get("location", ""))
        if answer.status_code >= 400:
            raise PageError(f"the page answers {answer.status_code}")
        kind = answer.headers.get("content-type", "text/plain").partition(";")[0].strip().lower()
        if not (kind.startswith("text/") or kind in ("application/json", "application/xhtml+xml", "application/xml")):
            raise PageError(f"the page is {kind}, not text")
        data = bytearray()
        async for chunk in answer.aiter_bytes(65_536):
            data += chunk
            if len(data) >= PAGE_BYTES:
                break
        text = bytes(data[:PAGE_BYTES]).decode(_charset(answer), errors="replace")
    return (readable(text) if "html" in kind else text)[:PAGE_CHARACTERS]


def _charset(answer: httpx2.Response) -> str:
    try:
        "".encode(answer.charset_encoding or "utf-8")
    except LookupError:
        return "utf-8"
    return answer.charset_encoding or "utf-8"


def readable(html: str) -> str:
    """Reduce HTML to the text that a reader sees, a block a line."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    lines = (" ".join(line.split()) for line in "".join(reader.parts).splitlines())
    return "\n".join(line for line in lines if line)


class _Reader(HTMLParser):
    HIDDEN = frozenset({"script", "style", "noscript", "template", "svg", "head"})
    INLINE = frozenset({"a", "b", "i", "em", "strong", "span", "code", "small", "sup", "sub", "u", "mark", "abbr"})

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in self.HIDDEN:
            self._hidden += 1
        elif tag not in self.INLINE:
            self.parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag in self.HIDDEN:
            self._hidden = max(0, self._hidden - 1)
        elif tag not in self.INLINE:
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.parts.append(data)
