"""Everyone's runs, approvals and steps over time in a real browser; every page held against the rules of axe."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, Route, expect

from tests.e2e.conftest import Dashboard
from tests.e2e.readable import PHONE, SIZES, fits, unreadable
from tests.stack_fixture import Stack


@pytest.fixture(scope="module")
def furnished(stack: Stack) -> dict[str, str]:
    """A user's key with a complete run, a failed one, and one that waits for approval."""
    user = f"pages-{secrets.token_hex(3)}"
    key = stack.new_key(user, "vip")
    done = stack.submit("What is 17 * 25? [[sim words=30]]", key, agent="tools")
    tool = '[[sim tool=calculator args={"expression": "2+2"} rounds=1]]'
    asks = stack.submit(f"Add two and two. {tool}", key, agent="tools", approve=True)
    failed = stack.submit("[[sim fail=400]] This one fails.", key)
    stack.result(done, key)
    stack.result(failed, key)
    return {"user": user, "key": key, "done": done, "failed": failed, "asks": asks}


def test_a_run_shows_its_steps_over_time_and_why_another_failed(
    dashboard: Dashboard, furnished: dict[str, str]
) -> None:
    page = dashboard.open(furnished["key"])
    row = page.locator(f"tr[data-task={furnished['failed']}]")
    expect(row).to_contain_text("This one fails.")
    expect(row.locator(".run-why")).to_contain_text("invalid_request")
    page.locator(f"tr[data-task={furnished['done']}] a").click()
    expect(page.locator(".waterfall .stretch[data-kind=model]").first).to_be_visible()
    page.get_by_text("Raw", exact=True).click()
    expect(page.locator(".raw")).to_contain_text(furnished["done"])
    dashboard.picture("run", whole=True)


def multiplies(stack: Stack, key: str) -> str:
    """Submit a run that asks before it multiplies; returns its id."""
    tool = '[[sim tool=calculator args={"expression": "6*7"} rounds=1]]'
    return stack.submit(f"Multiply. {tool}", key, agent="tools", approve=True)


def test_a_user_allows_a_call_that_waits_for_them(
    dashboard: Dashboard, stack: Stack, furnished: dict[str, str]
) -> None:
    key, task_id = furnished["key"], multiplies(stack, furnished["key"])
    page = dashboard.open(key)
    page.get_by_role("link", name="Approvals").click()
    card = page.locator(f'.approval:has(a[href="#/runs/{task_id}"])')
    expect(card.locator("textarea")).to_have_value(re.compile(r"6\*7"))
    dashboard.picture("approvals", whole=True)
    card.get_by_role("button", name="Allow").click()
    expect(card).to_have_count(0)
    assert stack.result(task_id, key)["status"] == "complete"


def test_an_operator_finds_a_users_run_by_address_and_cancels_another(
    dashboard: Dashboard, stack: Stack, furnished: dict[str, str]
) -> None:
    long = stack.submit("[[sim latency=300 words=900]] A long one.", furnished["key"])
    page = dashboard.open("operator")
    page.get_by_role("link", name="Everyone").click()
    page.get_by_label("User", exact=True).fill(furnished["user"])
    page.get_by_label("Error code").fill("invalid_request")
    page.get_by_role("button", name="Search").click()
    expect(page.locator("tr[data-task]")).to_have_count(1)
    assert "error=invalid_request" in page.url
    dashboard.picture("search", whole=True)
    page.reload()
    expect(page.get_by_label("User", exact=True)).to_have_value(furnished["user"])
    page.locator(f"tr[data-task={furnished['failed']}] a").click()
    expect(page.locator(".message")).to_contain_text("This one fails.")
    expect(page.locator(".problem")).to_contain_text("invalid_request")
    dashboard.picture("anybodys-run", whole=True)
    page.goto(f"{stack.api_url}/#/all/{long}")
    page.get_by_role("button", name="Cancel run").click()
    expect(page.locator(".run .badge").first).to_have_text("Cancelled")
    acts = stack.client("operator").get("/operator/audit").json()["acts"]
    assert [act["what"] for act in acts if act["task_id"] == long] == ["cancel"]


