"""Ten stories of being on call, each with its fault brought about in the real system (docs/on-call.md).

``python -m benchmarks.on_call`` runs them and prints the table: clicks and seconds to the cause and to the remedy.
"""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import boto3
import pytest
from playwright.sync_api import Page, expect

from localstack.receiver import Receiver
from shared.settings import settings
from shared.tasks import claims, store
from shared.tasks.model import Task
from tests.e2e.conftest import Dashboard
from tests.e2e.on_call import Story
from tests.e2e.readable import violations
from tests.stack.test_local_commands import command
from tests.stack_fixture import PARAMETERS, Stack, high_lane


@pytest.fixture
def tenant(stack: Stack) -> tuple[str, str]:
    """A user and their key."""
    user = f"tenant-{secrets.token_hex(3)}"
    return user, stack.new_key(user, "vip")


@contextmanager
def told(dashboard: Dashboard, number: int, what: str) -> Iterator[tuple[Story, Page]]:
    """Sign in, and begin a story; what it took is kept when it ends well."""
    page = dashboard.open("operator")
    expect(page.locator("tr[data-task], .empty:visible").first).to_be_visible()
    story = Story(number, what)
    story.begins()
    yield story, page
    story.ends()
    dashboard.picture(f"story-{number}", whole=True)
    assert violations(page) == []


def finds_run(story: Story, page: Page, task_id: str, *, user: str = "", status: str = "", error: str = "") -> None:
    """Find somebody's run from the first page."""
    story.click(page.get_by_role("link", name="Everyone"))
    if user:
        story.fill(page.get_by_label("User", exact=True), user)
    if status:
        story.choose(page.get_by_label("Status"), status)
    if error:
        story.fill(page.get_by_label("Error code"), error)
    story.click(page.get_by_role("button", name="Search"))
    story.reads()
    story.click(page.locator(f"tr[data-task={task_id}] a"))
    story.reads()


def cancels_all(story: Story, page: Page) -> None:
    story.click(page.get_by_role("button", name="Cancel all that fit"))
    story.click(page.get_by_role("button", name="Really cancel them all?"))


