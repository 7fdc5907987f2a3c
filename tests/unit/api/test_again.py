"""Ended runs once more through the API: retried, forked, deleted."""

from __future__ import annotations

from typing import Any

import pytest

from functions.api.control import again, prefix
from functions.api.door.gate import gate
from shared import aws
from shared.errors import DependencyDown
from shared.limits import keys
from shared.settings import settings
from shared.tasks import aftermath, checkpoints, claims, family, partitions, sessions, settle, store, table
from shared.tasks.events import Event
from shared.tasks.items import attribute
from shared.tasks.model import Status, Task, Usage
from tests.unit.api.conftest import Api
from tests.unit.api.test_results import complete
from tests.unit.api.test_submit import messages


def stepped(task_id: str, *names: str, last: str | None = None, value: Any = "v") -> Task:
    """Run a task to its end with steps of these names; ``last`` is a model step written with the end only."""
    task = claims.claim(task_id, 0)
    assert isinstance(task, Task)
    uses: dict[str, int] = {}
    for name in names:
        uses[name] = nth = uses.get(name, 0) + 1
        told = Event("step", task.created, {"step": name, "n": nth, "ms": 1})
        checkpoints.record(task, checkpoints.Step(name, nth, f"f-{name}", value), [told], use=Usage(3, 4, 50))
    log = [Event("step", task.created, {"step": last, "n": 1, "call": "c"})] if last else []
    settle.settle(task, settle.Outcome(status=Status.COMPLETE, response="done"), message="hi", log=log)
    aftermath.finished(gate(), task)
    return task


def ended(api: Api, *names: str, last: str | None = None, value: Any = "v", who: str = "demo", **body: Any) -> str:
    task_id: str = api.submit(who, **body).json()["task_id"]
    stepped(task_id, *names, last=last, value=value)
    return task_id


def used(api: Api, who: str) -> dict[str, Any]:
    limits = api.get("/limits", who).json()["limits"]
    return {name: limit["used"] for name, limit in limits.items()}


def items(task_id: str) -> list[dict[str, Any]]:
    return list(
        table.query(
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": attribute(f"TASK#{task_id}")},
            ConsistentRead=True,
        )
    )


def steps_of(task_id: str) -> set[tuple[str, int]]:
    return set(checkpoints.load(task_id))


# ---- retry


def test_a_retry_is_a_new_task_with_the_same_input(api: Api) -> None:
    asked = {"agent": "tools", "model": "gpt-4o", "max_output_tokens": 77, "metadata": {"a": "b"}, "timeout_s": 50.0}
    first = ended(api, "plan", message="m" * 3000, session_id="s", **asked)
    answer = api.post(f"/agent/{first}/retry")
    assert answer.status_code == 202, answer.text
    assert answer.headers["Location"] == f"/result/{answer.json()['task_id']}"
    old, new = store.get(first), store.get(answer.json()["task_id"])
    assert new.task_id != first
    assert (store.message_of(new), new.session_id, new.status) == ("m" * 3000, "s", Status.QUEUED)
    assert (new.agent, new.model, new.user, new.micro_usd) == ("tools", "gpt-4o", "demo", 0)
    assert new.params == old.params | {"retry_of": first}
    assert new.task_id in [one["task_id"] for one in messages(api.lanes["normal"])]
    assert api.get(f"/result/{new.task_id}").json()["retry_of"] == first
    assert steps_of(new.task_id) == set()
    assert old.status is Status.COMPLETE


def test_a_retry_counts_against_the_quota_as_any_submit(api: Api) -> None:
    first = ended(api, who="free")
    before = int(api.submit("free").headers["x-ratelimit-remaining-requests"])
    answer = api.post(f"/agent/{first}/retry", "free")
    assert int(answer.headers["x-ratelimit-remaining-requests"]) == before - 1
    while answer.status_code == 202:
        answer = api.post(f"/agent/{first}/retry", "free")
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "rate_limit_exceeded")


def test_a_repeat_with_the_key_is_the_same_task_and_another_task_is_not(api: Api) -> None:
    first, second = ended(api), ended(api)
    head = api.head(**{"Idempotency-Key": "k"})
    made = api.client.post(f"/agent/{first}/retry", headers=head)
    again_ = api.client.post(f"/agent/{first}/retry", headers=head)
    assert (again_.json(), again_.headers["Idempotent-Replayed"]) == (made.json(), "true")
    assert api.client.post(f"/agent/{second}/retry", headers=head).status_code == 422
    assert api.client.post("/agent", json={"message": "hi"}, headers=head).status_code == 422


