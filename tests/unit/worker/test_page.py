"""Pages over real sockets: what becomes text, what is refused, and what a hostile page cannot do."""

import asyncio
import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.worker.tools import page
from functions.worker.tools.htmltext import readable
from functions.worker.tools.page import PAGE_BYTES, PAGE_CHARACTERS, PageError, fetch_page, pages_client
from shared import netguard
from shared.settings import settings

HTML = b"""<!doctype html><html><head><title>T</title><style>p{}</style></head>
<body><h1>Rivers &amp; locks</h1><script>var x = "<p>no</p>"</script><p>One <b>two</b> three<br>four</p>
<!-- <p>no</p> --><ul><li>a</li><li>b</li></ul><noscript>no</noscript></body></html>"""
PAGES: dict[str, tuple[dict[str, str], bytes]] = {
    "/html": ({"content-type": "text/html; charset=utf-8"}, HTML),
    "/json": ({"content-type": "application/json"}, b'{"a": 1}'),
    "/bare": ({}, b"plain"),
    "/latin": ({"content-type": "text/plain; charset=latin-1"}, "é".encode("latin-1")),
    "/meta": ({"content-type": "text/html"}, '<meta charset="iso-8859-1"><p>é'.encode("latin-1")),
    "/charset": ({"content-type": "text/plain; charset=none-such"}, "é".encode()),
    "/codec": ({"content-type": "text/plain; charset=base64"}, b"plain"),
    "/binary": ({"content-type": "image/png"}, b"\x89PNG"),
    "/big": ({"content-type": "text/plain"}, b"x" * PAGE_BYTES * 3),
    "/gzip": ({"content-type": "text/plain", "content-encoding": "gzip"}, gzip.compress(b"squeezed")),
    "/members": (
        {"content-type": "text/plain", "content-encoding": "gzip"},
        gzip.compress(b"in two ") + gzip.compress(b"parts"),
    ),
    "/bomb": ({"content-type": "text/plain", "content-encoding": "gzip"}, gzip.compress(b"x" * 50_000_000, 1)),
    "/broken": ({"content-type": "text/plain", "content-encoding": "gzip"}, b"not gzip"),
    "/unfinished": ({"content-type": "text/html"}, b"seen" + b"<a " * 300_000),
    "/no-head-end": ({"content-type": "text/html"}, b"<html><head><title>T</title><body>seen"),
}


class Site:
    """Serves the pages, and redirects to where it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        site = self
        self.hang = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.asked.append(self.path)
                parts = urlsplit(self.path)
                if parts.path == "/hang":
                    site.hang.wait(30)
                if parts.path == "/to":
                    self.send_response(302)
                    self.send_header("location", parse_qs(parts.query)["url"][0])
                    self.send_header("content-length", "0")
                    self.end_headers()
                    return
                headers, body = PAGES.get(parts.path, ({}, b""))
                self.send_response(200 if parts.path in PAGES else 404)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                try:
                    self.wfile.write(body)
                except ConnectionError:
                    return  # the reader had enough

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port: int = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()

    def close(self) -> None:
        self.hang.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    yield made
    made.close()


@pytest.fixture
def open_site(site: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Let pages of this machine be read, as in a local system."""
    monkeypatch.setenv("ALLOW_PRIVATE_ADDRESSES", "true")
    settings.cache_clear()
    yield site
    monkeypatch.delenv("ALLOW_PRIVATE_ADDRESSES")
    settings.cache_clear()


