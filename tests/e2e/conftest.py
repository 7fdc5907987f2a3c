"""A real headless Chromium in front of the deployed dashboard; every test also fails on an error in its console."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Dialog, Page, expect, sync_playwright

from tests.stack_fixture import Stack

ARTIFACTS = Path(__file__).resolve().parents[2] / ".artifacts" / "dashboard"
"""Where screenshots are kept; git ignores it."""
PICTURES = os.environ.get("SLUICE_PICTURES") == "1"
"""Whether they are made: no test looks at one."""
NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "chrome")
"""What a browser is called; the first has no windows at all, and takes the least processor time."""
FEATURES_OFF = (
    # The suggestions of an address bar that nobody sees: a page and a process of their own for each window.
    "WebUIOmniboxPopup", "WebUIOmniboxAimPopup", "WebUIOmniboxFullPopup",
    # A process kept ready for each next page of another site.
    "SpareRendererForSitePerProcess",
    # What Playwright turns off itself: the browser obeys the last list only.
    "AvoidCorsURLLoaderRestartOnRedirect", "AvoidUnnecessaryBeforeUnloadCheckSync", "AimEnabled",
    "DestroyProfileOnBrowserClose", "HttpsFirstBalancedModeAutoEnable", "HttpsUpgrades", "LensOverlay", "MediaRouter",
    "NetworkTimeServiceQuerying", "OptimizationHints", "PaintHolding", "PreconnectToSearch",
    "ThirdPartyStoragePartitioning",
)  # fmt: skip
"""Two thirds of the browser's processor time."""
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--renderer-process-limit=1",  # each starts for a tenth of a second
    "--js-flags=--no-opt --no-maglev",  # what is compiled once more, for speed, is not used for long: axe, above all
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    f"--disable-features={','.join(FEATURES_OFF)}",
]
PATIENCE_MS = 120_000
"""How long a page is waited for: longer than a batch waits for the sweeper when Valkey stood still (`LOOK_SECONDS`)."""
SLOW_MACHINE = re.compile(r"status of 503 .*/health$")
"""What no test is to blame for: its machine was so busy that the local DynamoDB took over two seconds."""
LEAVES = """() => {
  const out = document.querySelector("#sign-out");
  const may = out && !out.hidden && !document.documentElement.dataset.theme;
  if (may) out.click();
  localStorage.clear();
  sessionStorage.clear();
  if (!may) return false;
  document.querySelector("#announce").textContent = "";
  history.replaceState(null, "", location.pathname);
  return true;
}"""
"""Has a page that somebody is signed in to be as one that was just loaded; tells whether it is."""
OF_A_CONTEXT = ("is_mobile", "has_touch")
"""What cannot be changed for a single page."""