@pytest.mark.parametrize(("what", "body"), [("retry", {}), ("fork", {"after": 0})])
def test_what_goes_on_is_not_run_again_and_what_is_anothers_does_not_exist(
    api: Api, what: str, body: dict[str, Any]
) -> None:
    live = api.submit().json()["task_id"]
    answer = api.post(f"/agent/{live}/{what}", **body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "not_ended")
    mine = ended(api)
    for who in ("other", "vip", "operator", "service"):
        assert api.post(f"/agent/{mine}/{what}", who, **body).status_code == 404
    assert api.post(f"/agent/{mine}/{what}", None, **body).status_code == 401
    assert api.post(f"/agent/task_unknown/{what}", **body).status_code == 404
    assert len(api.get("/agent").json()["tasks"]) == 2


def test_what_a_service_retries_stays_its_users(api: Api) -> None:
    first = ended(api, who="service", user_id="bob")
    made = api.post(f"/agent/{first}/retry", "service").json()["task_id"]
    assert store.get(made).user == "service/bob"
    assert api.client.post(f"/agent/{first}/retry?user_id=eve", headers=api.head("service")).status_code == 404


def test_a_retry_begins_a_conversation_of_its_own_if_the_first_one_did(api: Api) -> None:
    made = api.client.post("/v1/responses", json={"input": "hi", "background": True}, headers=api.head()).json()
    first = made["id"].removeprefix("resp_")
    complete(first)
    second = api.post(f"/agent/{first}/retry").json()["task_id"]
    assert store.get(second).session_id == second
    assert api.get(f"/v1/responses/resp_{second}").json()["status"] == "queued"


def test_an_image_is_no_text_the_second_time_either(api: Api) -> None:
    image = {"type": "input_image", "image_url": "data:image/png;base64," + "A" * 300_000}
    said = [{"role": "user", "content": [{"type": "input_text", "text": "what is it?"}, image]}]
    made = api.client.post("/v1/responses", json={"input": said, "background": True}, headers=api.head()).json()
    first = made["id"].removeprefix("resp_")
    complete(first)
    assert api.post(f"/agent/{first}/retry").status_code == 202


def test_a_tier_that_may_no_longer_may_not_again(api: Api) -> None:
    first = ended(api, who="vip", priority="high")
    table.update(table.update_op({"pk": {"S": f"TASK#{first}"}, "sk": {"S": "TASK"}}, sets={"user": "free"}))
    answer = api.post(f"/agent/{first}/retry", "free")
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "priority_not_allowed")


# ---- an operator's


def test_an_operator_retries_in_the_owners_place_and_it_is_written_down(api: Api) -> None:
    first = ended(api, who="poor")
    head = api.head("operator", **{"Idempotency-Key": "k"})
    answer = api.client.post(f"/operator/tasks/{first}/retry", headers=head)
    assert answer.status_code == 202, answer.text
    new = store.get(answer.json()["task_id"])
    assert (new.user, new.cap_tokens, new.key_id) == ("poor", 3000, keys.key_id(api.keys["poor"]))
    assert api.client.post(f"/operator/tasks/{first}/retry", headers=head).json()["task_id"] == new.task_id
    acts = api.get("/operator/audit", "operator").json()["acts"]
    assert [(one["what"], one["task_id"], one["user"]) for one in acts] == [("retry", first, "poor")] * 2
    assert api.post(f"/operator/tasks/{first}/retry", "poor").status_code == 403
    assert api.post("/operator/tasks/task_x/retry", "operator").status_code == 404
    assert api.post(f"/operator/tasks/{new.task_id}/retry", "operator").json()["error"]["code"] == "not_ended"


def test_the_owners_budget_holds_for_an_operator_too(api: Api) -> None:
    first = ended(api, who="poor")
    codes = [api.post(f"/operator/tasks/{first}/retry", "operator").status_code for _ in range(4)]
    assert (codes[0], codes[-1]) == (202, 402)


def test_a_task_whose_key_is_gone_keeps_its_tiers_limits(api: Api) -> None:
    first = ended(api, who="demo")
    table.update(table.update_op({"pk": {"S": f"TASK#{first}"}, "sk": {"S": "TASK"}}, sets={"key_id": "f" * 16}))
    assert api.post(f"/operator/tasks/{first}/retry", "operator").status_code == 202
    assert again.owner_of(store.get(first)).limits.tier == "standard"


