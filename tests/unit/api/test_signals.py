"""Signals through the API, and how a task that waits looks there."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from shared import aws, wire
from shared.clock import now
from shared.tasks import approvals, claims, inbox, settle, store, waits
from shared.tasks.events import Event
from shared.tasks.model import Status, Task
from shared.tasks.waits import Wait
from tests.unit.api.conftest import Api

SCHEMA = {"type": "object", "required": ["ok"], "properties": {"ok": {"type": "boolean"}}}


def wait(api: Api, **more: Any) -> Task:
    """Submit a task and let it wait for the signal `go`, as a worker does."""
    task_id = api.submit(**more).json()["task_id"]
    task = claims.claim(task_id, 0)
    assert isinstance(task, Task)
    one = Wait(kind="signal", name="go", nth=1, since=now(), until=now() + 3600, more={"schema": SCHEMA})
    assert waits.suspend(task, [one], [Event("waiting", now(), {})], ends_at=now() + 1e6)
    return task


@pytest.fixture
def task(api: Api) -> Task:
    return wait(api)


def test_a_waiting_task_looks_the_same_in_every_view(api: Api, task: Task) -> None:
    shown = api.get(f"/result/{task.task_id}").json()
    assert (shown["status"], shown["waiting_for"][0]["kind"], shown["waiting_for"][0]["name"]) == (
        "waiting",
        "signal",
        "go",
    )
    assert "schema" not in shown["waiting_for"][0]
    assert "reason" not in shown
    listed = api.get("/agent", status="waiting").json()["tasks"]
    assert [(one["task_id"], one["waiting_for"]) for one in listed] == [
        (task.task_id, [{"kind": "signal", "name": "go"}])
    ]
    assert api.get("/agent", status="queued").json()["tasks"] == []
    assert api.get(f"/v1/responses/resp_{task.task_id}").json()["status"] == "in_progress"
    assert api.get(f"/result/{task.task_id}/events").json()["status"] == "waiting"


def test_a_signal_wakes_the_task_and_a_repeat_does_not(api: Api, task: Task) -> None:
    head = api.head(**{"Idempotency-Key": "once"})
    path = f"/agent/{task.task_id}/signals/go"
    first = api.client.post(path, json={"ok": True}, headers=head)
    assert (first.status_code, first.json()["status"], first.json()["name"]) == (202, "queued", "go")
    again = api.client.post(path, json={"ok": True}, headers=head)
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (202, "true")
    assert again.json()["signal"] == first.json()["signal"]
    assert api.client.post(path, json={"ok": False}, headers=head).status_code == 422
    assert store.get(task.task_id).signals == 1


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """Count what is asked of AWS."""
    calls: Counter[str] = Counter()

    def count(model: Any, **_: Any) -> None:
        calls[model.name] += 1

    clients = (aws.dynamodb(), aws.sqs())
    for client in clients:
        client.meta.events.register("before-call", count)
    yield calls
    for client in clients:
        client.meta.events.unregister("before-call", count)


WAKING = {"GetItem": 1, "TransactWriteItems": 1, "SendMessage": 1}


@pytest.mark.parametrize("head", [{}, {"Idempotency-Key": "once"}])
def test_a_signal_asks_no_more_of_aws_than_a_submit_does(api: Api, task: Task, head: dict[str, str]) -> None:
    with counted() as calls:
        answer = api.client.post(f"/agent/{task.task_id}/signals/go", json={"ok": True}, headers=api.head(**head))
    assert (answer.status_code, dict(calls)) == (202, WAKING)
    with counted() as submit:
        assert api.submit(headers={"Idempotency-Key": "a submit"}).status_code == 202
    assert calls.total() <= submit.total()


def test_an_answer_to_an_approval_asks_no_more_either(api: Api) -> None:
    asking = ask(api, to="bob")
    with counted() as calls:
        assert api.post(f"/agent/{asking.task_id}/approvals/ab12", decision="allow").status_code == 202
    assert dict(calls) == WAKING


def test_a_repeat_is_known_after_the_task_has_ended(api: Api, task: Task) -> None:
    path, head = f"/agent/{task.task_id}/signals/go", api.head(**{"Idempotency-Key": "once"})
    assert api.client.post(path, json={"ok": True}, headers=head).status_code == 202
    assert api.post(f"/agent/{task.task_id}/cancel").is_success
    assert api.client.post(path, json={"ok": True}, headers=head).headers["Idempotent-Replayed"] == "true"
    assert api.client.post(path, json={"ok": False}, headers=head).status_code == 422
    assert api.post(path, ok=True).status_code == 409


@pytest.mark.parametrize("payload", [{"ok": "yes"}, {}, [1], None])
def test_a_payload_that_does_not_fit_is_refused_where_it_is_sent(api: Api, task: Task, payload: Any) -> None:
    answer = api.client.post(f"/agent/{task.task_id}/signals/go", json=payload, headers=api.head())
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid_payload")
    assert store.get(task.task_id).status is Status.WAITING


def test_a_task_that_has_ended_takes_no_signal(api: Api, task: Task) -> None:
    settle.cancel(task.task_id, "demo")
    answer = api.post(f"/agent/{task.task_id}/signals/go", ok=True)
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "conflict")


def test_cancelling_ends_a_waiting_task_at_once(api: Api, task: Task) -> None:
    answer = api.post(f"/agent/{task.task_id}/cancel")
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")


def test_others_cannot_signal(api: Api, task: Task) -> None:
    assert api.post(f"/agent/{task.task_id}/signals/go", "other", ok=True).status_code == 404
    assert api.post(f"/agent/{task.task_id}/signals/go", None, ok=True).status_code == 401


@pytest.mark.parametrize("name", ["a b", "x" * 65, "a%23b", "é"])
def test_no_signal_has_such_a_name(api: Api, task: Task, name: str) -> None:
    assert api.post(f"/agent/{task.task_id}/signals/{name}").status_code == 422


@pytest.mark.parametrize(("size", "status"), [(256 * 1024 - 2, 202), (256 * 1024 - 1, 413)])
def test_a_payload_may_be_so_large(api: Api, task: Task, size: int, status: int) -> None:
    answer = api.client.post(f"/agent/{task.task_id}/signals/early", json="x" * size, headers=api.head())
    assert answer.status_code == status


@pytest.mark.parametrize("body", [b"{", b"NaN", b'{"a":1,"a":2}', b"\xff"])
def test_what_is_no_json_is_refused(api: Api, task: Task, body: bytes) -> None:
    answer = api.client.post(f"/agent/{task.task_id}/signals/early", content=body, headers=api.head())
    assert answer.status_code == 422


def test_an_empty_body_is_a_signal_too(api: Api, task: Task) -> None:
    assert api.client.post(f"/agent/{task.task_id}/signals/early", headers=api.head()).status_code == 202


def test_a_held_answer_does_not_end_with_a_wait(api: Api, task: Task) -> None:
    assert api.get(f"/result/{task.task_id}", wait=0.2).json()["status"] == "waiting"


# ---- approvals


def ask(api: Api, **arguments: Any) -> Task:
    """Submit a task and let it wait to make a call."""
    task_id = api.submit(agent="tools", approve=["send*"]).json()["task_id"]
    task = claims.claim(task_id, 0)
    assert isinstance(task, Task)
    assert task.params["approve"] == ["send*"]
    asked = approvals.Asked("send_mail", arguments, "ab12", True, 7)
    more = approvals.more_of(task, asked)
    one = Wait(kind="approval", name="approval:ab12", nth=1, since=now(), until=now() + 3600, more=more)
    assert waits.suspend(task, [one], [Event("waiting", now(), {})], ends_at=now() + 1e6)
    return task


@pytest.fixture
def asking(api: Api) -> Task:
    return ask(api, to="bob")


def test_arguments_that_an_answer_cannot_hold_are_fetched_one_by_one(api: Api) -> None:
    texts = {ask(api, text=f"{n}" + "\x01" * 250_000).task_id: n for n in range(4)}
    answer = api.get("/approvals")
    assert len(json.dumps({"body": answer.text})) < wire.LAMBDA_BYTES
    listed = answer.json()["approvals"]
    assert {one["task_id"] for one in listed} == set(texts)
    apart = [one for one in listed if one["arguments"] is None]
    assert len(apart) == 1
    assert apart[0]["arguments_bytes"] > 250_000
    path = f"/agent/{apart[0]['task_id']}/approvals/ab12"
    whole = api.get(path).json()
    assert whole["arguments"] == {"text": f"{texts[whole['task_id']]}" + "\x01" * 250_000}
    assert "arguments_bytes" not in whole
    assert api.get(path, "other").status_code == 404
    assert api.get(path.replace("ab12", "ffff")).status_code == 404


def test_the_inbox_shows_the_call_and_only_to_its_owner(api: Api, asking: Task) -> None:
    (one,) = api.get("/approvals").json()["approvals"]
    assert (one["task_id"], one["tool"], one["arguments"], one["fingerprint"]) == (
        asking.task_id,
        "send_mail",
        {"to": "bob"},
        "ab12",
    )
    assert one["cost_usd"] == 7e-6
    (listed,) = api.get("/agent", status="waiting").json()["tasks"]
    assert listed["waiting_for"] == [{"kind": "approval", "name": "approval:ab12", "tool": "send_mail"}]
    assert api.get("/approvals", "other").json() == {"approvals": [], "next_cursor": None}
    assert api.post(f"/agent/{asking.task_id}/approvals/ab12", "other", decision="allow").status_code == 404


def test_lists_show_the_first_things_that_a_task_waits_for_and_approvals_before_others(api: Api) -> None:
    task = claims.claim(api.submit().json()["task_id"], 0)
    assert isinstance(task, Task)
    ends, many = now() + 3600, waits.LISTED + 5
    asked = [Wait(kind="signal", name=f"go-{n}", nth=1, since=now(), until=ends) for n in range(many)]
    asked.append(
        Wait(kind="approval", name="approval:b", nth=1, since=now(), until=ends, more={"budget": {"limit": "x"}})
    )
    assert waits.suspend(task, asked, [Event("waiting", now(), {})], ends_at=now() + 1e6)
    (listed,) = api.get("/agent", status="waiting").json()["tasks"]
    assert listed["waiting_for"][0] == {"kind": "approval", "name": "approval:b", "budget": {"limit": "x"}}
    assert [one["name"] for one in listed["waiting_for"][1:]] == [f"go-{n}" for n in range(waits.LISTED - 1)]
    assert len(api.get(f"/result/{task.task_id}").json()["waiting_for"]) == many + 1


def test_an_answer_wakes_the_task_and_is_kept(api: Api, asking: Task) -> None:
    path = f"/agent/{asking.task_id}/approvals/ab12"
    assert api.post(path, decision="allow", arguments={"to": "eve"}).json()["status"] == "queued"
    assert api.post(path, decision="allow", arguments={"to": "eve"}).headers["Idempotent-Replayed"] == "true"
    assert api.post(path, decision="deny").status_code == 409
    assert inbox.load(asking.task_id)[0].payload == {"decision": "allow", "arguments": {"to": "eve"}, "user": "demo"}
    assert api.get("/approvals").json()["approvals"] == []


@pytest.mark.parametrize(
    "body",
    [{}, {"decision": "maybe"}, {"decision": "deny", "arguments": {}}, {"decision": "deny", "reason": "x" * 4001}],
)
def test_what_is_no_answer(api: Api, asking: Task, body: dict[str, Any]) -> None:
    assert api.post(f"/agent/{asking.task_id}/approvals/ab12", **body).status_code == 422


def test_only_what_is_asked_can_be_answered(api: Api, asking: Task) -> None:
    assert api.post(f"/agent/{asking.task_id}/approvals/ffff", decision="allow").status_code == 404
    assert api.post(f"/agent/{asking.task_id}/signals/approval:ab12", decision="allow").status_code == 422
    settle.cancel(asking.task_id, "demo")
    assert api.post(f"/agent/{asking.task_id}/approvals/ab12", decision="allow").status_code == 409


@pytest.mark.parametrize("ended", [True, False])
def test_the_same_answer_is_harmless_when_the_run_has_gone_on(api: Api, asking: Task, ended: bool) -> None:
    path, words = f"/agent/{asking.task_id}/approvals/ab12", {"decision": "allow", "arguments": {"to": "eve"}}
    assert api.post(path, **words).status_code == 202
    if ended:
        settle.cancel(asking.task_id, "demo")
    else:
        task = claims.claim(asking.task_id, store.get(asking.task_id).gen)
        assert isinstance(task, Task)
        other = Wait(kind="signal", name="go", nth=1, since=now(), until=now() + 3600)
        assert waits.suspend(task, [other], [Event("waiting", now(), {})], ends_at=now() + 1e6)
    again = api.post(path, **words)
    assert (again.status_code, again.headers.get("Idempotent-Replayed")) == (202, "true")
    for body in ({"decision": "deny"}, {"decision": "allow"}, {"decision": "allow", "arguments": {"to": "bob"}}):
        assert api.post(path, **body).status_code == 409
