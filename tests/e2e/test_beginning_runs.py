"""Who goes elsewhere while a run is begun stays there; who begins it again after a lost answer begins one run."""

from __future__ import annotations

import re
from typing import Any

from playwright.sync_api import Page, expect

from tests.e2e.conftest import Dashboard
from tests.e2e.held import Held, is_answered

AT = "2026-01-01T00:00:00Z"
ENDED: dict[str, Any] = {
    "task_id": "task_1",
    "status": "complete",
    "created_at": AT,
    "agent": "chat",
    "attempts": 0,
    "user": "somebody",
    "events": [{"seq": 1, "type": "complete", "at": AT, "data": {}}],
    "last_seq": 1,
}
"""A run that has ended, as the API tells of it, and its events."""
MADE = {"task_id": "task_2", "status": "queued"}
ENDS = re.compile(r"/task_1(/events)?(\?|$)")
BEGINS = "/(agent|retry)$"


def submits(page: Page) -> None:
    page.evaluate("location.hash = '#/runs'")
    page.locator("#message").fill("Begin.")
    page.get_by_role("button", name="Run", exact=True).click()


def runs_again(page: Page) -> None:
    page.evaluate("location.hash = '#/runs/task_1'")
    page.get_by_text("Run again or fork").click()
    page.get_by_role("button", name="Run again").click()


def runs_again_as_operator(page: Page) -> None:
    page.evaluate("location.hash = '#/all/task_1'")
    page.get_by_role("button", name="Run again").click()


def test_who_is_elsewhere_when_a_run_is_begun_stays_there(dashboard: Dashboard) -> None:
    page = dashboard.open("operator")
    page.route(ENDS, lambda route: route.fulfill(json=ENDED))
    with Held(page, BEGINS, "POST") as held:
        for begins in (submits, runs_again, runs_again_as_operator):
            begins(page)
            asked = held.next()
            page.evaluate("location.hash = '#/schedules'")
            asked.fulfill(json=MADE)
            is_answered(page)
            assert page.url.endswith("#/schedules"), begins.__name__
        submits(page)
        asked = held.next()
        page.evaluate("location.hash = '#/runs/task_1'")
        page.locator("#message").fill("The next one.")
        asked.fulfill(json=MADE)
        expect(page.get_by_role("button", name="Run", exact=True)).to_be_enabled()
        assert page.url.endswith("#/runs/task_1")
        expect(page.locator("#message")).to_have_value("The next one.")


def test_a_run_that_may_have_been_begun_is_begun_once(dashboard: Dashboard) -> None:
    dashboard.expected = re.compile("status of (404|50.)")
    page = dashboard.open("operator")
    page.route(ENDS, lambda route: route.fulfill(json=ENDED))
    keys = []
    with Held(page, BEGINS, "POST") as held:
        for begins, pressed in ((submits, "Run"), (runs_again, "Run again"), (runs_again_as_operator, "Run again")):
            begins(page)
            for answer in ({"status": 504, "body": "<html>"}, {"status": 202, "body": ""}):
                asked = held.next()
                keys.append(asked.request.headers["idempotency-key"])
                asked.fulfill(**answer)
                expect(page.get_by_text(f"Unexpected answer ({answer['status']}).")).to_be_visible()
                page.get_by_role("button", name=pressed, exact=True).click()
            asked = held.next()
            keys.append(asked.request.headers["idempotency-key"])
            asked.fulfill(json=MADE)
            page.wait_for_url(re.compile("/task_2$"))
        submits(page)  # the same as before, and meant so
        keys.append(held.next().request.headers["idempotency-key"])
    assert [keys[:3], keys[3:6], keys[6:9]] == [[key] * 3 for key in keys[:9:3]]
    assert len(set(keys)) == 4


def test_a_page_that_is_loaded_anew_begins_the_same_run(dashboard: Dashboard) -> None:
    dashboard.expected = re.compile("status of (404|422)")
    page = dashboard.open("vip")
    keys = []
    with Held(page, BEGINS, "POST") as held:
        for n in range(4):
            submits(page)
            asked = held.next()
            keys.append(asked.request.headers["idempotency-key"])
            if n == 1:
                asked.fulfill(status=422, json={"error": {"code": "no", "message": "not so"}})
                expect(page.get_by_text("Not so.")).to_be_visible()
            elif n == 2:
                asked.fulfill(json=MADE)
                page.wait_for_url(re.compile("/task_2$"))
            if n == 0:
                page.reload()
    assert keys[0] == keys[1]
    assert len(set(keys)) == 3