# ---- fork


@pytest.mark.parametrize(
    ("after", "kept"),
    [
        (0, 0),
        ("plan", 1),
        ("ask", 3),
        ({"name": "ask", "n": 1}, 2),
        ({"name": "ask", "n": 2}, 3),
        ("write", 4),
        (2, 1),
        (4, 3),
        (6, 4),
    ],
)
def test_a_fork_begins_with_the_steps_up_to_where_it_leaves(api: Api, after: Any, kept: int) -> None:
    first = ended(api, "plan", "ask", "ask", "write")
    answer = api.post(f"/agent/{first}/fork", after=after)
    assert answer.status_code == 202, answer.text
    made = store.get(answer.json()["task_id"])
    order = [("plan", 1), ("ask", 1), ("ask", 2), ("write", 1)]
    found = checkpoints.load(made.task_id)
    assert set(found) == set(order[:kept])
    assert all(step.copied and step.fingerprint == f"f-{step.name}" and step.value == "v" for step in found.values())
    assert (made.micro_usd, made.calls, made.params.get("copied")) == (0, 0, kept or None)
    assert api.get(f"/result/{made.task_id}").json()["fork_of"] == first
    assert steps_of(first) == set(order)


def test_with_another_message_or_model_the_steps_stand_for_their_names(api: Api) -> None:
    first = ended(api, "plan", message="old")
    for body in ({"message": "new"}, {"model": "gpt-4o"}):
        made = store.get(api.post(f"/agent/{first}/fork", after="plan", **body).json()["task_id"])
        assert [one.fingerprint for one in checkpoints.load(made.task_id).values()] == [checkpoints.ANY_INPUT]
        assert store.message_of(made) == body.get("message", "old")
        assert made.model == body.get("model", "gpt-4o-mini")
    same = api.post(f"/agent/{first}/fork", after="plan", model="gpt-4o-mini").json()["task_id"]
    assert [one.fingerprint for one in checkpoints.load(same).values()] == ["f-plan"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "invalid_request"),
        ({"after": None}, "invalid_request"),
        ({"after": -1}, "invalid_request"),
        ({"after": True}, "invalid_request"),
        ({"after": 1.5}, "invalid_request"),
        ({"after": ""}, "invalid_request"),
        ({"after": "x" * 65}, "invalid_request"),
        ({"after": {"name": "plan"}}, "invalid_request"),
        ({"after": {"name": "plan", "n": 0}}, "invalid_request"),
        ({"after": "plan", "message": ""}, "invalid_request"),
        ({"after": "plan", "agent": "chat"}, "invalid_request"),
        ({"after": "nothing"}, "unknown_step"),
        ({"after": {"name": "plan", "n": 2}}, "unknown_step"),
        ({"after": 4}, "unknown_step"),
        ({"after": "plan", "model": "no such model"}, "invalid_request"),
    ],
)
def test_a_fork_that_cannot_be(api: Api, body: dict[str, Any], code: str) -> None:
    first = ended(api, "plan")
    answer = api.post(f"/agent/{first}/fork", **body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, code), answer.text
    assert "constrained" not in answer.text  # a word of a library, and no place in the body
    assert "StepUse" not in answer.json()["error"].get("param", "")
    assert len(api.get("/agent").json()["tasks"]) == 1


def test_the_step_that_a_run_ended_with_was_not_kept(api: Api) -> None:
    first = ended(api, "plan", last="model")
    for after in ("model", {"name": "model", "n": 1}, store.get(first).last_seq):
        answer = api.post(f"/agent/{first}/fork", after=after)
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "step_not_kept")
    assert api.post(f"/agent/{first}/fork", after="plan").status_code == 202


def test_an_event_of_an_agents_own_looks_like_no_step(api: Api) -> None:
    first = api.submit().json()["task_id"]
    task = claims.claim(first, 0)
    assert isinstance(task, Task)
    checkpoints.append_events(task, [Event("step", 1.0, {"step": ["x"], "call": 1}), Event("step", 1.0, {"n": 1})])
    settle.settle(task, settle.Outcome(status=Status.FAILED, error={"code": "c", "message": "m", "type": "t"}))
    assert api.post(f"/agent/{first}/fork", after=3).status_code == 202


