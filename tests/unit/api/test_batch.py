"""A hundred submits in one request: each by itself, or all of them or none."""

from __future__ import annotations

from typing import Any

import pytest

from functions.api.submit import batch, taking
from shared import aws
from shared.errors import DependencyDown
from shared.settings import settings
from shared.tasks import claims, store
from shared.tasks.model import Status, Task
from tests.unit.api.conftest import Api
from tests.unit.api.test_submit import messages


def send(api: Api, runs: list[Any], who: str | None = "load", *, key: str | None = None, **more: Any) -> Any:
    head = api.head(who, **({"Idempotency-Key": key} if key else {}))
    return api.client.post("/agent/batch", json={"runs": runs} | more, headers=head)


def hi(n: int, **more: Any) -> dict[str, Any]:
    return {"message": f"hi {n}"} | more


def tasks(api: Api, who: str = "load") -> list[str]:
    return [one["message"] for one in api.get("/agent", who, limit=100).json()["tasks"]][::-1]


def used(api: Api, who: str) -> dict[str, Any]:
    return {name: one["used"] for name, one in api.get("/limits", who).json()["limits"].items()}


def items() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = aws.dynamodb().scan(TableName=settings().table_name)["Items"]  # type: ignore[assignment]
    return [one for one in found if one["pk"]["S"].startswith(("TASK#", "IDEM#"))]


@pytest.mark.parametrize("all_", [False, True])
def test_runs_are_taken_on_in_their_order(api: Api, all_: bool) -> None:
    answer = send(api, [hi(n, agent="tools", metadata={"n": str(n)}) for n in range(5)], all=all_)
    assert answer.status_code == 202, answer.text
    told = answer.json()
    assert (told["accepted"], told["refused"]) == (5, 0)
    made = [store.get(one["task_id"]) for one in told["runs"]]
    assert [(one.message, one.agent, one.params["metadata"]) for one in made] == [
        (f"hi {n}", "tools", {"n": str(n)}) for n in range(5)
    ]
    assert {one["status_code"] for one in told["runs"]} == {202}
    assert [one["task_id"] for one in messages(api.lanes["normal"])] == [one.task_id for one in made]


@pytest.mark.parametrize("all_", [False, True])
@pytest.mark.parametrize(("number", "status"), [(100, 202), (101, 422), (0, 422)])
def test_so_many_at_most(api: Api, all_: bool, number: int, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "SECONDS", 200.0)
    assert send(api, [hi(n) for n in range(number)], all=all_).status_code == status
    assert len(tasks(api)) == (number if status == 202 else 0)


WRONG: list[tuple[Any, int, str, str | None]] = [
    ({"message": ""}, 422, "invalid_request", "message"),
    ({}, 422, "invalid_request", "message"),
    ("hi", 422, "invalid_request", None),
    ({"message": "x", "mesage": "y"}, 422, "invalid_request", "mesage"),
    ({"message": "x", "agent": "nobody"}, 422, "unknown_agent", "agent"),
    ({"message": "x", "idempotency_key": "é"}, 422, "invalid_request", "idempotency_key"),
    ({"message": "x", "user_id": "eve"}, 403, "user_id_not_allowed", "user_id"),
    ({"message": "x" * 262_145}, 413, "message_too_large", "message"),
]


@pytest.mark.parametrize(("wrong", "status", "code", "param"), WRONG)
def test_a_wrong_one_is_told_and_the_others_run(
    api: Api, wrong: Any, status: int, code: str, param: str | None
) -> None:
    answer = send(api, [hi(0), wrong, hi(2)])
    assert answer.status_code == 200
    told = answer.json()
    assert (told["accepted"], told["refused"]) == (2, 1)
    assert [one["status_code"] for one in told["runs"]] == [202, status, 202]
    assert told["runs"][1]["error"]["code"] == code
    assert told["runs"][1]["error"].get("param") == param
    assert tasks(api) == ["hi 0", "hi 2"]


@pytest.mark.parametrize(("wrong", "status", "code", "param"), WRONG)
def test_a_wrong_one_keeps_all_from_running(api: Api, wrong: Any, status: int, code: str, param: str | None) -> None:
    before = used(api, "load")
    answer = send(api, [hi(0), wrong, hi(2)], all=True)
    assert answer.status_code == status
    error = answer.json()["error"]
    assert (error["code"], error["param"]) == (code, f"runs.1.{param}" if param else "runs.1")
    assert (items(), used(api, "load"), messages(api.lanes["normal"])) == ([], before, [])


