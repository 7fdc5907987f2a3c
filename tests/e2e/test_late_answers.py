"""A list shows what was asked for last, and nothing that fits no more, however late an answer comes."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page, expect

from tests.e2e.conftest import Dashboard
from tests.e2e.held import POLLS, Held, is_answered


def answer_of(*statuses: str, cursor: str | None = None) -> dict[str, Any]:
    """Return a page of runs, each named as its status and number, such as ``failed_2``."""
    return {"tasks": [run(name) for name in statuses], "next_cursor": cursor}


def run(name: str) -> dict[str, Any]:
    return {
        "task_id": name,
        "status": name.partition("_")[0],
        "created_at": "2026-01-01T00:00:00Z",
        "agent": "chat",
        "message": name,
        "user": "somebody",
        "cost_usd": 0,
    }


def shows(page: Page, *names: str) -> None:
    expect(page.locator("tr[data-task] .run-link")).to_have_text(list(names))


def test_a_list_of_runs(dashboard: Dashboard) -> None:
    with Held(dashboard.page, r"/agent\?limit=") as held:
        page = dashboard.open("vip")
        held.answer(answer_of("complete_2", "failed_1", "complete_1"))
        shows(page, "complete_2", "failed_1", "complete_1")

        page.evaluate(POLLS)
        of_all = held.next()
        page.get_by_label("Status").select_option("complete")
        assert "status=complete" in held.answer(answer_of("complete_2", "complete_1", cursor="second"))
        shows(page, "complete_2", "complete_1")
        of_all.fulfill(json=answer_of("complete_2", "failed_1", "complete_1"))
        is_answered(page)
        shows(page, "complete_2", "complete_1")

        page.get_by_role("button", name="Show older").click()
        of_complete = held.next()
        page.get_by_label("Status").select_option("processing")
        held.answer(answer_of("processing_3", "processing_2", "processing_1", cursor="second"))
        shows(page, "processing_3", "processing_2", "processing_1")
        of_complete.fulfill(json=answer_of("complete_0"))
        is_answered(page)
        shows(page, "processing_3", "processing_2", "processing_1")

        page.get_by_role("button", name="Show older").click()
        assert "cursor=second" in held.answer(answer_of("processing_0"))
        shows(page, "processing_3", "processing_2", "processing_1", "processing_0")
        page.evaluate(POLLS)
        held.answer(answer_of("processing_4", "processing_3", "processing_1", cursor="second"))
        shows(page, "processing_4", "processing_3", "processing_1", "processing_0")  # the second has ended
        page.evaluate(POLLS)
        held.answer(answer_of("processing_4", "processing_1"))
        shows(page, "processing_4", "processing_1")


def test_a_search_among_everyones(dashboard: Dashboard) -> None:
    """Its pages may be short: the next page is the one after the last that is shown, whatever the first one says."""
    page = dashboard.open("operator")
    with Held(page, r"/operator/tasks\?") as held:
        page.evaluate("location.hash = '#/all?error=timeout'")
        held.answer(answer_of("failed_5", cursor="second"))
        shows(page, "failed_5")
        page.get_by_role("button", name="Show older").click()
        assert "cursor=second" in held.answer(answer_of("failed_4", cursor="third"))
        shows(page, "failed_5", "failed_4")
        page.evaluate(POLLS)
        held.answer(answer_of("failed_6", "failed_5", cursor="second"))
        shows(page, "failed_6", "failed_5", "failed_4")
        page.get_by_role("button", name="Show older").click()
        of_timeouts = held.next()
        assert "cursor=third" in of_timeouts.request.url
        page.evaluate("location.hash = '#/all?error=crashed'")
        held.answer(answer_of("failed_1"))
        shows(page, "failed_1")
        of_timeouts.fulfill(json=answer_of("failed_3"))
        is_answered(page)
        shows(page, "failed_1")


def test_what_somebody_writes_or_stands_on(dashboard: Dashboard) -> None:
    """It stays as it is when the page is told of what there is."""
    page = dashboard.open("vip")
    with Held(page, "/me/alerts$") as held:
        page.evaluate("location.hash = '#/account'")
        address = page.get_by_label("Webhook address")
        address.fill("https://example.com/new")
        alerts = {"webhook_url": "https://example.com/old", "thresholds": [50], "created_at": "2026-01-01T00:00:00Z"}
        held.answer({"alerts": alerts, "recent": []})
        expect(page.get_by_text("On since")).to_be_visible()
        expect(address).to_have_value("https://example.com/new")
    schedule = {
        "schedule_id": "s1",
        "cron": "0 8 * * *",
        "timezone": "UTC",
        "status": "active",
        "run": {"message": "Hi"},
    }
    with Held(page, r"/schedules\?") as held:
        page.evaluate("location.hash = '#/schedules'")
        held.answer({"schedules": [schedule]})
        pause = page.get_by_role("button", name="Pause")
        pause.focus()
        page.evaluate(POLLS)
        held.answer({"schedules": [schedule, schedule | {"schedule_id": "s2"}]})
        expect(pause).to_have_count(2)
        expect(pause.first).to_be_focused()


def test_a_call_that_was_allowed(dashboard: Dashboard) -> None:
    page = dashboard.open("vip")
    page.route(re.compile("/approvals/f1$"), lambda route: route.fulfill(json={"status": "waiting"}))
    asks = {"task_id": "task_1", "fingerprint": "f1", "name": "ask", "tool": "calculator", "arguments": {}}
    with Held(page, r"/approvals\?") as held:
        page.evaluate("location.hash = '#/approvals'")
        held.answer({"approvals": [asks]})
        page.evaluate(POLLS)
        before = held.next()
        page.get_by_role("button", name="Allow").click()
        card = page.get_by_role("heading", name="calculator")
        expect(card).to_have_count(0)
        before.fulfill(json={"approvals": [asks]})
        after = held.next()
        expect(card).to_have_count(0)
        after.fulfill(json={"approvals": []})


SOURCES = """() => {
  window.sources = [];
  window.EventSource = class {
    constructor() { sources.push(this); setTimeout(() => this.onopen()); }
    addEventListener() {}
    close() { this.closed = true; }
  };
}"""
"""Has a page note what it follows."""


def test_a_run_that_is_shown_again_is_followed_on(dashboards: Callable[..., Dashboard]) -> None:
    """What was begun to follow it at first ends nothing of the second time."""
    page = dashboards(fresh=True).open("vip")  # what it follows runs by is another
    page.evaluate(SOURCES)
    found = run("processing_1") | {"attempts": 0, "last_seq": 1}
    found["events"] = [{"seq": 1, "type": "started", "at": found["created_at"], "data": {}}]
    page.route(re.compile(r"/result/processing_1\b"), lambda route: route.fulfill(json=found))
    with Held(page, "/stream-ticket", "POST") as held:
        tickets = []
        for place in ("/processing_1", "", "/processing_1"):
            page.evaluate("place => location.hash = `#/runs${place}`", place)
            if place:
                tickets.append(held.next())
        for ticket in reversed(tickets):
            ticket.fulfill(json={"url": "https://streams.example?ticket=t"})
            is_answered(page)
        expect(page.locator("#mode")).to_have_text("Live")
        is_answered(page)
        assert page.evaluate("sources.map(one => Boolean(one.closed))") == [False]
