"""What somebody presses twice is done once, and what came of it stays to be read while the page goes on looking."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from playwright.sync_api import Page, Route, expect

from tests.e2e.conftest import Dashboard
from tests.e2e.held import POLLS, Held, is_answered

RUN = {
    "task_id": "task_1",
    "status": "failed",
    "created_at": "2026-01-01T00:00:00Z",
    "agent": "chat",
    "message": "A run.",
    "user": "somebody",
    "tier": "vip",
    "attempts": 0,
    "cost_usd": 0,
}
LISTED = {"tasks": [RUN | {"status": "processing"}], "next_cursor": None}
TOLD = "Not this time."
REFUSED = {"error": {"code": "conflict", "message": TOLD}}
MEANT = "button => { button.click(); button.click(); }"
"""Presses twice, each by itself: what is not pressed again for seconds is taken back."""


@dataclass
class Place:
    """A view with something to press: what it looks at, what is pressed, and what that asks for."""

    view: str
    looks_at: str
    found: dict[str, Any]
    button: str
    asks_for: str
    method: str = "POST"
    keeps_focus: bool = True
    written: dict[str, str] = field(default_factory=dict)


ASKED = {
    "task_id": "task_1",
    "fingerprint": "f1",
    "name": "ask",
    "tool": "calculator",
    "arguments": {},
    "agent": "tools",
}
PLACES = (
    Place(
        "schedules",
        r"/schedules\?",
        {"schedules": []},
        "Make schedule",
        r"/schedules$",
        written={"Message": "Again.", "Cron": "0 8 * * *"},
    ),
    Place("approvals", r"/approvals\?", {"approvals": [ASKED]}, "Allow", r"/approvals/f1$"),
    Place(
        "account",
        "/me/alerts$",
        {"alerts": None, "recent": []},
        "Save",
        "/me/alerts$",
        method="PUT",
        written={"Webhook address": "https://example.com/budget"},
    ),
    Place("all/task_1", r"/operator/tasks/task_1\?", RUN, "Run again", "/task_1/retry$"),
    Place("runs", r"/agent\?", LISTED, "Cancel A run.", "/task_1/cancel$", keeps_focus=False),
    Place("all", r"/operator/tasks\?", LISTED, "Cancel A run.", "/task_1/cancel$", keeps_focus=False),
)


def test_once_and_what_came_of_it(dashboard: Dashboard) -> None:
    dashboard.expected = re.compile("status of (409|503)")
    page = dashboard.open("operator")
    page.route(re.compile("/task_1/events"), lambda route: route.fulfill(json={"events": [], "last_seq": 0}))
    for place in PLACES:
        once_at(page, place)


def once_at(page: Page, place: Place) -> None:
    is_away = True

    def look(route: Route) -> None:
        if route.request.method != "GET":
            route.fallback()
        elif is_away:
            route.fulfill(status=503, body="<html>")
        else:
            route.fulfill(json=place.found)

    page.route(re.compile(place.looks_at), look)
    page.evaluate("view => location.hash = `#/${view}`", place.view)
    away = page.get_by_text("Unexpected answer (503).")
    expect(away).to_be_visible()
    is_away = False
    page.evaluate(POLLS)
    expect(away).to_have_count(0)
    button = page.get_by_role("button", name=place.button).first
    for label, text in place.written.items():
        page.get_by_label(label).fill(text)
    told = page.get_by_text(TOLD)
    with Held(page, place.asks_for, place.method) as held, Held(page, place.looks_at) as looks:
        button.dblclick()
        asked = held.next()
        is_answered(page)
        assert held.routes == [asked], place
        asked.fulfill(status=409, json=REFUSED)
        expect(told).to_be_visible()
        button.click()  # at once: how it is now has not been read again
        held.next().fulfill(status=409, json=REFUSED)
        expect(told).to_be_visible()
        looks.answer(place.found)
        looks.answer(place.found)
        is_answered(page)
        expect(told).to_be_visible()
        if place.keeps_focus:
            expect(button).to_be_focused()
        button.click()
        held.answer({"task_id": "task_1", "status": "queued"})
        looks.answer(place.found)
        expect(told).to_have_count(0)


def test_the_next_is_made_before_the_list_is_read_again(dashboard: Dashboard) -> None:
    page = dashboard.open("vip")
    page.route(re.compile(r"/schedules\?"), lambda route: route.fulfill(json={"schedules": []}))
    page.evaluate("location.hash = '#/schedules'")
    expect(page.get_by_text("There are no schedules yet.")).to_be_visible()
    with Held(page, "/schedules$", "POST") as held, Held(page, r"/schedules\?") as looks:
        for message in ("The first.", "The second."):
            page.get_by_label("Message").fill(message)
            page.get_by_label("Cron").fill("0 8 * * *")
            page.get_by_role("button", name="Make schedule").click()
            asked = held.next()
            assert asked.request.post_data_json["run"] == {"message": message}
            asked.fulfill(status=201, json={"schedule_id": message})
            expect(page.get_by_label("Message")).to_have_value("")
        looks.answer({"schedules": []})


def test_a_card_can_be_pressed_before_it_is_read_again(dashboard: Dashboard) -> None:
    page = dashboard.open("vip")
    one = {"schedule_id": "s1", "cron": "0 8 * * *", "timezone": "UTC", "paused": False, "run": {"message": "Daily."}}
    page.route(re.compile(r"/schedules\?"), lambda route: route.fulfill(json={"schedules": [one]}))
    page.evaluate("location.hash = '#/schedules'")
    card = page.locator("article[data-schedule]")
    with (
        Held(page, "/schedules/s1$", "PATCH") as paused,
        Held(page, "/schedules/s1$", "DELETE") as gone,
        Held(page, r"/schedules\?") as looks,
    ):
        looks.answer({"schedules": [one]})
        card.get_by_role("button", name="Pause").click()
        paused.answer(one)
        expect(page.locator("#announce")).to_have_text("Schedule paused")
        card.get_by_role("button", name="Delete").dblclick()
        gone.answer({})
        expect(card).to_be_hidden()
        looks.answer({"schedules": [one]})
        is_answered(page)
        expect(card).to_be_hidden()
        looks.answer({"schedules": []})
        expect(page.get_by_text("There are no schedules yet.")).to_be_visible()
        assert len(gone.routes) == 1


def test_all_that_fit_are_cancelled_but_the_one_that_is_gone(dashboard: Dashboard) -> None:
    dashboard.expected = re.compile("status of (404|503)")
    page = dashboard.open("operator")
    runs = [RUN | {"task_id": f"task_{n}", "status": "processing"} for n in range(7)]
    button = page.locator("button.danger", has_text=re.compile("Cancel all that fit|Really cancel them all"))
    with Held(page, r"/operator/tasks/[^/]+/cancel$", "POST") as held:
        page.route(re.compile(r"/operator/tasks\?"), lambda route: route.fulfill(json=LISTED | {"tasks": runs}))
        page.evaluate("location.hash = '#/all?users=somebody'")
        expect(page.locator("tr[data-task]")).to_have_count(7)
        expect(button).to_be_hidden()  # misspelt, and so everybody's
        page.evaluate("location.hash = '#/all?user=somebody'")
        button.focus()
        for key in (page.keyboard.down, page.keyboard.down, page.keyboard.up):  # the second repeats it
            key("Enter")
        page.evaluate("location.hash = '#/all?user=another'")
        expect(button).to_have_text("Cancel all that fit")
        button.dblclick()
        is_answered(page)
        assert held.routes == []
        button.evaluate(MEANT)
        gone, *others = [held.next() for _ in range(5)]
        gone.fulfill(status=404, json={"error": {"code": "not_found", "message": "no such task"}})
        for route in others:
            route.fulfill(json={"status": "cancelled"})
        for _ in range(2):
            held.answer({"status": "cancelled"})
        expect(page.get_by_text("6 runs are cancelled, but not all: No such task.")).to_be_visible()
        button.evaluate(MEANT)
        for route in [held.next() for _ in range(5)]:
            route.fulfill(status=503, body="<html>")
        expect(page.get_by_text("0 runs are cancelled, but not all: Unexpected answer (503).")).to_be_visible()
        is_answered(page)
        assert len(held.routes) == 12


def test_who_leaves_is_told_how_many_are_cancelled(dashboard: Dashboard) -> None:
    page = dashboard.open("operator")
    runs = [RUN | {"task_id": f"task_{n}", "status": "processing"} for n in range(3)]
    button = page.locator("button.danger", has_text=re.compile("Cancel all that fit|Really cancel them all"))
    answer = LISTED | {"tasks": runs, "next_cursor": "more"}
    page.route(re.compile(r"/operator/tasks\?"), lambda route: route.fulfill(json=answer))
    with Held(page, r"/operator/tasks/[^/]+/cancel$", "POST") as held:
        page.evaluate("location.hash = '#/all?user=somebody'")
        expect(page.locator("tr[data-task]")).to_have_count(3)
        button.evaluate(MEANT)
        asked = [held.next() for _ in range(3)]
        page.evaluate("location.hash = '#/schedules'")
        expect(page.get_by_role("heading", name="Schedules")).to_be_visible()
        for route in asked:
            route.fulfill(json={"status": "cancelled"})
        told = "3 runs are cancelled, but perhaps not all: you went elsewhere"
        expect(page.locator("#announce")).to_have_text(told)
        assert len(held.routes) == 3


def test_why_a_run_is_not_run_again_stays_beside_why_it_failed(dashboard: Dashboard) -> None:
    dashboard.expected = re.compile("status of 409")
    page = dashboard.open("vip")
    failed = {
        "seq": 1,
        "type": "failed",
        "at": RUN["created_at"],
        "data": {"error": {"code": "odd", "message": "Why."}},
    }
    page.route(
        re.compile("/result/task_1"), lambda route: route.fulfill(json=RUN | {"events": [failed], "last_seq": 1})
    )
    with Held(page, "/task_1/retry$", "POST") as held:
        page.evaluate("location.hash = '#/runs/task_1'")
        page.get_by_text("Run again or fork").click()
        page.get_by_role("button", name="Run again").click()
        held.next().fulfill(status=409, json={"error": {"code": "conflict", "message": TOLD}})
        expect(page.get_by_text(TOLD)).to_be_visible()
        with page.expect_response(re.compile("/result/task_1$")):
            page.evaluate(POLLS)
        is_answered(page)
        page.evaluate("new Promise(requestAnimationFrame)")
        expect(page.get_by_role("alert").filter(has_text="odd: Why.")).to_be_visible()
        expect(page.get_by_text(TOLD)).to_be_visible()