@pytest.fixture
def public_site(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """On AWS settings, let the site's address pass for a public one: `http://site.example:<port>`."""
    real = netguard.is_public
    monkeypatch.setattr(netguard, "is_public", lambda address: address == "127.0.0.1" or real(address))
    monkeypatch.setattr(netguard, "PORTS", frozenset({80, 443, site.port}))
    monkeypatch.setattr(
        netguard, "resolve", lambda host, _port: [{"inside.example": "10.0.0.1"}.get(host, "127.0.0.1")]
    )
    site.url = f"http://site.example:{site.port}"
    return site


def read(*urls: str) -> list[str]:
    async def main() -> list[str]:
        async with pages_client() as client:
            return [await fetch_page(client, url) for url in urls]

    return asyncio.run(main())


def test_pages_become_text(open_site: Site) -> None:
    texts = read(*(open_site.url + path for path in ("/html", "/json", "/bare", "/latin", "/meta", "/gzip")))
    assert texts == ["Rivers & locks\nOne two three\nfour\na\nb", '{"a": 1}', "plain", "é", "é", "squeezed"]


def test_a_page_in_several_gzip_members_is_read_whole(open_site: Site) -> None:
    assert read(open_site.url + "/members") == ["in two parts"]


def test_an_unknown_charset_is_read_as_utf8(open_site: Site) -> None:
    assert read(open_site.url + "/charset", open_site.url + "/codec") == ["é", "plain"]


def test_a_page_without_the_end_of_its_head_is_read(open_site: Site) -> None:
    assert read(open_site.url + "/no-head-end") == ["seen"]


def test_sizes_are_bounded_before_and_after_decompression(open_site: Site) -> None:
    assert [len(text) for text in read(open_site.url + "/big", open_site.url + "/bomb")] == [PAGE_CHARACTERS] * 2


@pytest.mark.parametrize(
    ("path", "why"), [("/none", "answers 404"), ("/binary", "image/png"), ("/broken", "cannot be reached")]
)
def test_what_cannot_be_read_is_said(open_site: Site, path: str, why: str) -> None:
    with pytest.raises(PageError, match=why):
        read(open_site.url + path)


def test_a_page_that_takes_too_long(open_site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "PAGE_SECONDS", 0.3)
    with pytest.raises(PageError, match=r"took longer than 0\.3 s|cannot be reached: ReadTimeout"):
        read(open_site.url + "/hang")


def test_redirects_are_followed_so_far_and_no_further(open_site: Site) -> None:
    path = "/json"
    for _ in range(page.MAX_REDIRECTS):
        path = f"/to?url={quote(path, safe='')}"
    assert read(open_site.url + path) == ['{"a": 1}']
    with pytest.raises(PageError, match="redirects more than"):
        read(f"{open_site.url}/to?url={quote(path, safe='')}")


@pytest.mark.parametrize(
    "target",
    ["http://169.254.169.254/latest/meta-data/", "http://[::1]/", "http://10.0.0.1/", "http://inside.example/",
     "http://localhost/", "file:///etc/passwd", "http://user@site.example/", "http://site.example:22/", "//10.0.0.1/",
     "http://0x7f.1/"],
)  # fmt: skip
def test_a_redirect_to_a_private_address_is_refused(public_site: Site, target: str) -> None:
    with pytest.raises(PageError, match=r"cannot be reached from here|only http|user name|port|usual form"):
        read(f"{public_site.url}/to?url={target}")
    assert len(public_site.asked) == 1


def test_a_redirect_to_a_public_address_is_followed_there(public_site: Site) -> None:
    assert read(f"{public_site.url}/to?url=http://other.example:{public_site.port}/json") == ['{"a": 1}']


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1/", "http://localhost/", "http://[::1]/", "http://169.254.169.254/", "http://2130706433/",
     "file:///etc/passwd", "ftp://example.com/", "nonsense", "", "http://", "http://example.com:22/", "http://a b/",
     "http://\uff11\uff12\uff17.0.0.1/", "http://[::1", "http://example.com:x/", "http://" + "a" * 70_000],
)  # fmt: skip
def test_on_aws_settings_nothing_private_and_nothing_odd(url: str) -> None:
    with pytest.raises(PageError):
        read(url)


def test_an_international_name_is_asked_for_in_its_ascii_form(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def resolve(host: str, _port: int) -> list[str]:
        asked.append(host)
        return ["10.0.0.1"]

    monkeypatch.setattr(netguard, "resolve", resolve)
    with pytest.raises(PageError, match="cannot be reached from here"):
        read("http://münchen.example/")
    assert asked == ["xn--mnchen-3ya.example"]


@pytest.mark.parametrize(
    ("html", "text"),
    [("a < b and c > d", "a < b and c > d"), ("<p title='x>y'>in</p>", "in"), ("&lt;b&gt;", "<b>"),
     ("<script src=x>a</SCRIPT >b", "b"), ("<svg/>x", "x"), ("<![CDATA[x]]>y", "y"), ("<?php x ?>y", "y"),
     ("<style>a{}", ""), ("one<!-- never closed", "one"), ("one<a href='", "one"), ("<div>a</div><div>b</div>", "a\nb"),
     ("a<i>b</i>c", "abc"), ("&#x110000;&#0;x", "\ufffd\ufffdx"), ("  a \n\t b  ", "a\nb")],
)  # fmt: skip
def test_html_becomes_what_a_reader_sees(html: str, text: str) -> None:
    assert readable(html) == text


@given(st.text(alphabet="<>/!-?a=\"' &;#[]scriptyle", max_size=400))
def test_any_markup_is_reduced(html: str) -> None:
    assert len(readable(html)) <= len(html)


def test_a_page_whose_markup_never_ends_is_read(open_site: Site) -> None:
    assert read(open_site.url + "/unfinished") == ["seen"]
