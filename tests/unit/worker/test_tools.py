"""The tools: arithmetic that cannot run away, time, and pages that cannot reach inside."""

import asyncio
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.worker.tools import page
from functions.worker.tools.calculator import EXPRESSION_CHARACTERS, CalculatorError, evaluate
from functions.worker.tools.page import PAGE_BYTES, PageError, fetch_page, pages_client, readable
from functions.worker.tools.toolbox import TOOLS, ToolError
from shared.settings import settings


@pytest.mark.parametrize(
    ("expression", "value"),
    [("1+2*3", 7), ("(1+2)*3", 9), ("2**10", 1024), ("2^10", 1024), ("-7//2", -4), ("7%3", 1), ("sqrt(16)", 4.0),
     ("max(1, 2, 3)", 3), ("round(2.567, 1)", 2.6), ("pi > 3" if False else "pi", 3.141592653589793)],
)  # fmt: skip
def test_arithmetic(expression: str, value: float) -> None:
    assert evaluate(expression) == value


@pytest.mark.parametrize(
    "expression",
    ["9**9**9", "2**99999", "(2**4000)*(2**4000)", "1/0", "round(5, -10**9)", "round(5, 1.5)",
     "__import__('os')", "(1).__class__", "lambda: 1", "[1]*9",
     "'a'*9", "a", "1 if 1 else 2", "True", "(-8)**0.5", "1e308*10", "sqrt(-1)", "", "1+" * 250 + "1", "(" * 400,
     "10**400*1.5",
     "max()", "f(1)", "abs(x=1)", "1\n+\n1;2"],
)  # fmt: skip
def test_what_is_no_bounded_arithmetic_is_refused(expression: str) -> None:
    with pytest.raises(CalculatorError):
        evaluate(expression)


def test_the_length_limit_has_two_sides() -> None:
    assert evaluate("1" + "+1" * ((EXPRESSION_CHARACTERS - 1) // 2)) == (EXPRESSION_CHARACTERS + 1) // 2
    with pytest.raises(CalculatorError):
        evaluate("1" * (EXPRESSION_CHARACTERS + 1))


@given(st.text(max_size=60))
def test_any_text_gives_a_number_or_a_clear_error(text: str) -> None:
    try:
        found: object = evaluate(text)
    except CalculatorError as error:
        found = len(str(error))
    assert isinstance(found, int | float)


class _Pages(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        routes = {
            "/html": (
                "text/html",
                b"<html><head><title>x</title></head><body><h1>Hi</h1><script>bad()</script><p>a <b>b</b></p>",
            ),
            "/json": ("application/json", b'{"a":1}'),
            "/binary": ("image/png", b"\x89PNG"),
            "/big": ("text/plain", b"x" * (PAGE_BYTES * 2)),
            "/latin": ("text/plain; charset=latin-1", "é".encode("latin-1")),
        }
        if self.path.startswith("/redirect"):
            n = int(self.path.removeprefix("/redirect"))
            self.send_response(302)
            self.send_header("location", f"/redirect{n - 1}" if n else "/json")
            self.send_header("content-length", "0")
            self.end_headers()
            return
        if self.path not in routes:
            self.send_response(404)
            self.end_headers()
            return
        kind, body = routes[self.path]
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        try:
            self.wfile.write(body)
        except ConnectionError:
            return  # the reader had enough

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Pages)
    thread = Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def read(url: str) -> str:
    async def main() -> str:
        async with pages_client() as client:
            return await fetch_page(client, url)

    return asyncio.run(main())


@pytest.fixture
def lifted(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("ALLOW_PRIVATE_ADDRESSES", "true")
    settings.cache_clear()
    yield
    monkeypatch.delenv("ALLOW_PRIVATE_ADDRESSES")
    settings.cache_clear()


@pytest.mark.usefixtures("lifted")
def test_pages_become_text(site: str) -> None:
    assert read(f"{site}/html") == "Hi\na b"
    assert read(f"{site}/json") == '{"a":1}'
    assert read(f"{site}/latin") == "é"
    assert len(read(f"{site}/big")) == page.PAGE_CHARACTERS


@pytest.mark.usefixtures("lifted")
def test_redirects_are_followed_so_far_and_no_further(site: str) -> None:
    assert read(f"{site}/redirect{page.MAX_REDIRECTS - 1}") == '{"a":1}'
    with pytest.raises(PageError, match="redirects"):
        read(f"{site}/redirect{page.MAX_REDIRECTS}")


@pytest.mark.usefixtures("lifted")
@pytest.mark.parametrize("path", ["/none", "/binary"])
def test_what_cannot_be_read_is_said(site: str, path: str) -> None:
    with pytest.raises(PageError):
        read(site + path)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/", "http://localhost/", "file:///etc/passwd", "http://[::1]/", "nonsense"]
)
def test_private_addresses_are_refused(url: str) -> None:
    with pytest.raises(PageError):
        read(url)


def test_a_redirect_into_the_private_network_is_refused(site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from shared import netguard

    port = site.rsplit(":", 1)[1]
    monkeypatch.setattr(netguard, "allowed", lambda address: address == "127.0.0.1" and False)
    with pytest.raises(PageError):
        read(f"http://public.example:{port}/redirect0")


@given(st.text(max_size=300))
def test_any_html_is_reduced(text: str) -> None:
    assert isinstance(readable(text), str)


def test_bad_arguments_are_told_to_the_model() -> None:
    async def main() -> None:
        async with pages_client() as client:
            for name, arguments in (
                ("calculator", {}),
                ("calculator", {"expression": 3}),
                ("current_time", {"timezone": "Mars/X"}),
            ):
                with pytest.raises(ToolError):
                    await TOOLS[name].run(client, arguments)
            found = await TOOLS["current_time"].run(client, {"timezone": "Europe/Paris"})
            assert found["timezone"] == "Europe/Paris"

    asyncio.run(main())
