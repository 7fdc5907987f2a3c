"""What cannot be loaded is said, and loaded when somebody tries again."""

from __future__ import annotations

import re
from collections.abc import Callable

from playwright.sync_api import expect

from tests.e2e.conftest import Dashboard
from tests.e2e.held import POLLS, Held, is_answered


def test_it_is_tried_again(dashboards: Callable[..., Dashboard]) -> None:
    dashboard = dashboards(fresh=True)  # one that has loaded its charts has them
    dashboard.expected = re.compile("status of 503")
    page = dashboard.open("vip")
    again = page.get_by_role("button", name="Try again")
    with Held(page, "/charts.js$") as held:
        page.evaluate("location.hash = '#/costs'")
        held.next().fulfill(status=503, body="<html>")
        expect(page.get_by_text("The charts cannot be loaded.")).to_be_visible()
        again.click()
        held.next().continue_()
        expect(page.get_by_role("heading", name="Costs")).to_be_visible()
    with Held(page, "/limits$") as held:
        page.reload()
        held.next().fulfill(status=503, body="<html>")
        expect(page.get_by_text("Unexpected answer (503).")).to_be_visible()
        again.dblclick()
        asked = held.next()
        is_answered(page)
        assert held.routes[1:] == [asked]
        asked.continue_()
        expect(page.get_by_role("heading", name="Costs")).to_be_visible()


def test_figures_that_could_not_be_read_are_read_again(dashboard: Dashboard) -> None:
    dashboard.expected = re.compile("status of 503")
    page = dashboard.open("operator")
    nothing = {"groups": [], "total": {"cost_usd": 0, "tokens": 0, "runs": 0}, "next_cursor": None}
    with Held(page, r"/costs\?") as held:
        page.evaluate("location.hash = '#/costs'")
        held.next().fulfill(status=503, body="<html>")
        away = page.get_by_text("Unexpected answer (503).")
        expect(away).to_be_visible()
        show = page.get_by_role("button", name="Show", exact=True)
        show.click()  # which puts what is asked for in the address
        held.next().fulfill(status=503, body="<html>")
        expect(away).to_be_visible()
        show.click()
        held.answer(nothing)
        expect(page.get_by_text("$0 in all")).to_be_visible()
        expect(away).to_have_count(0)
        held.answer(nothing)  # the same by day
        page.evaluate("location.hash = '#/system'")
        held.answer(nothing)
        spent = page.get_by_text("Nothing was spent today.")
        expect(spent).to_be_visible()
        page.evaluate(POLLS)
        held.next().fulfill(status=503, body="<html>")
        expect(page.get_by_text("What was spent cannot be read now.")).to_be_visible()
        page.evaluate(POLLS)
        held.answer(nothing)
        expect(spent).to_be_visible()
