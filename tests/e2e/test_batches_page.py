"""The batches of a user, in a browser: their progress, their files, and cancelling one."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable
from pathlib import Path

import openai
from playwright.sync_api import Route, expect

from tests.e2e.conftest import Dashboard
from tests.e2e.readable import SIZES, unreadable, violations
from tests.stack_fixture import Stack


def begin(stack: Stack, key: str, *lines: str) -> str:
    """Begin a batch of these lines; returns its id."""
    with openai.OpenAI(base_url=f"{stack.api_url}/v1", api_key=key) as client:
        file = client.files.create(file=("lines.jsonl", "\n".join(lines).encode()), purpose="batch")
        return client.batches.create(input_file_id=file.id, endpoint="/v1/responses", completion_window="24h").id


def line(n: int, text: str) -> str:
    body = {"model": "gpt-4o-mini", "input": text}
    return json.dumps({"custom_id": f"n{n}", "method": "POST", "url": "/v1/responses", "body": body})


def test_batches_are_listed_cancelled_and_their_files_handed_over(
    dashboards: Callable[..., Dashboard], stack: Stack
) -> None:
    user = f"tenant-{secrets.token_hex(3)}"
    key = stack.new_key(user, "load")
    dashboard = dashboards()
    page = dashboard.open(key)
    page.goto(f"{stack.api_url}/#/batches")
    expect(page.locator(".empty")).to_have_text("There are no batches yet.")
    good = begin(stack, key, line(0, "[[sim words=3]] hello"), line(1, "[[sim fail=400]] hello"))
    bad = begin(stack, key, "no JSON")
    long = begin(stack, key, *(line(n, "[[sim latency=300 words=900]] slow") for n in range(40)))
    page.reload()
    done, faulty, slow = (page.locator(f'article[data-batch="{one}"]') for one in (good, bad, long))
    expect(done).to_contain_text("completed, /v1/responses, 1 of 2 complete, 1 failed")
    expect(faulty).to_contain_text("Line 1:")
    expect(faulty).to_contain_text("failed, /v1/responses, no request was run")
    expect(faulty.get_by_role("button")).to_have_count(0)
    assert violations(page) == []
    slow.get_by_role("button", name="Cancel").click()
    expect(slow).to_contain_text(re.compile("cancelling|cancelled"))
    assert [one.get_attribute("data-batch") for one in page.locator("article").all()] == [long, bad, good]
    for what, number in (("output", 0), ("error", 1)):
        with page.expect_download() as fetched:
            done.get_by_role("button", name=f"Download {what} file").click()
        assert fetched.value.suggested_filename == f"{good}_{what}.jsonl"
        (row,) = Path(fetched.value.path()).read_text().splitlines()
        assert json.loads(row)["custom_id"] == f"n{number}"
    expect(slow).to_contain_text("cancelled")
    expect(slow.get_by_role("button", name="Cancel")).to_have_count(0)
    for size, options in SIZES.items():
        seen = dashboards(**options)
        page = seen.open(key)
        page.goto(f"{stack.api_url}/#/batches")
        expect(page.locator("article")).to_have_count(3)
        seen.picture(f"batches-{size}", whole=True)
        assert unreadable(page) == [], size


def test_a_large_file_comes_straight_from_s3(dashboards: Callable[..., Dashboard], stack: Stack) -> None:
    """The page is told that the file is large: then it asks for the address, which its browser downloads from."""
    key = stack.new_key(f"tenant-{secrets.token_hex(3)}", "load")
    one = begin(stack, key, line(0, "[[sim words=3]] hello"))
    page = dashboards().open(key)

    def large(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, json=answer.json() | {"bytes": 5_000_000})

    page.route(re.compile(r"/v1/files/file-[0-9a-f]+$"), large)
    page.goto(f"{stack.api_url}/#/batches")
    card = page.locator(f'article[data-batch="{one}"]')
    with page.expect_request(re.compile(r"/content\?link=true$")), page.expect_download() as fetched:
        card.get_by_role("button", name="Download output file").click()
    assert "X-Amz-Signature" in fetched.value.url
    assert fetched.value.suggested_filename == f"{one}_output.jsonl"
    (row,) = Path(fetched.value.path()).read_text().splitlines()
    assert json.loads(row)["custom_id"] == "n0"
    assert page.url.endswith("#/batches")
    assert violations(page) == []


def test_a_batch_of_another_user_is_not_listed(dashboards: Callable[..., Dashboard], stack: Stack) -> None:
    theirs = stack.new_key(f"tenant-{secrets.token_hex(3)}", "load")
    mine = stack.new_key(f"tenant-{secrets.token_hex(3)}", "load")
    begin(stack, theirs, line(0, "hello"))
    page = dashboards().open(mine)
    page.goto(f"{stack.api_url}/#/batches")
    expect(page.locator(".empty")).to_be_visible()
    expect(page.locator("article")).to_have_count(0)


def test_more_than_a_page_of_batches_are_shown_on_demand(dashboards: Callable[..., Dashboard], stack: Stack) -> None:
    key = stack.new_key(f"tenant-{secrets.token_hex(3)}", "load")
    for _ in range(21):
        begin(stack, key, "no JSON")
    page = dashboards().open(key)
    page.goto(f"{stack.api_url}/#/batches")
    expect(page.locator("article")).to_have_count(20)
    page.get_by_role("button", name="Show more").click()
    expect(page.locator("article")).to_have_count(21)
    expect(page.get_by_role("button", name="Show more")).to_be_hidden()