@pytest.mark.parametrize(
    "body", [{}, {"runs": {}}, {"runs": [hi(0)], "all": "yes"}, {"runs": [hi(0)], "each": True}, {"runs": None}]
)
def test_what_is_no_batch(api: Api, body: dict[str, Any]) -> None:
    answer = api.client.post("/agent/batch", json=body, headers=api.head())
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid_request")
    assert items() == []


def test_a_batch_needs_a_key(api: Api) -> None:
    assert send(api, [hi(0)], None).status_code == 401


# ---- limits


def test_each_is_admitted_until_the_quota_is_used_up(api: Api) -> None:
    left = api.get("/limits", "free").json()["limits"]["requests"]["left"]
    told = send(api, [hi(n) for n in range(left + 2)], "free").json()
    assert told["refused"] >= 2
    refused = [one for one in told["runs"] if one["status_code"] != 202]
    assert {one["error"]["code"] for one in refused} == {"rate_limit_exceeded"}
    assert all(one["retry_after_s"] >= 1 for one in refused)
    assert len(tasks(api, "free")) == told["accepted"] >= 1


def test_all_or_none_leaves_the_quota_as_it_was(api: Api) -> None:
    before = used(api, "free")
    answer = send(api, [hi(n) for n in range(100)], "free", all=True)
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    assert answer.json()["error"]["param"].startswith("runs.")
    assert int(answer.headers["Retry-After"]) >= 1
    assert (items(), used(api, "free")) == ([], before)
    assert send(api, [hi(0)], "free", all=True).status_code == 202


def test_all_or_none_leaves_the_budget_as_it_was(api: Api) -> None:
    before = used(api, "poor")
    answer = send(api, [hi(n) for n in range(5)], "poor", all=True)
    assert (answer.status_code, answer.json()["error"]["code"]) == (402, "insufficient_quota")
    assert (items(), used(api, "poor")) == ([], before)


def test_runs_over_the_running_cap_are_parked(api: Api) -> None:
    told = send(api, [hi(n) for n in range(3)], "narrow", all=True).json()
    assert [store.get(one["task_id"]).parked for one in told["runs"]] == [False, True, True]
    assert len(messages(api.lanes["normal"])) == 1


@pytest.mark.parametrize("all_", [False, True])
def test_runs_of_one_session_stand_in_line(api: Api, all_: bool) -> None:
    told = send(api, [hi(n, session_id="s") for n in range(3)], all=all_).json()
    ids = [one["task_id"] for one in told["runs"]]
    assert [store.get(one).after for one in ids] == [None, ids[0], ids[1]]
    assert [store.get(one).follower for one in ids] == [ids[1], ids[2], None]


def test_a_refused_batch_leaves_a_sessions_line_as_it_was(api: Api) -> None:
    first = api.submit("load", session_id="s").json()["task_id"]
    runs = [hi(0, session_id="s"), hi(1, session_id="s"), hi(2, session_id="s", on_busy="reject")]
    answer = send(api, runs, all=True)
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "session_busy")
    after = api.submit("load", session_id="s").json()["task_id"]
    assert store.get(after).after == first


# ---- repeats


@pytest.mark.parametrize("all_", [False, True])
def test_a_repeat_makes_nothing_new(api: Api, all_: bool) -> None:
    runs = [hi(n, idempotency_key=f"k{n}") for n in range(3)]
    first = send(api, runs, all=all_).json()
    again = send(api, [*runs, hi(3)], all=all_).json()
    assert [one["task_id"] for one in again["runs"][:3]] == [one["task_id"] for one in first["runs"]]
    assert [one.get("replayed") for one in again["runs"]] == [True, True, True, None]
    assert len(tasks(api)) == 4
    single = api.client.post("/agent", json=hi(1), headers=api.head("load", **{"Idempotency-Key": "k1"}))
    assert single.json()["task_id"] == first["runs"][1]["task_id"]


@pytest.mark.parametrize("all_", [False, True])
def test_one_key_for_the_request_gives_every_run_one(api: Api, all_: bool) -> None:
    runs = [hi(0), hi(1, idempotency_key="own")]
    first, again = (send(api, runs, key="k", all=all_).json() for _ in range(2))
    assert [one["task_id"] for one in again["runs"]] == [one["task_id"] for one in first["runs"]]
    assert len(tasks(api)) == 2


