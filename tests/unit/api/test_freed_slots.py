"""A slot that a submit took and gave back goes to whom another request parked meanwhile, at once."""

from collections.abc import Callable
from typing import Any

import pytest

from functions.api.door.gate import gate
from functions.api.submit import session_line, taking
from shared.errors import DependencyDown
from shared.tasks import parking, store
from tests.unit.api.conftest import Api
from tests.unit.api.test_submit import messages

KEY = {"Idempotency-Key": "k"}


def in_between(monkeypatch: pytest.MonkeyPatch, where: Any, name: str, act: Callable[[], Any]) -> list[Any]:
    """Do something once, before a step of the next submit that has its slot; what came of it stands in the list."""
    real, came = getattr(where, name), []

    def step(*args: Any, **more: Any) -> Any:
        if not came:
            came.append(None)
            came[0] = act()
        return real(*args, **more)

    monkeypatch.setattr(where, name, step)
    return came


def is_sent(api: Api, task_id: str) -> bool:
    sent = [one["task_id"] for one in messages(api.lanes["normal"])]
    return sent.count(task_id) == 1 and not store.get(task_id).parked


def test_a_repeat_that_was_admitted_first_leaves_its_slot_to_the_other(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    came = in_between(monkeypatch, taking, "_write", lambda: api.submit("narrow", headers=KEY))
    answer = api.submit("narrow", headers=KEY)
    (other,) = came
    assert answer.json()["task_id"] == other.json()["task_id"]
    assert is_sent(api, other.json()["task_id"])


def test_a_mismatch_leaves_its_slot(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    came = in_between(monkeypatch, taking, "_write", lambda: api.submit("narrow", headers=KEY, message="other"))
    assert api.submit("narrow", headers=KEY).status_code == 422
    assert is_sent(api, came[0].json()["task_id"])


@pytest.mark.parametrize(("on_busy", "status"), [("reject", 409), (None, 202)])
def test_a_run_whose_session_is_busy_leaves_its_slot(
    api: Api, monkeypatch: pytest.MonkeyPatch, on_busy: str | None, status: int
) -> None:
    first = api.submit("narrow", session_id="s").json()["task_id"]
    gate().release_slot("narrow", first)  # its run waits for a person: the session is busy, and the slot is free
    came = in_between(monkeypatch, session_line, "join", lambda: api.submit("narrow"))
    assert api.submit("narrow", session_id="s", **({"on_busy": on_busy} if on_busy else {})).status_code == status
    assert is_sent(api, came[0].json()["task_id"])


def test_where_it_cannot_be_handed_on_the_answer_is_the_same(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_args: Any) -> None:
        raise DependencyDown("dynamodb")

    monkeypatch.setattr(parking, "unpark_next", away)
    came = in_between(monkeypatch, taking, "_write", lambda: api.submit("narrow", headers=KEY))
    assert api.submit("narrow", headers=KEY).status_code == 202
    assert store.get(came[0].json()["task_id"]).parked  # the sweeper's
