"""Costs, alerts and a key of one's own in a real browser: figures, what stands in the address, the file, the forms."""

from __future__ import annotations

import csv
import re
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from localstack.receiver import Receiver
from tests.e2e.conftest import Dashboard
from tests.e2e.readable import SIZES, unreadable
from tests.stack_fixture import Stack


@pytest.fixture(scope="module")
def spender(stack: Stack) -> tuple[str, str]:
    """A user with a key, whose runs have cost something."""
    user = f"spender-{secrets.token_hex(3)}"
    key = stack.new_key(user, "vip")
    for model in ("gpt-4o-mini", "gpt-4o"):
        stack.result(stack.submit("[[sim words=300 latency=0.2]] A story.", key, model=model), key)
    return user, key


def test_an_operator_sees_who_spent_and_comes_to_the_runs(
    dashboard: Dashboard, stack: Stack, spender: tuple[str, str]
) -> None:
    user, _ = spender
    page = dashboard.open("operator")
    page.get_by_role("link", name="Costs").click()
    row = page.locator(".costs tr", has_text=user)
    expect(row.locator("td").last).to_have_text("2")
    page.get_by_label("User", exact=True).fill(user)
    page.get_by_role("combobox", name="By", exact=True).select_option("model")
    page.get_by_role("button", name="Show", exact=True).click()
    page.wait_for_url(re.compile(f"by=model.*user={user}"))
    expect(page.locator(".costs tbody tr")).to_have_count(2)
    expect(page.locator(".costs-total")).to_contain_text("by 2 runs")
    expect(page.locator(".chart canvas")).to_be_visible()
    page.reload()
    expect(page.get_by_label("User", exact=True)).to_have_value(user)
    page.locator(".costs tbody a", has_text=re.compile(r"^gpt-4o$")).click()
    expect(page.locator("tr[data-task]")).to_have_count(1)
    expect(page.get_by_label("Model", exact=True)).to_have_value("gpt-4o")