def test_a_fork_of_a_fork_and_its_retry_begin_with_what_it_was_given(api: Api) -> None:
    first = ended(api, "plan", "ask")
    second = api.post(f"/agent/{first}/fork", after="ask", message="new").json()["task_id"]
    stepped(second, "write")
    third = api.post(f"/agent/{second}/fork", after="plan").json()["task_id"]
    assert steps_of(third) == {("plan", 1)}
    assert {one.fingerprint for one in checkpoints.load(third).values()} == {checkpoints.ANY_INPUT}
    fourth = api.post(f"/agent/{second}/fork", after="write").json()["task_id"]
    assert steps_of(fourth) == {("plan", 1), ("ask", 1), ("write", 1)}
    fifth = api.post(f"/agent/{second}/retry").json()["task_id"]
    assert steps_of(fifth) == {("plan", 1), ("ask", 1)}
    assert store.message_of(store.get(fifth)) == "new"


def test_a_large_step_is_copied_and_outlives_its_first_task(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.tasks.blobs.ITEM_BYTES", 10)
    first = ended(api, "plan", value="large" * 5000)
    made = api.post(f"/agent/{first}/fork", after="plan").json()["task_id"]
    assert api.delete(f"/agent/{first}").status_code == 200
    assert checkpoints.load(made)["plan", 1].value == "large" * 5000


@pytest.mark.parametrize(("most", "status"), [(30, 202), (29, 413)])
def test_so_many_steps_are_copied(api: Api, monkeypatch: pytest.MonkeyPatch, most: int, status: int) -> None:
    monkeypatch.setattr(prefix, "MOST_STEPS", most)
    first = ended(api, *(f"s{n}" for n in range(30)))
    answer = api.post(f"/agent/{first}/fork", after="s29")
    assert answer.status_code == status, answer.text
    if status == 202:
        assert len(steps_of(answer.json()["task_id"])) == 30


def test_a_fork_whose_steps_cannot_be_written_charges_nothing(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    first = ended(api, "plan", who="narrow")
    before = used(api, "narrow")

    def away(items: object) -> None:
        raise DependencyDown("dynamodb")

    with monkeypatch.context() as patch:
        patch.setattr(partitions, "put", away)
        assert api.post(f"/agent/{first}/fork", "narrow", after="plan").status_code == 503
    assert used(api, "narrow") == before
    assert len(api.get("/agent", "narrow").json()["tasks"]) == 1
    made = api.post(f"/agent/{first}/fork", "narrow", after="plan")
    assert store.get(made.json()["task_id"]).parked is False


def test_what_is_left_over_of_a_batch_is_written_too(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    first = ended(api, "a", "b", "c")
    whole, asked = aws.dynamodb().batch_write_item, []

    def half(RequestItems: dict[str, Any]) -> dict[str, Any]:
        ((name, puts),) = RequestItems.items()
        asked.append(len(puts))
        whole(RequestItems={name: puts[:2]})
        return {"UnprocessedItems": {name: puts[2:]} if puts[2:] else {}}

    with monkeypatch.context() as patch:
        patch.setattr(aws.dynamodb(), "batch_write_item", half)
        made = api.post(f"/agent/{first}/fork", after="c").json()["task_id"]
    assert (asked, len(steps_of(made))) == ([3, 1], 3)


def test_the_quicker_of_two_with_one_key_makes_the_only_task(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    first = ended(api, "plan")
    head = api.head(**{"Idempotency-Key": "k"})
    written, made = prefix.write, []

    def slow(rows: Any, task_id: str, *, any_input: bool) -> None:
        made.append(task_id)
        if len(made) == 1:
            other = api.client.post(f"/agent/{first}/fork", json={"after": "plan"}, headers=head)
            assert other.status_code == 202
        written(rows, task_id, any_input=any_input)

    monkeypatch.setattr(prefix, "write", slow)
    answer = api.client.post(f"/agent/{first}/fork", json={"after": "plan"}, headers=head)
    assert answer.json()["task_id"] == made[1]
    assert items(made[0]) == []
    body = {"after": 0}
    assert api.client.post(f"/agent/{first}/fork", json=body, headers=head).status_code == 422


# ---- delete


def test_a_deleted_task_leaves_nothing_but_what_it_cost(api: Api) -> None:
    task_id = ended(api, "plan", message="m" * 3000, session_id="s")
    left = ended(api, session_id="s")
    assert len(api.get("/sessions/s").json()["turns"]) == 2
    spent = used(api, "demo")
    answer = api.delete(f"/agent/{task_id}")
    assert (answer.status_code, answer.json()) == (200, {"task_id": task_id, "deleted": True})
    assert items(task_id) == []
    assert api.get(f"/result/{task_id}").status_code == 404
    assert api.delete(f"/agent/{task_id}").status_code == 404
    assert [turn["task_id"] for turn in api.get("/sessions/s").json()["turns"]] == [left]
    assert [one["task_id"] for one in api.get("/agent").json()["tasks"]] == [left]
    assert used(api, "demo") == spent


def test_its_turn_may_be_kept(api: Api) -> None:
    task_id = ended(api, session_id="s")
    assert api.delete(f"/agent/{task_id}", keep_turn=True).status_code == 200
    assert [turn.task_id for turn in sessions.read("demo", "s", limit=9)] == [task_id]


def test_its_objects_go_with_it(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.tasks.blobs.ITEM_BYTES", 10)
    task_id = ended(api, "plan", value="large" * 5000)
    bucket = settings().blob_bucket
    assert aws.s3().list_objects_v2(Bucket=bucket)["KeyCount"] == 1
    api.delete(f"/agent/{task_id}")
    assert aws.s3().list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_a_delete_that_was_cut_off_is_finished_by_the_next(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    task_id = ended(api, *(f"s{n}" for n in range(60)))
    whole, calls = aws.dynamodb().batch_write_item, []

    def once(**asked: Any) -> Any:
        calls.append(1)
        if len(calls) > 1:
            raise DependencyDown("dynamodb")
        return whole(**asked)

    with monkeypatch.context() as patch:
        patch.setattr(aws.dynamodb(), "batch_write_item", once)
        assert api.delete(f"/agent/{task_id}").status_code == 503
    assert api.get(f"/result/{task_id}").json()["status"] == "complete"
    assert api.delete(f"/agent/{task_id}").status_code == 200
    assert items(task_id) == []


def test_only_what_is_ones_own_and_has_ended_can_be_deleted(api: Api) -> None:
    live, task_id = api.submit().json()["task_id"], ended(api)
    answer = api.delete(f"/agent/{live}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "not_ended")
    for who in ("other", "vip", "operator", "service"):
        assert api.delete(f"/agent/{task_id}", who).status_code == 404
    assert api.delete(f"/agent/{task_id}", None).status_code == 401
    assert api.get(f"/result/{task_id}").status_code == 200
    api.post(f"/agent/{live}/cancel")
    assert api.delete(f"/agent/{live}").status_code == 200


def test_a_key_whose_task_was_deleted_makes_no_second_one(api: Api) -> None:
    head = api.head(**{"Idempotency-Key": "k"})
    task_id = api.client.post("/agent", json={"message": "hi"}, headers=head).json()["task_id"]
    complete(task_id)
    api.delete(f"/agent/{task_id}")
    answer = api.client.post("/agent", json={"message": "hi"}, headers=head)
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "idempotency_gone")


@pytest.mark.parametrize("address", ["/agent/{}", "/v1/responses/resp_{}"])
def test_a_child_stays_until_its_parent_has_read_its_end(api: Api, address: str) -> None:
    parent = api.submit().json()["task_id"]
    held = claims.claim(parent, 0)
    assert isinstance(held, Task)
    group = family.begin(held, family.Group("run", 1, 1))
    child_id = family.child_id(parent, group.key, 0)
    row = store.get(parent)
    child = Task(
        task_id=child_id, user="demo", lane="normal", agent="chat", model="gpt-4o-mini", created=row.created,
        day=row.day, parent=parent, family=group.key, family_size=1, session_id="", depth=1,
    )  # fmt: skip
    store.submit(child, "hi")
    settle.settle(held, settle.Outcome(status=Status.COMPLETE, response="x"))
    # The parent ended before its child, whose end is seen to before the parent's row goes.
    assert api.delete(address.format(parent)).status_code == 200
    assert store.get(child_id).status is Status.CANCELLED
    assert api.delete(address.format(child_id)).status_code == 200


def test_a_child_of_a_live_run_is_not_deleted(api: Api) -> None:
    parent = api.submit().json()["task_id"]
    task_id = ended(api)
    table.update(table.update_op({"pk": {"S": f"TASK#{task_id}"}, "sk": {"S": "TASK"}}, sets={"parent": parent}))
    answer = api.delete(f"/agent/{task_id}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "parent_not_ended")
