"""What a submit leaves behind, and what it answers."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from shared.tasks import listing, store
from shared.tasks.model import Task
from tests.unit.api.conftest import Api
from tests.unit.tables import client as aws_client


def messages(url: str) -> list[dict[str, Any]]:
    """Take everything out of a queue."""
    client: Any = aws_client("sqs")
    found: list[dict[str, Any]] = []
    while batch := client.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
        found += [json.loads(one["Body"]) for one in batch]
    return found


@pytest.mark.parametrize("name", ["...", ".a", "..a", "a.", "a..", "~", "-", "_"])
def test_what_a_session_may_be_called_can_be_fetched(api: Api, name: str) -> None:
    assert api.submit(session_id=name).status_code == 202
    assert api.get(f"/sessions/{name}").json()["session_id"] == name


def test_without_a_session_nothing_is_remembered(api: Api) -> None:
    for body in ({}, {"session_id": None}):
        task_id = api.submit(**body).json()["task_id"]
        assert store.get(task_id).session_id == ""
        assert api.get(f"/result/{task_id}").json()["session_id"] is None


def test_a_submit_writes_the_row_and_sends_its_message(api: Api) -> None:
    answer = api.submit(metadata={"a": "b"}, max_output_tokens=7, session_id="s1", webhook_url="https://example.com/x")
    assert answer.status_code == 202
    task_id = answer.json()["task_id"]
    assert answer.json() == {"task_id": task_id, "status": "queued"}
    assert answer.headers["location"] == f"/result/{task_id}"
    task = store.get(task_id)
    assert (task.user, task.lane, task.agent, task.session_id, task.tier) == (
        "demo",
        "normal",
        "chat",
        "s1",
        "standard",
    )
    assert task.params == {
        "max_output_tokens": 7,
        "metadata": {"a": "b"},
        "webhook_url": "https://example.com/x",
    }
    assert store.message_of(task) == "hi"
    assert task.reserved_tokens > 7
    assert task.running_cap == 10
    assert messages(api.lanes["normal"]) == [{"v": 1, "task_id": task_id, "gen": 0}]
    shown = api.get(f"/result/{task_id}").json()
    assert (shown["status"], shown["task_id"], shown["queue"]) == ("queued", task_id, {"ahead": 0})


def test_ids_sort_by_time_and_differ(api: Api) -> None:
    ids = [api.submit("load").json()["task_id"] for _ in range(20)]
    assert len(set(ids)) == 20
    assert [i[:17] for i in ids] == sorted(i[:17] for i in ids)


def test_lanes_follow_tier_and_priority(api: Api) -> None:
    assert api.submit("vip").status_code == 202
    assert len(messages(api.lanes["high"])) == 1
    assert api.submit("vip", priority="normal").status_code == 202
    assert len(messages(api.lanes["normal"])) == 1
    refused = api.submit("demo", priority="high")
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "priority_not_allowed")


def test_two_hundred_at_once_admit_exactly_the_quota(api: Api) -> None:
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: api.submit(), range(200)))
    admitted = [a for a in answers if a.status_code == 202]
    refused = [a for a in answers if a.status_code == 429]
    assert (len(admitted), len(refused)) == (60, 140)
    for answer in refused:
        assert answer.json()["error"]["limit"] == "requests"
        assert 3500 < int(answer.headers["retry-after"]) <= 3600
        assert answer.headers["ratelimit"].startswith('"requests";r=0;t=')
        assert answer.headers["x-ratelimit-remaining-requests"] == "0"
    assert admitted[0].headers["ratelimit-policy"].startswith('"requests";q=60')
    assert len(messages(api.lanes["normal"])) == 10  # the running cap; the rest is parked
    tasks, more = listing.list_tasks("demo", limit=100)
    assert (len(tasks), more) == (60, None)


def test_a_task_over_the_running_cap_is_parked_and_follows_when_one_is_cancelled(api: Api) -> None:
    first, second = (api.submit("narrow").json()["task_id"] for _ in range(2))
    assert [m["task_id"] for m in messages(api.lanes["normal"])] == [first]
    assert api.get(f"/result/{second}", "narrow").json()["reason"] == "running_cap"
    cancelled = api.post(f"/agent/{first}/cancel", "narrow")
    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
    assert [m["task_id"] for m in messages(api.lanes["normal"])] == [second]
    assert "reason" not in api.get(f"/result/{second}", "narrow").json()


def test_a_slot_that_comes_free_while_a_task_is_written_is_its_own(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that saw one run end submits the next, whose admission is quicker than what follows that end."""
    first = api.submit("narrow").json()["task_id"]
    real = store.submit

    def late(*args: Any, **more: Any) -> Task:
        monkeypatch.setattr(store, "submit", real)
        assert api.post(f"/agent/{first}/cancel", "narrow").json()["status"] == "cancelled"
        return real(*args, **more)

    monkeypatch.setattr(store, "submit", late)
    second = api.submit("narrow").json()["task_id"]
    assert [m["task_id"] for m in messages(api.lanes["normal"])] == [first, second]
    assert not store.get(second).parked


def test_what_is_larger_than_a_days_budget_is_not_told_to_come_back(api: Api) -> None:
    refused = api.submit("poor", max_output_tokens=5000)
    assert (refused.status_code, refused.json()["error"]["code"]) == (402, "insufficient_quota")
    assert "more than the budget tokens_per_day of a whole day" in refused.json()["error"]["message"]
    assert "retry-after" not in refused.headers
    assert api.submit("poor", max_output_tokens=100).status_code == 202


def test_a_spent_budget_is_402_and_a_cancel_gives_its_reservation_back(api: Api) -> None:
    first = api.submit("poor")
    assert first.status_code == 202
    refused = [a for a in (api.submit("poor") for _ in range(5)) if a.status_code != 202]
    assert refused
    error = refused[0].json()["error"]
    assert (refused[0].status_code, error["code"], error["limit"]) == (
        402,
        "insufficient_quota",
        "tokens_per_day",
    )
    assert int(refused[0].headers["retry-after"]) > 0
    api.post(f"/agent/{first.json()['task_id']}/cancel", "poor")
    assert api.submit("poor").status_code == 202


def test_the_ingress_bucket_is_shared_by_all(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.unit.api.conftest import forget_everything

    monkeypatch.setenv("INGRESS_RATE", "0.01")
    monkeypatch.setenv("INGRESS_BURST", "2")
    forget_everything()
    assert [api.submit(who).status_code for who in ("load", "demo", "vip")] == [202, 202, 429]
    assert api.submit("other").json()["error"]["limit"] == "ingress"


def test_headers_of_a_success_tell_what_is_left(api: Api) -> None:
    left = [int(api.submit().headers["x-ratelimit-remaining-requests"]) for _ in range(3)]
    assert left == [59, 58, 57]
