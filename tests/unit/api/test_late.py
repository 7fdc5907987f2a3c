"""A task that waits longer than its ``timeout_s`` has ended when its client looks."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from shared.tasks import overdue, settle, store
from shared.tasks.model import Status

if TYPE_CHECKING:
    from tests.unit.api.conftest import Api


def parked_for(api: Api, monkeypatch: pytest.MonkeyPatch, seconds: float, **more: object) -> str:
    """Submit a run behind another of its user, who may have one at once; so much later than now it is, then."""
    api.submit("narrow")
    task_id: str = api.submit("narrow", **more).json()["task_id"]
    assert store.get(task_id).parked
    monkeypatch.setattr(overdue, "now", lambda: time.time() + seconds)
    return task_id


def test_it_has_failed_with_its_reason(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    task_id = parked_for(api, monkeypatch, 6, timeout_s=5)
    shown = api.get(f"/result/{task_id}", "narrow").json()
    assert (shown["status"], shown["error"]["code"]) == ("failed", "timeout")
    assert store.get(task_id).status is Status.FAILED
    again = api.get(f"/result/{task_id}", "narrow").json()
    assert again == shown


def test_whoever_holds_a_long_poll_is_told_when_it_happens(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    api.submit("narrow")
    task_id = api.submit("narrow", timeout_s=1).json()["task_id"]
    began = time.time()
    shown = api.get(f"/result/{task_id}", "narrow", wait=20).json()
    assert (shown["status"], shown["error"]["code"]) == ("failed", "timeout")
    assert store.get(task_id).ended_at >= began + 0.5  # type: ignore[operator]


def test_before_that_it_waits(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    task_id = parked_for(api, monkeypatch, 4, timeout_s=5)
    assert api.get(f"/result/{task_id}", "narrow").json()["status"] == "queued"


def test_nobody_else_makes_it_end_by_asking(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    task_id = parked_for(api, monkeypatch, 6, timeout_s=5)
    assert api.get(f"/result/{task_id}", "other").status_code == 404
    assert store.get(task_id).status is Status.QUEUED


def test_a_storage_that_cannot_write_it_shows_it_as_it_is(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    from shared.errors import DependencyDown

    task_id = parked_for(api, monkeypatch, 6, timeout_s=5)

    def away(*_: object, **__: object) -> None:
        raise DependencyDown("dynamodb")

    monkeypatch.setattr(settle, "end_unheld", away)
    assert api.get(f"/result/{task_id}", "narrow").json()["status"] == "queued"


def test_openai_clients_see_its_end_too(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    task_id = parked_for(api, monkeypatch, 6, timeout_s=5)
    shown = api.get(f"/v1/responses/resp_{task_id}", "narrow").json()
    assert shown["status"] == "failed"
    assert shown["error"]["message"] == overdue.ERROR["message"]


def test_openai_clients_that_wait_are_answered_when_it_happens(api: Api) -> None:
    api.submit("narrow")
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}], "timeout_s": 1}
    answer = api.post("/v1/chat/completions", "narrow", **body)
    assert "timeout" in answer.text
    assert [task["status"] for task in api.get("/agent", "narrow").json()["tasks"]][:1] == ["failed"]
