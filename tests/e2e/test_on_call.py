"""Stories of being on call, done in a browser: from what one is told to its cause and its remedy (docs/on-call.md)."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable

import pytest
from playwright.sync_api import Route, expect

from localstack.environ import use
from shared.settings import settings
from shared.tasks import claims, family, settle, store
from shared.tasks.model import Outcome, Status, Task
from tests.e2e.conftest import Dashboard
from tests.e2e.readable import SIZES, unreadable, violations
from tests.stack.test_local_commands import command
from tests.stack_fixture import Stack, high_lane


def family_of(user: str, stack: Stack) -> tuple[str, list[str]]:
    """Write a run with two children, as a worker does: one has ended, one runs. Returns their ids."""
    use(stack.outputs)
    settings.cache_clear()
    at = time.time()

    def made(task_id: str, **more: object) -> Task:
        values = {
            "user": user,
            "lane": "normal",
            "agent": "team",
            "model": "gpt-4o-mini",
            "created": at,
            "day": "2026-01-01",
        }
        task = store.submit(Task(task_id=task_id, **values, **more), "Write a report.")  # type: ignore[arg-type]
        held = claims.claim(task.task_id, 0)
        assert isinstance(held, Task)
        return held

    parent = made(f"task_{secrets.token_hex(16)}")
    group = family.begin(parent, family.Group("map", 1, 2))
    ids = family.ids(parent.task_id, group)
    children = [
        made(child, parent=parent.task_id, family=group.key, family_size=2, child_no=n, depth=1)
        for n, child in enumerate(ids)
    ]
    settle.settle(children[0], Outcome(status=Status.FAILED, error={"code": "timeout", "message": "it took too long"}))
    return parent.task_id, ids


@pytest.fixture(scope="module")
def tenant(stack: Stack) -> tuple[str, str]:
    """A user and their key."""
    user = f"tenant-{secrets.token_hex(3)}"
    return user, stack.new_key(user, "vip")


def test_a_user_says_my_run_hangs(dashboard: Dashboard, stack: Stack, tenant: tuple[str, str]) -> None:
    user, key = tenant
    tool = '[[sim tool=calculator args={"expression": "6*7"} rounds=1]]'
    hangs = stack.submit(f"Multiply. {tool}", key, agent="tools", approve=True)
    page = dashboard.open("operator")
    page.get_by_role("link", name="Everyone").click()
    page.get_by_label("User", exact=True).fill(user)
    page.get_by_role("button", name="Search").click()
    page.locator(f"tr[data-task={hangs}] a").click()
    expect(page.locator(".run .badge").first).to_have_text("Waiting")
    expect(page.locator(".raw")).to_contain_text("approval")
    page.get_by_role("button", name="Cancel run").click()
    expect(page.locator(".run .badge").first).to_have_text("Cancelled")


def test_a_run_failed_and_is_run_again(dashboard: Dashboard, stack: Stack, tenant: tuple[str, str]) -> None:
    user, key = tenant
    failed = stack.submit("[[sim fail=400 times=1]] This one fails once.", key)
    stack.result(failed, key)
    page = dashboard.open("operator")
    page.goto(f"{stack.api_url}/#/all?user={user}&error=invalid_request")
    page.locator(f"tr[data-task={failed}] a").click()
    expect(page.locator(".problem")).to_contain_text("The provider refused the request")
    dashboard.picture("failed", whole=True)
    page.get_by_role("button", name="Run again").click()
    page.wait_for_url(lambda url: "task_" in url and failed not in url)
    again = page.url.rpartition("/")[2]
    assert stack.result(again, key)["status"] == "complete"
    acts = stack.client("operator").get("/operator/audit").json()["acts"]
    assert [act["what"] for act in acts if act["task_id"] == failed] == ["retry"]


def test_costs_have_doubled_and_the_tenant_is_found(
    dashboard: Dashboard, stack: Stack, tenant: tuple[str, str]
) -> None:
    user, key = tenant
    stack.result(stack.submit("[[sim words=900]] A long and dear story.", key), key)
    page = dashboard.open("operator")
    page.get_by_role("link", name="System").click()
    row = page.locator(".spenders tr", has_text=user)
    expect(row).to_contain_text("%")
    dashboard.picture("spenders", whole=True)
    row.get_by_role("link").click()
    expect(page.get_by_label("User", exact=True)).to_have_value(user)
    expect(page.locator("tr[data-task]").first).to_be_visible()


@high_lane
def test_a_lane_that_stands_still_is_named_at_once(dashboard: Dashboard, stack: Stack) -> None:
    assert command(stack, "pause", "high").returncode == 0
    try:
        page = dashboard.open("operator")
        page.get_by_role("link", name="System").click()
        expect(page.locator(".alarms")).to_contain_text("The lane high is paused.")
        expect(page.locator(".alarms")).to_contain_text("make resume LANE=high")
        dashboard.picture("banner", whole=True)
        assert violations(page) == []
    finally:
        assert command(stack, "resume", "high").returncode == 0
    expect(page.locator(".alarms")).not_to_contain_text("high is paused")


@pytest.mark.parametrize(("spent", "tone"), [(7.99, None), (8.0, "warn"), (10.0, "bad")])
def test_a_budget_of_everybodys_that_is_nearly_spent_is_named(
    dashboard: Dashboard, spent: float, tone: str | None
) -> None:
    def figures(route: Route) -> None:
        answer = route.fetch()
        spend = {"day": "2026-11-28", "tokens": 5, "tokens_per_day": None, "usd": spent, "usd_per_day": 10.0}
        held = {"reserved_tokens": 0, "reserved_usd": 0.0}
        route.fulfill(response=answer, json={**answer.json(), "spend": spend | held})

    page = dashboard.open("operator")
    page.route(re.compile("/stats"), figures)
    page.get_by_role("link", name="System").click()
    expect(page.get_by_text("All users, 2026-11-28, to midnight UTC.")).to_be_visible()
    alarm = page.locator(".alarms li", has_text="of everybody's $10.00")
    if tone is None:
        expect(alarm).to_have_count(0)
    else:
        expect(alarm).to_have_attribute("data-tone", tone)
        assert violations(page) == []


def test_dead_letters_are_counted_and_shown(dashboard: Dashboard, stack: Stack, tenant: tuple[str, str]) -> None:
    use(stack.outputs)
    settings.cache_clear()
    user, _ = tenant
    at = time.time()
    dead = Task(
        task_id=f"task_{secrets.token_hex(16)}", user=user, lane="normal", agent="chat", model="gpt-4o-mini",
        created=at, day="2026-01-01",
    )  # fmt: skip
    held = claims.claim(store.submit(dead, "hi").task_id, 0)
    assert isinstance(held, Task)
    settle.settle(held, Outcome(status=Status.FAILED, error={"code": "dead_letter", "message": "given up"}))
    page = dashboard.open("operator")
    page.get_by_role("link", name="System").click()
    alarm = page.locator(".alarms li", has_text="dead letter")
    alarm.get_by_role("link", name="Show them").click()
    expect(page.locator(f"tr[data-task={dead.task_id}]")).to_be_visible()


def test_a_slow_parent_shows_which_child_it_waits_for(
    dashboards: Callable[..., Dashboard], stack: Stack, tenant: tuple[str, str]
) -> None:
    user, key = tenant
    parent, (ended, runs) = family_of(user, stack)
    mine, operator = dashboards(), dashboards()
    for dashboard, who, base in ((mine, key, "runs"), (operator, "operator", "all")):
        page = dashboard.open(who)
        page.goto(f"{stack.api_url}/#/{base}/{parent}")
        rows = page.locator(".kin li")
        expect(rows).to_have_count(2)
        expect(rows.filter(has_text="timeout")).to_contain_text("Failed")
        dashboard.picture(f"children-{base}", whole=True)
        page.locator(f'.kin a[href="#/{base}/{runs}"]').click()
        expect(page.get_by_role("link", name="another run")).to_have_attribute("href", f"#/{base}/{parent}")
    assert ended != runs


def test_a_user_forks_a_run_after_one_of_its_steps(dashboard: Dashboard, stack: Stack, tenant: tuple[str, str]) -> None:
    _, key = tenant
    tool = '[[sim tool=calculator args={"expression": "6*7"} rounds=1]]'
    first = stack.submit(f"Multiply. {tool}", key, agent="tools")
    stack.result(first, key)
    page = dashboard.open(key)
    page.goto(f"{stack.api_url}/#/runs/{first}")
    page.get_by_text("Run again or fork").click()
    page.get_by_label("Step to go on from").select_option(index=0)
    page.get_by_role("button", name="Fork after this step").click()
    page.wait_for_url(lambda url: "task_" in url and first not in url)
    dashboard.status("Complete")
    forked = stack.client(key).get(f"/result/{dashboard.task_id()}").json()
    assert forked["fork_of"] == first


@pytest.mark.parametrize("size", SIZES)
def test_schedules_are_made_paused_and_deleted(
    dashboards: Callable[..., Dashboard], stack: Stack, tenant: tuple[str, str], size: str
) -> None:
    _, key = tenant
    dashboard = dashboards(**SIZES[size])
    dashboard.expected = re.compile("422")  # the browser tells of every refusal
    page = dashboard.open(key)
    page.goto(f"{stack.api_url}/#/schedules")
    page.get_by_label("Message").fill(f"Good morning {size}")
    page.get_by_label("Cron").fill("not a cron")
    page.get_by_role("button", name="Make schedule").click()
    expect(page.locator(".problem").first).not_to_be_empty()
    page.get_by_label("Cron").fill("0 8 * * 1-5")
    page.get_by_role("button", name="Make schedule").click()
    card = page.locator("article[data-schedule]", has_text=f"Good morning {size}")
    expect(card).to_be_visible()
    card.get_by_role("button", name="Pause").click()
    expect(card).to_contain_text("paused")
    dashboard.picture(f"schedules-{size}", whole=True)
    assert unreadable(page) == []
    card.get_by_role("button", name="Delete").click()
    expect(card).to_have_count(0)


@pytest.mark.parametrize("size", SIZES)
def test_a_run_with_children_can_be_read_by_everybody(
    dashboards: Callable[..., Dashboard], stack: Stack, tenant: tuple[str, str], size: str
) -> None:
    user, key = tenant
    parent, _ = family_of(user, stack)
    page = dashboards(**SIZES[size]).open(key)
    page.goto(f"{stack.api_url}/#/runs/{parent}")
    expect(page.locator(".kin li")).to_have_count(2)
    assert unreadable(page) == []
