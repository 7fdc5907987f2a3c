"""The page of docs/api.md, as it stands there, in a real browser and from an origin that is not the API's."""

from __future__ import annotations

import re
import secrets
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.stack_fixture import PARAMETERS, Stack, quiet_port

DOCS = Path(__file__).parents[2] / "docs" / "api.md"
(EXAMPLE,) = re.findall(r"^```html\n(.*?)^```$", DOCS.read_text(), re.DOTALL | re.MULTILINE)
ALLOWED = PARAMETERS["CorsOrigins"]
REFUSED = f"http://localhost:{quiet_port(int(ALLOWED.rpartition(':')[2]))}"


class Example(BaseHTTPRequestHandler):
    """Serves the page: from a server, since a browser whose requests are intercepted asks no preflights."""

    timeout = 5
    """Browsers open connections ahead, and send nothing on some."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(EXAMPLE.encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module", autouse=True)
def _servers() -> Iterator[None]:
    servers = [
        ThreadingHTTPServer(("localhost", int(origin.rsplit(":", 1)[1])), Example) for origin in (ALLOWED, REFUSED)
    ]
    for server in servers:
        server.block_on_close = False
        threading.Thread(target=server.serve_forever, daemon=True).start()
    yield
    for server in servers:
        server.shutdown()
        server.server_close()


def opened(browser: Browser, origin: str, stack: Stack, key: str) -> Page:
    """Open the example on an origin and submit its form."""
    page = browser.new_page()
    page.goto(f"{origin}/")
    page.locator("[name=url]").fill(stack.api_url)
    page.locator("[name=key]").fill(key)
    page.locator("[name=message]").fill('[[sim say="<b>one</b> two three" latency=2]] hello')
    page.get_by_role("button", name="Run").click()
    return page


def test_the_example_watches_a_run(browser: Browser, stack: Stack) -> None:
    page = opened(browser, ALLOWED, stack, stack.keys["load"])
    expect(page.locator("#status")).to_have_text("complete")
    expect(page.locator("#answer")).to_have_text("<b>one</b> two three")
    page.close()


def tasks(stack: Stack, key: str) -> int:
    """Return how many tasks were submitted with a key."""
    return len(stack.client(key).get("/agent").json()["tasks"])


def test_the_browser_keeps_other_origins_out(browser: Browser, stack: Stack) -> None:
    key = stack.new_key(f"kept-out-{secrets.token_hex(3)}")
    stack.submit("hello", key)
    page = opened(browser, REFUSED, stack, key)
    expect(page.locator("#status")).to_have_text(re.compile("Failed to fetch"))
    assert tasks(stack, key) == 1
    page.close()


@pytest.mark.parametrize(("origin", "allowed"), [(ALLOWED, True), (REFUSED, False)], ids=["set", "other"])
def test_the_deployed_api_names_only_the_origins_that_are_set(stack: Stack, origin: str, allowed: bool) -> None:
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }
    answer = stack.client().options("/agent", headers=asked)
    assert (answer.headers.get("access-control-allow-origin") == origin) is allowed