def until(what: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for something of the system's."""
    give_up = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < give_up
        time.sleep(0.3)


def test_1_a_user_says_my_run_hangs(dashboard: Dashboard, stack: Stack, tenant: tuple[str, str]) -> None:
    user, key = tenant
    hangs = stack.submit("[[sim hang=60]] Tell me a story.", key)
    until(lambda: stack.client(key).get(f"/result/{hangs}").json()["status"] == "processing")
    with told(dashboard, 1, "A user says: my run hangs") as (story, page):
        finds_run(story, page, hangs, user=user)
        expect(page.locator(".run-state")).to_contain_text(re.compile(r"it waits for its model|model_no_answer"))
        story.finds()
        story.click(page.get_by_role("button", name="Cancel run"))
        expect(page.locator(".run .badge").first).to_have_text("Cancelled")


def test_2_a_user_is_over_their_budget(dashboard: Dashboard, stack: Stack) -> None:
    user = f"poor-{secrets.token_hex(3)}"
    key = stack.new_key(user, "vip", usd_per_day=0.0007)
    asks = stack.submit("What is 17 * 25?", key, agent="tools", on_budget="ask", max_output_tokens=1024)
    until(lambda: stack.client(key).get(f"/result/{asks}").json()["status"] == "waiting")
    with told(dashboard, 2, "A user says: my run does not go on (they are over their budget)") as (story, page):
        finds_run(story, page, asks, user=user)
        expect(page.locator(".approval")).to_contain_text("It asks for more budget: usd_per_day")
        story.finds()
        story.click(page.get_by_role("button", name="Raise"))
        expect(page.locator(".run .badge").first).to_have_text("Complete")


def test_3_costs_have_doubled(dashboard: Dashboard, stack: Stack, tenant: tuple[str, str]) -> None:
    user, key = tenant
    stack.result(
        stack.submit("[[sim words=3000 latency=0.2]] A long and dear story.", key, max_output_tokens=4000), key
    )
    goes_on = stack.submit("[[sim words=1000 latency=300 ttft=0.1]] Another one.", key)
    with told(dashboard, 3, "Costs have doubled since noon") as (story, page):
        story.click(page.get_by_role("link", name="Costs"))
        story.reads()
        row = page.locator(".costs tr", has_text=user)
        expect(row).to_contain_text("%")
        story.click(row.get_by_role("link"))
        story.reads()
        expect(page.locator(f"tr[data-task={goes_on}]")).to_contain_text("gpt-4o-mini")
        story.finds()
        cancels_all(story, page)
        expect(page.locator(f"tr[data-task={goes_on}] .badge")).to_have_text("Cancelled")


def test_4_the_provider_is_down(dashboard: Dashboard, stack: Stack, tenant: tuple[str, str]) -> None:
    _, key = tenant
    model = "gpt-4.1-mini"  # nobody else's: other tests run meanwhile
    stack.sim.post("/config", json={"outage": True, "outage_models": [model]}).raise_for_status()
    try:
        waits = [stack.submit("Hello?", one, model=model) for one in (key, "other", "demo", key, "other", "demo")]

        def stopped() -> bool:
            found = stack.client("operator").get("/stats").json()["breakers"]
            return any(one["state"] != "closed" for name, one in found.items() if model in name)

        until(stopped)
        with told(dashboard, 4, "The provider is down") as (story, page):
            story.click(page.get_by_role("link", name="System"))
            expect(page.locator(".alarms")).to_contain_text(f"{model} is stopped")
            story.reads()
            story.finds()
            stack.sim.post("/config", json={"outage": False, "outage_models": []}).raise_for_status()  # it is back
            expect(page.locator(".alarms")).not_to_contain_text(f"{model} is stopped")
    finally:
        stack.sim.post("/config", json={"outage": False, "outage_models": []}).raise_for_status()
    assert stack.result(waits[0], key)["status"] == "complete"


def test_5_one_tenant_floods(dashboard: Dashboard, stack: Stack) -> None:
    user = f"flood-{secrets.token_hex(3)}"
    key = stack.new_key(user, "load")
    calls = [f"{user}-{n}" for n in range(50)]
    flood = [stack.submit(f"[[sim key={call} words=10 latency=300 ttft=0.1]] Me, me, me.", key) for call in calls]
    with told(dashboard, 5, "Runs wait: one tenant floods") as (story, page):
        story.click(page.get_by_role("link", name="System"))
        row = page.locator(".top-users tr", has_text=user)
        expect(row.locator("td").first).to_contain_text("%")
        story.reads()
        story.finds()
        other = stack.submit("And me?", "other")
        states = [stack.client(key).get(f"/result/{one}").json()["status"] for one in flood]
        assert states.count("queued") > 0, states
        under_way = [call for call, state in zip(calls, states, strict=True) if state == "processing"]
        for call in under_way[:5]:  # some other test's users may have waited for longer
            stack.hurry(call)
        assert stack.result(other, "other")["status"] == "complete"  # none of the first slots is the tenant's again
        story.click(row.get_by_role("link"))
        story.reads()
        cancels_all(story, page)
        expect(page.locator("tr[data-task] .badge[data-status=cancelled]").first).to_be_visible()
        ended = [stack.result(one, key) for one in flood[-3:]]
        assert {one["status"] for one in ended} == {"cancelled"}, ended


@pytest.mark.alone
def test_6_a_bad_deployment(dashboard: Dashboard, stack: Stack, tenant: tuple[str, str]) -> None:
    def deploy(**changes: str) -> None:
        wanted = PARAMETERS | changes
        done = command(stack, "deploy", PARAMS=" ".join(f"{name}={value}" for name, value in wanted.items()))
        assert done.returncode == 0, done.stderr

    _, key = tenant
    good = False
    deploy(OpenaiApiKey="sk-no-access")  # the worker's alone: no other function is started anew
    try:
        failed = [stack.submit(f"Number {n}.", key) for n in range(16)]
        codes = {stack.result(one, key)["error"]["code"] for one in failed}
        assert len(codes) == 1
        code = codes.pop()
        with told(dashboard, 6, "Runs fail since the deployment") as (story, page):
            story.click(page.get_by_role("link", name="System"))
            alarm = page.locator(".alarms li", has_text=f"runs failed with {code}")
            expect(alarm).to_be_visible()
            story.reads()
            story.click(alarm.get_by_role("link", name="Show them"))
            story.click(page.locator(f"tr[data-task={failed[0]}] a"))
            expect(page.locator(".problem").first).to_contain_text(code)
            story.reads()
            story.finds()
            story.command()
            deploy()
            good = True
            story.click(page.get_by_role("button", name="Run again"))
            page.wait_for_url(lambda url: "task_" in url and failed[0] not in url)
            expect(page.locator(".run .badge").first).to_have_text("Complete")
    finally:
        if not good:
            deploy()


def test_7_dead_letters(
    dashboard: Dashboard, stack: Stack, tenant: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    user, _ = tenant
    for name, seconds in (("LEASE_SECONDS", "2"), ("HEARTBEAT_SECONDS", "0.5")):  # of this process alone
        monkeypatch.setenv(name, seconds)
    settings.cache_clear()
    stack.use()
    at = time.time()
    dead = store.submit(
        Task(task_id=f"task_{secrets.token_hex(16)}", user=user, lane="normal", agent="chat", model="gpt-4o-mini",
             created=at, day=time.strftime("%Y-%m-%d", time.gmtime(at)), tier="vip"),
        "hi",
    )  # fmt: skip
    held = claims.claim(dead.task_id, 0)  # by a worker that dies
    assert isinstance(held, Task)
    until(lambda: time.time() > held.lease_until)
    # As SQS moves a message that was received too often.
    body = json.dumps({"v": 1, "task_id": dead.task_id, "gen": held.gen})
    boto3.client("sqs").send_message(QueueUrl=stack.outputs["queues"]["normal_dlq"], MessageBody=body)
    until(lambda: store.get(dead.task_id).status.terminal)
    with told(dashboard, 7, "The alarm of dead letters") as (story, page):
        story.click(page.get_by_role("link", name="System"))
        alarm = page.locator(".alarms li", has_text="dead letter")
        expect(alarm).to_be_visible()
        story.reads()
        story.click(alarm.get_by_role("link", name="Show them"))
        story.reads()
        story.click(page.locator(f"tr[data-task={dead.task_id}] a"))
        expect(page.locator(".problem").first).to_contain_text("dead_letter")
        story.reads()
        story.finds()
        story.click(page.get_by_role("button", name="Run again"))
        page.wait_for_url(lambda url: "task_" in url and dead.task_id not in url)
        expect(page.locator(".run .badge").first).to_have_text("Complete")


@high_lane
def test_8_a_lane_is_paused(dashboard: Dashboard, stack: Stack, tenant: tuple[str, str]) -> None:
    _, key = tenant
    runs = False
    assert command(stack, "pause", "high").returncode == 0
    try:
        waits = stack.submit("Hello?", key, priority="high")
        with told(dashboard, 8, "A lane stands still") as (story, page):
            story.click(page.get_by_role("link", name="System"))
            expect(page.locator(".alarms")).to_contain_text("make resume LANE=high")
            story.reads()
            story.finds()
            story.command()
            assert command(stack, "resume", "high").returncode == 0
            runs = True
            expect(page.locator(".alarms")).not_to_contain_text("high is paused")
            assert stack.result(waits, key)["status"] == "complete"
    finally:
        assert runs or command(stack, "resume", "high").returncode == 0


def test_9_a_receiver_of_webhooks_fails(dashboard: Dashboard, stack: Stack, tenant: tuple[str, str]) -> None:
    user, key = tenant
    with Receiver(answer=500) as receiver:
        done = stack.submit("Tell me, then tell them.", key, webhook_url=receiver.url)
        stack.result(done, key)
        until(lambda: bool(receiver.deliveries))
        with told(dashboard, 9, "A user says: my webhook does not come") as (story, page):
            finds_run(story, page, done, user=user)
            expect(page.locator(".told-of")).to_contain_text(re.compile(r"failed, and is tried again; \d+ tr(y|ies)"))
            expect(page.locator(".told-of")).to_contain_text("500")
            story.finds()
            receiver.answer = 204  # its owner has mended it
            story.click(page.get_by_role("button", name="Deliver again"))
            expect(page.locator(".told-of")).to_contain_text("was delivered")
        assert len({one.id for one in receiver.deliveries}) == 1


def test_10_an_approval_is_forgotten(
    dashboards: Callable[..., Dashboard], stack: Stack, tenant: tuple[str, str]
) -> None:
    user, key = tenant
    tool = '[[sim tool=calculator args={"expression": "6*7"} rounds=1]]'
    waits = stack.submit(f"Multiply. {tool}", key, agent="tools", approve=True)
    until(lambda: stack.client(key).get(f"/result/{waits}").json()["status"] == "waiting")
    owner = dashboards()
    theirs = owner.open(key)
    with told(dashboards(), 10, "A run does not go on: an approval is forgotten") as (story, page):
        finds_run(story, page, waits, user=user, status="waiting")
        expect(page.locator(".run-state")).to_contain_text("Waits for approval of calculator")
        expect(page.locator(".run-state")).to_contain_text("asked")
        story.finds()
        story.click(theirs.get_by_role("link", name="Approvals"))  # its owner's to say, and reminded
        story.reads()
        story.click(theirs.get_by_role("button", name="Allow"))
        expect(page.locator(".run .badge").first).to_have_text("Complete")