@pytest.mark.parametrize("all_", [False, True])
def test_one_key_twice_is_one_task(api: Api, all_: bool) -> None:
    before = used(api, "demo")
    told = send(api, [hi(0, idempotency_key="k"), hi(0, idempotency_key="k")], "demo", all=all_).json()
    assert told["runs"][0]["task_id"] == told["runs"][1]["task_id"]
    assert told["runs"][1]["replayed"] is True
    assert used(api, "demo")["requests"] == before["requests"] + 1
    assert len(messages(api.lanes["normal"])) == 1


def test_one_key_for_two_runs_is_refused_and_all_is_taken_back(api: Api) -> None:
    before = used(api, "demo")
    runs = [hi(0), hi(1, idempotency_key="k", session_id="s"), hi(2, idempotency_key="k"), hi(3)]
    answer = send(api, runs, "demo", all=True)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "idempotency_mismatch")
    assert (items(), used(api, "demo"), messages(api.lanes["normal"])) == ([], before, [])
    assert send(api, [hi(9, idempotency_key="k", session_id="s")], "demo", all=True).status_code == 202


# ---- what breaks


class Breaks:
    """Writes so many tasks, and then DynamoDB is away."""

    def __init__(self, patch: pytest.MonkeyPatch, after: int) -> None:
        self.left = after
        self.whole = store.submit
        patch.setattr(store, "submit", self)

    def __call__(self, task: Task, *args: Any, **how: Any) -> Task:
        self.left -= 1
        if self.left < 0:
            raise DependencyDown("dynamodb")
        return self.whole(task, *args, **how)


@pytest.mark.parametrize("after", [0, 1, 3])
def test_all_or_none_holds_when_the_table_goes_away(api: Api, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    before = used(api, "demo")
    url = "https://hooks.example.com/x"
    runs = [hi(n, idempotency_key=f"k{n}", webhook_url=url) for n in range(4)]
    with monkeypatch.context() as patch:
        Breaks(patch, after)
        assert send(api, runs, "demo", all=True).status_code == 503
    assert (items(), used(api, "demo"), messages(api.lanes["normal"])) == ([], before, [])
    assert send(api, runs, "demo", all=True).json()["accepted"] == 4


def test_each_by_itself_keeps_what_was_written_when_the_table_goes_away(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        broken = Breaks(patch, 2)
        told = send(api, [hi(n) for n in range(5)]).json()
    assert [one["status_code"] for one in told["runs"]] == [202, 202, 503, 503, 503]
    assert broken.left == -1  # the others were not tried: each would have waited
    assert tasks(api) == ["hi 0", "hi 1"]


@pytest.mark.parametrize("all_", [False, True])
def test_a_request_goes_on_for_so_long(api: Api, monkeypatch: pytest.MonkeyPatch, all_: bool) -> None:
    before = used(api, "demo")
    at = iter([0.0, 1.0, batch.SECONDS - 0.1, *[batch.SECONDS] * 9])
    monkeypatch.setattr(batch, "monotonic", lambda: next(at))
    answer = send(api, [hi(n) for n in range(4)], "demo", all=all_)
    monkeypatch.undo()
    if all_:
        assert (answer.status_code, items(), used(api, "demo")) == (503, [], before)
    else:
        assert [one["status_code"] for one in answer.json()["runs"]] == [202, 202, 503, 503]


def test_a_run_that_was_taken_meanwhile_is_not_taken_back(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    written = taking.write
    taken: list[str] = []

    def took(admitted: taking.Admitted) -> taking.Receipt:
        if taken:
            raise DependencyDown("dynamodb")
        receipt = written(admitted)
        taken.append(receipt.task.task_id)
        assert isinstance(claims.claim(receipt.task.task_id, 0), Task)
        return receipt

    monkeypatch.setattr(batch, "write", took)
    assert send(api, [hi(0), hi(1)], all=True).status_code == 503
    assert store.get(taken[0]).status is Status.PROCESSING


def test_a_trusted_services_runs_are_its_users(api: Api) -> None:
    told = send(api, [hi(0, user_id="bob"), hi(1)], "service").json()
    assert [store.get(one["task_id"]).user for one in told["runs"]] == ["service/bob", "service"]
