"""Answers to runs that ask for more budget, and what a submit and a tier say about asking."""

from typing import Any

import pytest

from shared.clock import now
from shared.limits import keys
from shared.tasks import ceilings, claims, inbox, settle, store, waits
from shared.tasks.events import Event
from shared.tasks.model import Status, Task
from shared.tasks.waits import Wait
from tests.unit.api.conftest import Api

MARK = ceilings.fingerprint_of(1)


def ask(api: Api, limit: str = "max_cost_usd", who: str = "demo") -> Task:
    """Submit a task and let it ask about a ceiling, as a worker does."""
    task_id = api.submit(who, on_budget="ask", max_cost_usd=0.5).json()["task_id"]
    task = claims.claim(task_id, 0)
    assert isinstance(task, Task)
    assert task.params["on_budget"] == "ask"
    unit = ceilings.UNITS[limit]
    asked = ceilings.Asked(limit, 1, 500_000 if unit == "usd" else 5_000, 20_000 if unit == "usd" else 200, 480_001)
    one = Wait(kind="approval", name=f"approval:{MARK}", nth=1, since=now(), until=now() + 3600, more=asked.more())
    assert waits.suspend(task, [one], [Event("waiting", now(), {})], ends_at=now() + 1e6)
    return task


def reply(api: Api, task: Task, who: str = "demo", **body: Any) -> Any:
    place = "operator/tasks" if who == "operator" else "agent"
    return api.post(f"/{place}/{task.task_id}/approvals/{MARK}", who, **body)


def test_the_inbox_shows_what_it_cost_and_what_the_next_call_may_cost(api: Api) -> None:
    task = ask(api)
    (one,) = api.get("/approvals").json()["approvals"]
    assert (one["task_id"], one["kind"], one["fingerprint"], one["cost_usd"]) == (
        task.task_id,
        "approval",
        MARK,
        0.480001,
    )
    assert one["budget"] == {
        "limit": "max_cost_usd",
        "unit": "usd",
        "raised_by": "owner",
        "ceiling": 0.5,
        "next": 0.02,
    }
    assert "tool" not in one
    assert api.get("/approvals", "other").json()["approvals"] == []
    assert reply(api, task, "other", decision="allow", raise_usd=1).status_code == 404
    (waiting,) = api.get(f"/result/{task.task_id}").json()["waiting_for"]
    assert waiting["budget"]["next"] == 0.02


def test_its_owner_raises_its_own_ceiling_once(api: Api) -> None:
    task = ask(api)
    first = reply(api, task, decision="allow", raise_usd=0.25)
    assert (first.status_code, first.json()["status"], first.json()["name"]) == (202, "queued", f"approval:{MARK}")
    assert reply(api, task, decision="allow", raise_usd=0.25).headers["Idempotent-Replayed"] == "true"
    for other in ({"decision": "allow", "raise_usd": 0.3}, {"decision": "deny"}):
        assert reply(api, task, **other).status_code == 409
    (kept,) = inbox.load(task.task_id)
    assert kept.payload == {"decision": "allow", "user": "demo", "limit": "max_cost_usd", "raise": 250_000}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"decision": "allow"}, "raise_usd"),
        ({"decision": "allow", "raise_usd": 0}, "raise_usd"),
        ({"decision": "allow", "raise_usd": -1}, "raise_usd"),
        ({"decision": "allow", "raise_usd": 10_001}, "raise_usd"),
        ({"decision": "allow", "raise_usd": "1"}, "raise_usd"),
        ({"decision": "allow", "raise_tokens": 5}, "raise_tokens"),
        ({"decision": "allow", "raise_usd": 1, "arguments": {}}, "arguments"),
        ({"decision": "deny", "raise_usd": 1}, None),
    ],
)
def test_what_is_no_answer_to_a_budget(api: Api, body: dict[str, Any], param: str | None) -> None:
    task = ask(api)
    refused = reply(api, task, **body)
    assert refused.status_code == 422, refused.text
    assert param is None or refused.json()["error"]["param"] == param
    assert store.get(task.task_id).status is Status.WAITING


