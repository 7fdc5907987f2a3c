"""Reads a public web page as text, for agents. Nothing private can be reached, redirects included."""

import asyncio
import codecs
import re
from contextlib import aclosing
from typing import Any

import httpx2

from functions.worker.tools.htmltext import readable
from functions.worker.tools.pool import MOST, SharedTransport
from functions.worker.wire import inflate
from shared.guarded_http import AsyncGuardedTransport, no_cookies, was_forbidden
from shared.netguard import Forbidden, check_url

PAGE_BYTES = 1_000_000
"""Most bytes of a page that are read, after decompression; the rest is left."""
PAGE_CHARACTERS = 50_000
"""Most characters of its text that are kept."""
PAGE_SECONDS = 15.0
"""Longest time for a page with its redirects, s."""
MAX_REDIRECTS = 3
CONNECTIONS = 50
"""Requests at once that the owners of runs in one environment share; see `pool`."""
_TEXT = frozenset({"application/json", "application/ld+json", "application/xhtml+xml", "application/xml"})
_CODECS = re.compile(
    r"ascii|utf-8(-sig)?|utf-16(-[bl]e)?|iso8859-\d+|cp(125\d|866|874|932|949)|koi8-[rut]|mac-(roman|cyrillic)"
    r"|gbk|gb2312|gb18030|big5(hkscs)?|euc_(jp|kr)|shift_jis|iso2022_jp"
)
"""Python's names of the web's encodings (https://encoding.spec.whatwg.org). It knows others, and one of them, punycode,
takes hours over a megabyte."""
_META_CHARSET = re.compile(rb"<meta[^>]{1,200}charset=[\"']?([\w-]{1,40})", re.IGNORECASE)


class PageError(Exception):
    """The page cannot be read; the text says why and may be shown to the model."""


def pages_client() -> httpx2.AsyncClient:
    """Make the pooled client for pages; it connects to public addresses only and keeps no cookies."""
    most = MOST * CONNECTIONS
    limits = httpx2.Limits(max_connections=most, max_keepalive_connections=10, keepalive_expiry=30)
    return httpx2.AsyncClient(
        transport=SharedTransport(AsyncGuardedTransport(limits), CONNECTIONS),
        timeout=httpx2.Timeout(PAGE_SECONDS, connect=5),
        headers={"User-Agent": "Sluice", "Accept": "text/html, text/*;q=0.9, application/json;q=0.8"},
        cookies=no_cookies(),
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
            target = httpx2.URL(url.strip())  # writes an international name in its ASCII form
            for _ in range(MAX_REDIRECTS + 1):
                check_url(str(target), https_only=False)
                found = await _get(client, target)
                if isinstance(found, str):
                    return found
                target = target.join(found)
    except Forbidden as error:
        raise PageError(error.message) from error
    except TimeoutError as error:
        raise PageError(f"the page took longer than {PAGE_SECONDS:g} s") from error
    except httpx2.InvalidURL as error:
        raise PageError("this is no URL") from error
    except httpx2.HTTPError as error:
        if was_forbidden(error):
            raise PageError("this address cannot be reached from here") from error
        raise PageError(f"the page cannot be reached: {type(error).__name__}") from error
    raise PageError(f"the page redirects more than {MAX_REDIRECTS} times")


async def _get(client: httpx2.AsyncClient, url: httpx2.URL) -> str | httpx2.URL:
    async with client.stream("GET", url) as answer:
        if answer.has_redirect_location:
            return httpx2.URL(answer.headers["location"])
        if answer.status_code != 200:
            raise PageError(f"the page answers {answer.status_code}")
        kind = answer.headers.get("content-type", "text/plain").partition(";")[0].strip().lower()
        if not kind.startswith("text/") and kind not in _TEXT:
            raise PageError(f"the page is {kind[:80]}, not text")
        data = bytearray()
        encoding = answer.headers.get("content-encoding", "").strip().lower()
        known = encoding in inflate.ENCODINGS
        body: Any = inflate.inflated(answer.aiter_raw(), encoding) if known else answer.aiter_bytes()
        async with aclosing(body) as pieces:
            async for chunk in pieces:
                data += chunk
                if len(data) >= PAGE_BYTES:
                    break
        charset = answer.charset_encoding
    # Off the event loop: a megabyte of HTML takes a while, and other runs share the loop.
    return await asyncio.to_thread(_text, bytes(data[:PAGE_BYTES]), charset, html="html" in kind)


def _codec(charset: str | None) -> str:
    try:
        name = codecs.lookup(charset or "utf-8").name
    except (LookupError, ValueError):
        return "utf-8"
    return name if _CODECS.fullmatch(name) else "utf-8"


def _text(data: bytes, charset: str | None, *, html: bool) -> str:
    if charset is None and html and (found := _META_CHARSET.search(data[:2048])):
        charset = found[1].decode()
    # Replaced twice: some decoders make half characters, which nothing can store.
    text = data.decode(_codec(charset), errors="replace").encode("utf-8", "replace").decode()
    return (readable(text) if html else text)[:PAGE_CHARACTERS]
