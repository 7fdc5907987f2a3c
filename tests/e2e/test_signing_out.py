"""What somebody began ends when they sign out: it goes on neither as nobody nor as who signs in next."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable

from playwright.sync_api import Page, Request, expect

from tests.e2e.conftest import Dashboard
from tests.e2e.held import Held, is_answered
from tests.stack_fixture import LASTING, Stack

AT_ONCE = 5
"""How many runs the page cancels at once."""
MORE = AT_ONCE + 2
"""Runs to cancel."""


def signs_in_as_another(page: Page, key: str) -> None:
    page.get_by_role("button", name="Sign out").click()
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()


def test_no_more_runs_are_cancelled(dashboard: Dashboard, stack: Stack) -> None:
    user = f"many-{secrets.token_hex(3)}"
    key = stack.new_key(user, "load")
    runs = [stack.submit(f"[[sim key={user} {LASTING}]] A long one.", key) for _ in range(MORE)]
    page = dashboard.open("operator")
    with Held(page, r"/operator/tasks/[^/]+/cancel", "POST") as held:
        page.evaluate("user => location.hash = `#/all?user=${user}`", user)
        expect(page.locator("tr[data-task]")).to_have_count(MORE)
        page.get_by_role("button", name="Cancel all that fit").click()
        page.get_by_role("button", name="Really cancel them all?").click()
        asked = [held.next() for _ in range(AT_ONCE)]
        signs_in_as_another(page, stack.keys["demo"])
        for route in asked:
            route.fulfill(json={"status": "cancelled"})
        is_answered(page)
        assert held.routes == asked
    assert {stack.client(key).get(f"/result/{one}").json().get("cancel_requested") for one in runs} == {None}
    stack.hurry(user)


def test_a_submit_that_found_nobody_is_not_tried_again_as_another(
    dashboards: Callable[..., Dashboard], stack: Stack
) -> None:
    dashboard = dashboards(fresh=True)  # its clock is another
    dashboard.expected = re.compile("ERR_FAILED")
    page = dashboard.open("vip")
    submitted: list[Request] = []
    page.on("request", lambda request: submitted.append(request) if request.url.endswith("/agent") else None)
    page.route(re.compile("/agent$"), lambda route: route.abort())
    page.evaluate("""() => {
      const later = window.setTimeout;
      window.tries = [];
      window.setTimeout = (work, ms, ...more) => (ms === 500 ? tries.push(work) : later(work, ms, ...more));
    }""")
    page.locator("#message").fill("Mine alone.")
    page.get_by_role("button", name="Run", exact=True).click()
    page.wait_for_function("() => tries.length === 1")  # a bare expression is `eval`ed, which the page forbids
    page.unroute(re.compile("/agent$"))
    signs_in_as_another(page, stack.keys["demo"])
    page.evaluate("tries.forEach(again => again())")
    is_answered(page)
    assert len(submitted) == 1


SOCKETS = """() => {
  document.body.dataset.stream = "false";
  window.sockets = [];
  window.WebSocket = class {
    constructor() { sockets.push(this); }
    send() {}
    close() {}
  };
}"""
"""Has a page open connections that a test opens and ends."""


def test_a_connection_that_ends_late_leaves_the_next_one_alone(dashboards: Callable[..., Dashboard]) -> None:
    dashboard = dashboards(fresh=True)  # its connections are others
    page = dashboard.open("vip")
    page.evaluate(SOCKETS)
    page.route(re.compile(r"/stream-ticket$"), lambda route: route.fulfill(json={"ticket": "t", "url": "wss://x"}))
    started = {"seq": 1, "type": "started", "at": "2026-01-01T00:00:00Z", "data": {}}
    of_run = {"task_id": "task_1", "status": "processing", "created_at": started["at"], "attempts": 0}
    found = of_run | {"events": [started], "last_seq": 1}
    page.route(re.compile(r"/result/task_1\b"), lambda route: route.fulfill(json=found))
    page.evaluate("location.hash = '#/runs/task_1'")
    mode = page.locator("#mode")
    for n in range(2):
        page.wait_for_function("n => sockets.length === n + 1", arg=n)
        page.evaluate("n => sockets[n].onopen()", n)
        expect(mode).to_have_text("Live")
        if n == 0:
            signs_in_as_another(page, dashboard.stack.keys["demo"])
    page.evaluate("sockets[0].onclose()")
    is_answered(page)
    expect(mode).to_have_text("Live")
    assert page.evaluate("sockets.length") == 2
