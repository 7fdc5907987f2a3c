"""The dashboard in a real browser against the deployed system: what its reader does, from key to answer."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable

from playwright.sync_api import Page, WebSocketRoute, expect

from tests.e2e.conftest import Dashboard
from tests.e2e.readable import PHONE
from tests.stack_fixture import Stack


def test_submit_and_watch_to_the_end(dashboards: Callable[..., Dashboard], stack: Stack) -> None:
    dashboard = dashboards(reduced_motion="no-preference")
    key = stack.new_key(f"browser-{secrets.token_hex(4)}", "vip")
    page = dashboard.open(key)
    page.get_by_label("Priority").select_option("high")
    page.get_by_label("Session").fill("browser")
    task_id, slow = dashboard.submit_slow("Tell me about locks on canals.")
    expect(page.locator("#mode")).to_have_text("Live")
    early = dashboard.wait_for_output(20)
    dashboard.picture("running")
    stack.hurry(slow)
    dashboard.status("Complete")
    found = stack.result(task_id, key)
    final = found["result"]["response"]
    assert early in final
    assert len(early) < len(final)
    expect(page.locator("#output")).to_have_text(final)
    assert (found["lane"], found["result"]["session_id"]) == ("high", "browser")
    for title in ("Queued", "Started", "Reply streamed", "Step recorded", "Complete"):
        expect(page.locator(".line-title", has_text=title)).to_have_count(1)
    cost = f"${found['usage']['cost_usd']:.6f}"
    expect(page.locator(".facts")).to_contain_text(cost)
    expect(page.locator("#limits")).to_contain_text("599 left of 600")
    dashboard.picture("complete")
    page.get_by_role("link", name="All runs").click()
    row = page.locator(f"tr[data-task={task_id}]")
    expect(row).to_contain_text("Tell me about locks on canals.")
    expect(row).to_contain_text(cost)
    dashboard.picture("list")


def test_cancel_a_run_and_one_in_the_list(dashboard: Dashboard, stack: Stack) -> None:
    key = stack.new_key("browser-cancel")
    page = dashboard.open(key)
    first, _ = dashboard.submit_slow("Go on and on.")
    dashboard.wait_for_output(10)
    page.get_by_role("button", name="Cancel run").click()
    dashboard.status("Cancelled")
    expect(page.get_by_role("button", name="Cancel run")).to_be_hidden()
    assert stack.result(first, key)["status"] == "cancelled"
    page.get_by_role("link", name="All runs").click()
    page.locator("#message").fill("[[sim latency=300 words=900]] And on.")
    page.get_by_role("button", name="Run", exact=True).click()
    second = dashboard.task_id()
    page.get_by_role("link", name="All runs").click()
    row = page.locator(f"tr[data-task={second}]")
    row.get_by_role("button", name="Cancel").click()
    expect(row).to_contain_text("Cancelled")
    expect(page.locator(f"tr[data-task={first}]")).to_contain_text("Cancelled")


def test_reload_in_the_middle(dashboard: Dashboard, stack: Stack) -> None:
    page = dashboard.open("vip")
    task_id, slow = dashboard.submit_slow("Tell me about rivers.")
    before = dashboard.wait_for_output(40)
    page.reload()
    after = dashboard.wait_for_output(len(before))
    stack.hurry(slow)
    assert after.startswith(before)
    expect(page.locator("#run-message")).to_contain_text("Tell me about rivers.")
    dashboard.status("Complete")
    expect(page.locator("#output")).to_have_text(stack.result(task_id, "vip")["result"]["response"])


def without_stream(dashboard: Dashboard) -> None:
    """Let the page think that this deployment has no streaming address."""
    dashboard.page.add_init_script(
        "document.addEventListener('DOMContentLoaded', () => { document.body.dataset.stream = 'false'; })"
    )


def test_a_run_is_followed_by_event_source(dashboards: Callable[..., Dashboard], stack: Stack) -> None:
    """Text comes in parts, before it is stored; no WebSocket is opened."""
    dashboard = dashboards(fresh=True)
    asked: list[str] = []
    sockets: list[str] = []
    dashboard.page.on("request", lambda request: asked.append(request.url))
    dashboard.page.on("websocket", lambda socket: sockets.append(socket.url))
    page = dashboard.open("vip")
    task_id, slow = dashboard.submit_slow("Tell me about streams.")
    expect(page.locator("#mode")).to_have_text("Live")
    dashboard.wait_for_output(10)
    stack.hurry(slow)
    dashboard.status("Complete")
    expect(page.locator("#output")).to_have_text(stack.result(task_id, "vip")["result"]["response"])
    assert any(url.startswith(f"{stack.outputs['stream_url']}/result/{task_id}/stream") for url in asked)
    assert sockets == []


def test_a_run_is_followed_over_the_websocket_without_a_streaming_address(
    dashboards: Callable[..., Dashboard], stack: Stack
) -> None:
    dashboard = dashboards(fresh=True)
    without_stream(dashboard)
    page = dashboard.open("vip")
    task_id, slow = dashboard.submit_slow("Tell me about bays.")
    expect(page.locator("#mode")).to_have_text("Live")
    stack.hurry(slow)
    dashboard.status("Complete")
    expect(page.locator("#output")).to_have_text(stack.result(task_id, "vip")["result"]["response"])


def test_without_a_websocket_it_polls(dashboards: Callable[..., Dashboard], stack: Stack) -> None:
    dashboard = dashboards(fresh=True)
    without_stream(dashboard)
    dashboard.page.route_web_socket(re.compile("/live"), lambda socket: socket.close())
    page = dashboard.open("vip")
    task_id, slow = dashboard.submit_slow("Tell me about seas.")
    expect(page.locator("#mode")).to_have_text("Polling")
    dashboard.wait_for_output(10)
    stack.hurry(slow)
    dashboard.status("Complete")
    expect(page.locator("#output")).to_have_text(stack.result(task_id, "vip")["result"]["response"])


def test_a_lost_websocket_costs_no_token(dashboards: Callable[..., Dashboard], stack: Stack) -> None:
    """The connection dies after two messages; what follows comes otherwise, nothing twice."""
    dashboard = dashboards(fresh=True)

    def fragile(socket: WebSocketRoute) -> None:
        server = socket.connect_to_server()
        passed = 0

        def pass_on(message: str | bytes) -> None:
            nonlocal passed
            passed += 1
            if passed > 2:
                socket.close()
            else:
                socket.send(message)

        server.on_message(pass_on)

    without_stream(dashboard)
    dashboard.page.route_web_socket(re.compile("/live"), fragile)
    page = dashboard.open("vip")
    task_id, slow = dashboard.submit_slow("Tell me about lakes.")
    expect(page.locator("#mode")).to_have_text("Polling")
    stack.hurry(slow)
    dashboard.status("Complete")
    expect(page.locator("#output")).to_have_text(stack.result(task_id, "vip")["result"]["response"])
    numbers = [event["seq"] for event in stack.events(task_id, "vip")]
    assert numbers == list(range(1, len(numbers) + 1))


def test_an_interrupted_reply_is_discarded(dashboard: Dashboard, stack: Stack) -> None:
    """The provider breaks off in the middle; the second reply differs, and it alone stands."""
    page = dashboard.open("vip")
    key = f"void-{secrets.token_hex(4)}"
    task_id = dashboard.submit(f"[[sim key={key} fail=drop times=1 nonce latency=1 words=30]] Tell me a story.")
    dashboard.status("Complete")
    expect(page.locator("#output")).to_have_text(stack.result(task_id, "vip")["result"]["response"])
    expect(page.locator(".line-title", has_text="To be tried again")).to_have_count(1)
    expect(page.locator(".timeline")).to_contain_text("interrupted and discarded")


def test_wrong_key(dashboard: Dashboard) -> None:
    dashboard.expected = re.compile("401")  # Chromium itself notes every answer of that kind
    page = dashboard.open()
    page.get_by_label("API key").fill("sk-not-a-key")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_have_text("This key is not known.")
    expect(page.get_by_label("API key")).to_be_focused()
    assert page.evaluate("sessionStorage.getItem('sluice.key')") is None
    dashboard.picture("refused")


def test_signing_out_forgets(dashboard: Dashboard) -> None:
    page = dashboard.open("vip")
    assert page.evaluate("sessionStorage.getItem('sluice.key')")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("API key")).to_be_visible()
    assert page.evaluate("Object.keys(sessionStorage).length + Object.keys(localStorage).length") == 0
    page.reload()
    expect(page.get_by_label("API key")).to_be_visible()


def test_a_message_is_text_never_markup(dashboard: Dashboard) -> None:
    attack = "<img src=x onerror=alert(1)><script>alert(2)</script><b id=bold>&amp;</b>"
    page = dashboard.open("vip")
    task_id = dashboard.submit(f"[[sim echo words=2]]{attack}")
    dashboard.status("Complete")
    expect(page.locator("#output")).to_have_text(attack)
    expect(page.locator("#run-message")).to_contain_text(attack)
    dashboard.picture("run")
    page.get_by_role("link", name="All runs").click()
    expect(page.locator(f"tr[data-task={task_id}] a")).to_contain_text(attack)
    assert page.locator("main img, main script, #bold").count() == 0


def test_keyboard_alone(dashboard: Dashboard) -> None:
    page = dashboard.open()
    expect(page.get_by_label("API key")).to_be_focused()
    page.keyboard.type(dashboard.stack.keys["load"])
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()
    tab_to(page, "#message")
    page.keyboard.type("[[sim latency=1 words=10]] Hello.")
    tab_to(page, "#agent")
    tab_to(page, "button.primary")
    page.keyboard.press("Enter")
    dashboard.status("Complete")
    expect(page.get_by_role("heading", name="Run", exact=True)).to_be_focused()
    tab_to(page, "#message")
    page.keyboard.type("[[sim words=3]] Again.")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#run-message")).to_contain_text("Again.")
    dashboard.status("Complete")
    tab_to(page, ".back")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Runs")).to_be_focused()


def tab_to(page: Page, selector: str) -> None:
    """Press Tab until an element has the focus; it comes round once."""
    for _ in range(40):
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{selector} cannot be reached with Tab")


def test_on_a_phone_nothing_scrolls_sideways(dashboards: Callable[..., Dashboard]) -> None:
    phone = dashboards(**PHONE)
    page = phone.open("operator")

    def fits(what: str) -> None:
        phone.picture(what, whole=True)
        assert page.evaluate("document.documentElement.scrollWidth") == PHONE["viewport"]["width"]

    phone.submit(f"[[sim echo words=2]]{'w' * 300} and more")
    phone.status("Complete")
    fits("run")
    page.get_by_role("link", name="All runs").click()
    expect(page.locator(".runs tbody tr").first).to_be_visible()
    fits("list")
    page.get_by_role("link", name="System").click()
    expect(page.locator(".chart canvas")).to_have_count(6)
    fits("system")


def test_operators_see_the_system(dashboards: Callable[..., Dashboard], stack: Stack) -> None:
    shown = dashboards(viewport={"width": 1920, "height": 1080})
    page = shown.open("operator")
    page.get_by_role("link", name="System").click()
    expect(page.locator(".chart canvas")).to_have_count(6)
    slow = f"seen-{secrets.token_hex(4)}"
    for n in range(12):
        stack.submit(f"[[sim key={slow} latency=300 words=900]] work", session_id=f"op-{n}")
    expect(page.locator("[data-tile=running] dd").first).to_have_text(re.compile(r"^[1-9]"))
    stack.hurry(slow)
    expect(page.locator(".states").nth(1)).to_contain_text("DynamoDB")
    shown.picture("light", whole=True)
    page.emulate_media(color_scheme="dark")
    shown.picture("dark", whole=True)


def test_signing_out_forgets_what_an_operator_saw_of_the_system(dashboard: Dashboard) -> None:
    """Neither the tab nor its script shows it to who signs in next; what comes from the API is of its time alone."""
    page = dashboard.open("operator")
    page.get_by_role("link", name="System").click()
    expect(page.locator("#as-of")).to_contain_text("As of")
    charts = "new URL('charts.js', document.querySelector('script[type=module]').src)"
    rows = f"import({charts}).then(({{ modules }}) => modules['js/system/history.js'].column('at').length)"
    assert page.evaluate(rows) > 0
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("API key")).to_be_visible()
    assert page.evaluate(rows) == 0
    assert page.evaluate("Object.keys(sessionStorage).length") == 0


def test_others_do_not(dashboard: Dashboard) -> None:
    page = dashboard.open("demo")
    page.evaluate("location.hash = '#/system'")
    expect(page.get_by_role("heading", name="Runs")).to_be_visible()
    expect(page.get_by_role("link", name="System")).to_have_count(0)


def test_colours_can_be_chosen_and_last(dashboard: Dashboard) -> None:
    page = dashboard.open()
    toggle = page.get_by_role("button", name="Colours")
    expect(toggle).to_be_visible()
    background = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(background)
    toggle.click()
    assert page.evaluate(background) == light
    toggle.click()
    dark = page.evaluate(background)
    assert dark != light
    page.reload()
    assert page.evaluate(background) == dark