def test_a_user_answers_a_call_on_the_page_of_its_run(
    dashboard: Dashboard, stack: Stack, furnished: dict[str, str]
) -> None:
    key, task_id = furnished["key"], multiplies(stack, furnished["key"])
    page = dashboard.open(key)
    page.goto(f"{stack.api_url}/#/runs/{task_id}")
    card = page.locator(".run .approval")
    expect(card.get_by_role("heading", name="calculator")).to_be_visible()
    expect(page.get_by_role("button", name="Copy answer")).to_be_hidden()
    dashboard.picture("run-that-asks", whole=True)
    card.get_by_label("Arguments").fill('{"expression": "6*8"}')
    card.get_by_role("button", name="Allow").click()
    expect(card).to_have_count(0)
    expect(page.locator("#output")).to_contain_text("48")
    assert stack.result(task_id, key)["status"] == "complete"


def test_runs_that_took_hours_fit_a_phone(
    dashboards: Callable[..., Dashboard], stack: Stack, furnished: dict[str, str]
) -> None:
    def hours(route: Route) -> None:
        answer = route.fetch()
        times = {"created_at": "2026-01-01T00:00:00Z", "started_at": "2026-01-01T11:59:00Z", "cost_usd": 0.000183}
        tasks = [task | times for task in answer.json()["tasks"]]
        route.fulfill(response=answer, json=answer.json() | {"tasks": tasks})

    dashboard = dashboards(**PHONE)
    page = dashboard.open("operator")
    page.route(re.compile(r"/operator/tasks\?"), hours)
    page.goto(f"{stack.api_url}/#/all?user={furnished['user']}")
    asks = page.locator(f"tr[data-task={furnished['asks']}]")
    expect(asks).to_contain_text("11 h 59 min")
    expect(asks).to_contain_text(re.compile(r"\d d \d+ h"))
    expect(asks).to_contain_text("Waits for approval of calculator")
    expect(page.get_by_role("button", name="Cancel Add two and two.")).to_be_visible()
    dashboard.picture("hours", whole=True)
    assert fits(page)


@pytest.mark.parametrize("size", SIZES)
def test_every_page_can_be_read_by_everybody(
    dashboards: Callable[..., Dashboard], stack: Stack, furnished: dict[str, str], size: str
) -> None:
    user, operator = dashboards(**SIZES[size]), dashboards(**SIZES[size])
    found: dict[str, list[str]] = {}

    def look_at(page: Page, name: str) -> None:
        found[name] = unreadable(page)

    page = user.open()
    expect(page.get_by_label("API key")).to_be_visible()
    look_at(page, "sign in")
    page = user.open(furnished["key"])
    expect(page.locator("tr[data-task]").first).to_be_visible()
    look_at(page, "runs")
    page.goto(f"{stack.api_url}/#/runs/{furnished['done']}")
    expect(page.locator(".waterfall .stretch").first).to_be_visible()
    look_at(page, "run")
    page.goto(f"{stack.api_url}/#/approvals")
    expect(page.locator(".approval").first).to_be_visible()
    look_at(page, "approvals")
    page = operator.open("operator")
    page.goto(f"{stack.api_url}/#/all?user={furnished['user']}")
    expect(page.locator("tr[data-task]").first).to_be_visible()
    look_at(page, "everyone")
    page.goto(f"{stack.api_url}/#/all/{furnished['failed']}")
    expect(page.locator(".timeline li").first).to_be_visible()
    look_at(page, "anybody's run")
    page.goto(f"{stack.api_url}/#/system")
    expect(page.get_by_role("heading", name="Circuit breakers")).to_be_visible()
    expect(page.locator(".spenders tr").nth(1)).to_be_visible()
    look_at(page, "system")
    operator.picture(f"system-{size}", whole=True)
    assert {name: each for name, each in found.items() if each} == {}