def test_the_file_holds_what_the_table_shows(
    dashboard: Dashboard, stack: Stack, spender: tuple[str, str], tmp_path: Path
) -> None:
    page = dashboard.open(spender[1])
    page.goto(f"{stack.api_url}/#/costs?by=model")
    expect(page.locator(".costs tbody tr")).to_have_count(2)
    with page.expect_download() as held:
        page.get_by_role("button", name="Export CSV").click()
    assert held.value.suggested_filename.startswith("costs_model_")
    held.value.save_as(tmp_path / "costs.csv")
    with (tmp_path / "costs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    told = stack.client(spender[1]).get("/costs", params={"by": "model"}).json()
    assert [(row["model"], float(row["cost_usd"]), int(row["runs"])) for row in rows] == [
        (one["model"], one["cost_usd"], one["runs"]) for one in told["groups"]
    ]
    expect(page.get_by_label("User", exact=True)).to_have_count(0)  # that is for operators


def test_a_user_is_told_of_their_budget_where_they_say(dashboard: Dashboard, stack: Stack) -> None:
    key = stack.new_key(f"told-{secrets.token_hex(3)}", "vip", tokens_per_day=4000)
    dashboard.expected = re.compile("422")
    with Receiver() as receiver:
        page = dashboard.open(key)
        page.get_by_role("link", name="Account").click()
        page.get_by_label("Webhook address").fill("ftp://nobody.example")
        form = page.locator(".panel", has_text="Alerts of your budget")
        form.get_by_role("button", name="Save").click()
        expect(form.locator(".problem").first).not_to_be_empty()
        page.get_by_label("Webhook address").fill(receiver.url)
        page.get_by_label("80 %").uncheck()
        form.get_by_role("button", name="Save").click()
        expect(form).to_contain_text("On since")
        stack.result(stack.submit("[[sim words=2500 latency=0.2]] Tell.", key, max_output_tokens=3000), key)
        page.reload()
        expect(form.locator(".told li")).to_contain_text("50 %")
        expect(form.locator(".told li")).to_contain_text("Delivered")
        expect(page.get_by_label("80 %")).not_to_be_checked()
        dashboard.picture("alerts", whole=True)
        form.get_by_role("button", name="Turn off").click()
        expect(form).to_contain_text("Nobody is told")
    assert [one.body["data"]["threshold"] for one in receiver.deliveries] == [50]


def test_a_key_of_ones_own_has_a_price_and_is_forgotten(dashboard: Dashboard, stack: Stack) -> None:
    key = stack.new_key(f"owns-{secrets.token_hex(3)}", "vip")
    page = dashboard.open(key)
    page.get_by_role("link", name="Account").click()
    panel = page.locator(".panel", has_text="A provider's key of your own")
    panel.get_by_label("Key").fill("sk-mine-12345678")
    panel.get_by_label("Requests a minute").fill("600")
    panel.get_by_label("Input, USD per million tokens", exact=True).fill("3")
    panel.get_by_label("Output, USD per million tokens", exact=True).fill("15")
    panel.get_by_role("button", name="Save").click()
    expect(panel).to_contain_text("ends in 5678")
    expect(panel).to_contain_text("every model: $3 in, $15 out; at most 600 requests a minute")
    done = stack.result(stack.submit("[[sim words=100 latency=0.1]] Hi.", key), key)
    usage = done["usage"]
    assert usage["cost_usd"] == pytest.approx((usage["input_tokens"] * 3 + usage["output_tokens"] * 15) / 1e6, abs=1e-6)
    limits = stack.client(key).get("/limits").json()["limits"]
    assert (limits.get("usd_per_day") or {"used": 0})["used"] in (0, None)
    panel.get_by_role("button", name="Forget the key").click()
    expect(panel).to_contain_text("the deployment's key")


@pytest.mark.parametrize("size", SIZES)
def test_the_pages_of_money_can_be_read_by_everybody(
    dashboards: Callable[..., Dashboard], stack: Stack, spender: tuple[str, str], size: str
) -> None:
    found: dict[str, list[str]] = {}

    def look_at(page: Page, name: str) -> None:
        found[name] = unreadable(page)

    for who, base in (("operator", "operator"), (spender[1], "user")):
        dashboard = dashboards(**SIZES[size])
        page = dashboard.open(who)
        page.goto(f"{stack.api_url}/#/costs?by=model")
        expect(page.locator(".costs tbody tr").first).to_be_visible()
        look_at(page, f"{base}: costs")
        dashboard.picture(f"costs-{base}-{size}", whole=True)
        page.goto(f"{stack.api_url}/#/account")
        expect(page.locator(".told li").first).to_be_visible()
        look_at(page, f"{base}: account")
        dashboard.picture(f"account-{base}-{size}", whole=True)
    assert {name: each for name, each in found.items() if each} == {}


def test_a_row_whose_figures_move_between_two_pages_stands_once(dashboard: Dashboard) -> None:
    page = dashboard.open("operator")
    total = {"cost_usd": 6, "tokens": 60, "runs": 6}

    def group(user: str, usd: float) -> dict[str, Any]:
        return {"user": user, "cost_usd": usd, "tokens": 10, "runs": 1}

    first = {"groups": [group("ann", 3), group("ben", 2)], "total": total, "next_cursor": 2}
    second = {"groups": [group("ben", 2.5), group("cem", 1)], "total": total, "next_cursor": None}

    def answer(route: Route) -> None:
        route.fulfill(json=second if "cursor=2" in route.request.url else first)

    page.route(re.compile(r"/costs\?"), answer)
    page.evaluate("location.hash = '#/costs?by=user'")
    rows = page.locator("table.costs tbody tr")
    expect(rows).to_have_count(2)
    page.get_by_role("button", name="Show more").click()
    expect(rows.locator("th")).to_have_text(["ann", "ben", "cem"])
    expect(rows.nth(1)).to_contain_text("2.50")