def chromium() -> str:
    """Return the browser's path (``SLUICE_BROWSER`` or the system's); skips, or fails where one is required."""
    found = os.environ.get("SLUICE_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        why = "no Chromium: install it (`apt-get install chromium`) or name it with SLUICE_BROWSER"
        if os.environ.get("SLUICE_REQUIRE_BROWSER") == "1":
            pytest.fail(why)
        pytest.skip(why)
    return found


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = chromium()
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as tool:
        started = tool.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield started
        started.close()


class Dashboard:
    """A page with the dashboard, and what a reader does with it."""

    def __init__(self, page: Page, stack: Stack, name: str) -> None:
        self.page = page
        self.page.set_default_timeout(PATIENCE_MS)
        self.stack = stack
        self.name = name
        self.problems: list[str] = []
        self.expected: re.Pattern[str] | None = None
        """What the console may say in this test."""
        self._listeners: dict[Any, Callable[[Any], None]] = {
            "console": self._console,
            "pageerror": lambda error: self.problems.append(str(error)),
            "dialog": self._dialog,
        }
        for event, told in self._listeners.items():
            self.page.on(event, told)

    def _console(self, message: ConsoleMessage) -> None:
        said = f"{message.text} {message.location['url']}"
        expected = SLOW_MACHINE.search(said) or (self.expected and self.expected.search(message.text))
        if message.type in ("error", "warning") and not expected:
            self.problems.append(said)

    def _dialog(self, dialog: Dialog) -> None:
        self.problems.append("a dialog was opened")
        dialog.dismiss()

    def leave(self) -> None:
        """Sign out and leave the page as a new one: nothing of this test is remembered, and nobody listens."""
        for event, told in self._listeners.items():
            self.page.remove_listener(event, told)
        # One that answers just now would find its request answered; one that a failed test holds never answers.
        self.page.unroute_all(behavior="ignoreErrors")
        if not (self.page.url.startswith(self.stack.api_url) and self.page.evaluate(LEAVES)):
            self.page.goto("about:blank")

    def open(self, user: str | None = None) -> Page:
        """Show the form that asks for a key; signs in as a seeded user, or with a key's own text.

        A page that a test before has left shows it already: to load it anew takes most of what a short test takes.
        """
        if not (self.page.url == f"{self.stack.api_url}/" and self.page.evaluate("!!document.querySelector('#key')")):
            self.page.goto(f"{self.stack.api_url}/")
        if user is not None:
            self.page.get_by_label("API key").fill(self.stack.keys.get(user, user))
            self.page.get_by_role("button", name="Sign in").click()
            expect(self.page.get_by_role("button", name="Sign out")).to_be_visible()
        return self.page

    def submit_slow(self, message: str) -> tuple[str, str]:
        """Submit what is answered three words a second, until `Stack.hurry` gets its key; returns task id and key."""
        key = f"slow-{secrets.token_hex(4)}"
        return self.submit(f"[[sim key={key} words=900 latency=300 ttft=0.2]] {message}"), key

    def submit(self, message: str) -> str:
        """Submit with the form; returns the task's id once its run is shown."""
        self.page.locator("#message").fill(message)
        self.page.get_by_role("button", name="Run", exact=True).click()
        return self.task_id()

    def task_id(self) -> str:
        """Return the id of the run that is shown, once there is one."""
        self.page.wait_for_url(re.compile(r"#/runs/task_"))
        return self.page.url.rpartition("/")[2]

    def status(self, text: str) -> None:
        """Wait until the run that is shown has a status."""
        expect(self.page.locator(".run .badge")).to_have_text(text)

    def output(self) -> str:
        """Return the answer as far as it is there."""
        return self.page.locator("#output").text_content() or ""

    def wait_for_output(self, characters: int) -> str:
        """Wait until so much of the answer is there, and return it."""
        enough = "n => document.querySelector('#output')?.textContent.length >= n"
        self.page.wait_for_function(enough, arg=characters, polling=50)  # else it is asked for each frame it then draws
        return self.output()

    def picture(self, what: str, *, whole: bool = False) -> None:
        """Keep a screenshot, if any are wanted."""
        if not PICTURES:
            return
        ARTIFACTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=ARTIFACTS / f"{self.name}-{what}.png", full_page=whole)


@pytest.fixture(scope="session")
def profile(browser: Browser) -> Callable[..., BrowserContext]:
    """Return the one browser profile for a kind of device.

    The dashboard's files are fetched once, as a reader's browser does: each is a request to the API otherwise, forty
    for each test. What a page remembers itself is cleared by `dashboards`.
    """
    made: dict[str, BrowserContext] = {}

    def find(**device: Any) -> BrowserContext:
        name = repr(sorted(device.items()))
        if name not in made:
            made[name] = browser.new_context(**device)
        return made[name]

    return find


@pytest.fixture(scope="session")
def left() -> defaultdict[str, list[Page]]:
    """Pages that a test has left, by kind of device: to make one takes a third of the time that it takes to use it."""
    return defaultdict(list)


@pytest.fixture
def dashboards(
    profile: Callable[..., BrowserContext],
    left: defaultdict[str, list[Page]],
    stack: Stack,
    request: pytest.FixtureRequest,
) -> Iterator[Callable[..., Dashboard]]:
    """Make dashboards, each a page of its own, which nobody has signed in to; at the end their consoles must be clean.

    Takes Playwright's options of a context: the looks. A ``fresh`` one is for a test that changes its page for good.
    """
    made: list[tuple[Dashboard, list[Page] | None]] = []
    name = request.node.name.removeprefix("test_")

    def make(*, fresh: bool = False, **options: Any) -> Dashboard:
        # Whoever asks for less motion gets none: a badge that breathes is drawn sixty times a second.
        looks: dict[str, Any] = {"color_scheme": "light", "reduced_motion": "reduce"} | options
        viewport = looks.pop("viewport", {"width": 1440, "height": 900})
        device = {name: looks.pop(name) for name in OF_A_CONTEXT if name in looks}
        spare = None if fresh else left[repr(device)]
        page = spare.pop() if spare else profile(**device).new_page()
        page.set_viewport_size(viewport)
        page.emulate_media(**looks)
        dashboard = Dashboard(page, stack, name)
        made.append((dashboard, spare))
        return dashboard

    yield make
    for one, spare in made:
        one.leave()
        if spare is None:
            one.page.close()
        else:
            spare.append(one.page)
    assert [problem for one, _ in made for problem in one.problems] == []


@pytest.fixture
def dashboard(dashboards: Callable[..., Dashboard]) -> Dashboard:
    """A dashboard on a desktop."""
    return dashboards()