def test_the_most_that_an_answer_raises(api: Api) -> None:
    assert reply(api, ask(api), decision="allow", raise_usd=10_000).status_code == 202


@pytest.mark.parametrize(("limit", "field"), [("usd_per_day", "raise_usd"), ("tokens_per_day_key", "raise_tokens")])
def test_a_days_budget_is_an_operators_to_raise(api: Api, limit: str, field: str) -> None:
    task = ask(api, limit)
    refused = reply(api, task, decision="allow", **{field: 100})
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "operator_only")
    assert api.post(f"/operator/tasks/{task.task_id}/approvals/{MARK}", decision="allow").status_code == 403
    assert reply(api, task, "operator", decision="allow", **{field: 100}).json()["status"] == "queued"
    (kept,) = inbox.load(task.task_id)
    assert kept.payload["raise"] == (100_000_000 if field == "raise_usd" else 100)
    (act,) = api.get("/operator/audit", "operator").json()["acts"]
    assert (act["what"], act["task_id"], act["user"]) == ("answer allow", task.task_id, "demo")


def test_its_owner_has_it_try_again_or_fail(api: Api) -> None:
    again, fails = ask(api, "usd_per_day"), ask(api, "usd_per_day")
    assert reply(api, again, decision="allow").status_code == 202
    assert reply(api, fails, decision="deny").status_code == 202
    assert [inbox.load(task.task_id)[0].payload.get("raise") for task in (again, fails)] == [None, None]


def test_nobody_raises_everybodys_ceiling_for_one_run(api: Api) -> None:
    task = ask(api, "usd_per_day_global")
    assert reply(api, task, "operator", decision="allow", raise_usd=1).status_code == 422
    assert reply(api, task, "operator", decision="allow").status_code == 202


def test_a_call_of_a_tool_is_its_owners_to_allow(api: Api) -> None:
    from shared.tasks import approvals

    task_id = api.submit().json()["task_id"]
    task = claims.claim(task_id, 0)
    assert isinstance(task, Task)
    more = approvals.more_of(task, approvals.Asked("send", {}, "ab12", True, 0))
    one = Wait(kind="approval", name="approval:ab12", nth=1, since=now(), until=now() + 3600, more=more)
    assert waits.suspend(task, [one], [Event("waiting", now(), {})], ends_at=now() + 1e6)
    path = f"/agent/{task_id}/approvals/ab12"
    assert api.post(f"/operator/tasks/{task_id}/approvals/ab12", "operator", decision="allow").status_code == 403
    refused = api.post(path, decision="allow", raise_usd=1)
    assert (refused.status_code, refused.json()["error"]["param"]) == (422, "raise_usd")
    assert api.post(path, decision="allow").status_code == 202


@pytest.mark.parametrize(
    ("tier", "asked", "kept"),
    [(None, None, None), (None, "ask", "ask"), ("ask", None, "ask"), ("ask", "fail", "fail"), ("fail", "ask", "ask")],
)
def test_a_submit_says_whether_to_ask_and_else_its_tier(
    api: Api, tier: str | None, asked: str | None, kept: str | None
) -> None:
    api.keys["mine"] = keys.create_key("mine", "standard", limits={"on_budget": tier} if tier else None)
    body = {"on_budget": asked} if asked else {}
    task_id = api.submit("mine", **body).json()["task_id"]
    assert store.get(task_id).params.get("on_budget") == kept


@pytest.mark.parametrize("wrong", ["maybe", True, 1])
def test_what_is_no_way_to_meet_a_ceiling(api: Api, wrong: Any) -> None:
    assert api.submit(on_budget=wrong).status_code == 422


def test_the_same_raise_is_harmless_when_the_run_has_ended(api: Api) -> None:
    task = ask(api)
    assert reply(api, task, decision="allow", raise_usd=0.25).status_code == 202
    settle.cancel(task.task_id, "demo")
    assert reply(api, task, decision="allow", raise_usd=0.25).headers["Idempotent-Replayed"] == "true"
    assert reply(api, task, decision="allow", raise_usd=0.5).status_code == 409
