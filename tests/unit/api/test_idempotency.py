"""A repeat with the same key is the same task, and is charged once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tests.unit.api.conftest import Api
from tests.unit.api.test_submit import messages

KEY = {"Idempotency-Key": "order-1"}


def used(api: Api) -> int:
    return int(api.get("/limits").json()["limits"]["requests"]["used"])


def test_a_repeat_returns_the_task_and_charges_nothing(api: Api) -> None:
    first = api.submit(headers=KEY, metadata={"a": "1", "b": "2"})
    again = api.submit(headers=KEY, metadata={"b": "2", "a": "1"})
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json() == again.json()
    assert again.headers["location"] == first.headers["location"]
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    assert used(api) == 1
    assert len(messages(api.lanes["normal"])) == 1


def test_another_body_is_422_and_another_user_another_task(api: Api) -> None:
    first = api.submit(headers=KEY)
    clash = api.submit(headers=KEY, message="other")
    assert (clash.status_code, clash.json()["error"]["code"]) == (422, "idempotency_mismatch")
    assert api.submit("other", headers=KEY).json()["task_id"] != first.json()["task_id"]
    assert used(api) == 1


def test_many_at_once_make_one_task_and_are_charged_once(api: Api) -> None:
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: api.submit(headers=KEY), range(20)))
    assert {a.status_code for a in answers} == {202}
    assert len({a.json()["task_id"] for a in answers}) == 1
    assert used(api) == 1
    assert len(messages(api.lanes["normal"])) == 1


def test_a_repeat_is_answered_when_the_quota_is_used_up(api: Api) -> None:
    first = api.submit(headers=KEY).json()
    while api.submit().status_code == 202:
        pass
    assert api.submit(headers=KEY).json() == first


def test_a_key_whose_task_was_erased_is_409(api: Api) -> None:
    api.submit(headers=KEY)
    assert api.delete("/me/data").status_code == 200
    gone = api.submit(headers=KEY)
    assert (gone.status_code, gone.json()["error"]["code"]) == (409, "idempotency_gone")
    assert used(api) == 1
