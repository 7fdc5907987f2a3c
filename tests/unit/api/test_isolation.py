"""Nobody sees, stops or erases what is another's; a trusted service acts for its own users only."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from shared import tickets
from shared.settings import settings
from tests.unit.api.conftest import Api


@pytest.mark.parametrize("who", ["other", "vip", "operator", "service", "load"])
def test_anothers_task_looks_like_none(api: Api, who: str) -> None:
    task_id = api.submit("demo").json()["task_id"]
    unknown = api.get("/result/task_unknown", who).json()
    for answer in (
        api.get(f"/result/{task_id}", who),
        api.get(f"/result/{task_id}/events", who),
        api.post(f"/agent/{task_id}/cancel", who),
    ):
        assert (answer.status_code, answer.json()) == (404, unknown)
    assert api.get("/agent", who).json() == {"tasks": [], "next_cursor": None}
    assert api.get(f"/result/{task_id}").json()["status"] == "queued"


def test_a_cursor_of_another_user_is_refused(api: Api) -> None:
    for _ in range(3):
        api.submit("demo")
    cursor = api.get("/agent", limit=1).json()["next_cursor"]
    answer = api.get("/agent", "other", cursor=cursor)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid_cursor")


@pytest.mark.parametrize("pk", [{"S": "x", "L": 5}, {"N": "1"}, {"S": ""}, {"S": 5}, "x", [], None])
def test_a_cursor_that_was_tampered_with_is_refused(api: Api, pk: Any) -> None:
    for _ in range(2):
        api.submit("demo")
    cursor = api.get("/agent", limit=1).json()["next_cursor"]
    key = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))) | {"pk": pk}
    made = base64.urlsafe_b64encode(json.dumps(key).encode()).decode().rstrip("=")
    answer = api.get("/agent", "demo", cursor=made)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid_cursor")


def test_user_id_with_a_key_that_may_not_name_one_is_refused_and_does_nothing(api: Api) -> None:
    mine = api.submit("demo", session_id="s1").json()["task_id"]
    refused = [api.submit("demo", user_id="other")]
    refused += [
        api.get(path, "demo", user_id="other") for path in ("/agent", f"/result/{mine}", "/limits", "/sessions/s1")
    ]
    refused += [api.delete(path, "demo", user_id="other") for path in ("/sessions/s1", "/me/data")]
    refused += [api.client.post(f"/agent/{mine}/cancel?user_id=other", headers=api.head())]
    refused += [api.client.post("/stream-ticket?user_id=other", headers=api.head())]
    refused += [api.client.get("/agent?user_id=demo&user_id=other", headers=api.head())]
    named = {"user_id": "other"}
    posted = (f"/agent/{mine}/cancel", f"/agent/{mine}/retry", "/stream-ticket")
    refused += [api.client.post(path, json=named, headers=api.head()) for path in posted]
    erased = ("/sessions/s1", "/me/data", f"/agent/{mine}")
    refused += [api.client.request("DELETE", path, json=named, headers=api.head()) for path in erased]
    for answer in refused:
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["param"]) == (403, "user_id_not_allowed", "user_id")
    assert [task["task_id"] for task in api.get("/agent", "demo").json()["tasks"]] == [mine]
    assert api.get(f"/result/{mine}", "demo").json()["status"] == "queued"


def test_a_key_may_name_its_own_user(api: Api) -> None:
    mine = api.submit("demo", user_id="demo").json()["task_id"]
    assert [task["task_id"] for task in api.get("/agent", "demo", user_id="demo").json()["tasks"]] == [mine]


def test_a_service_may_name_its_user_in_a_body_that_says_nothing_else(api: Api) -> None:
    ann = api.submit("service", user_id="ann").json()["task_id"]
    head = api.head("service")

    def cancel(query: str, **body: object) -> int:
        return api.client.post(f"/agent/{ann}/cancel{query}", json=body, headers=head).status_code

    assert cancel("", user_id="bob") == 404
    assert cancel("?user_id=ann", user_id="bob") == 422
    assert [cancel("", user_id=wrong) for wrong in (7, "a b", [], "")] == [422] * 4
    assert api.client.post(f"/agent/{ann}/cancel", content=b'"user_id', headers=head).status_code == 200
    assert cancel("?user_id=ann", user_id="ann") == cancel("", user_id=None) == cancel("", user_id="ann") == 200


def test_a_service_that_acts_for_one_user_does_not_see_anothers(api: Api) -> None:
    ann = api.submit("service", user_id="ann").json()["task_id"]
    assert api.get(f"/result/{ann}", "service", user_id="ann").status_code == 200
    assert api.get(f"/result/{ann}", "service", user_id="bob").status_code == 404
    assert api.client.post(f"/agent/{ann}/cancel?user_id=bob", headers=api.head("service")).status_code == 404
    assert api.get(f"/result/{ann}", "service").json()["status"] == "queued"


def test_a_service_acts_for_its_users_each_with_limits_of_their_own(api: Api) -> None:
    ann = api.submit("service", user_id="ann").json()["task_id"]
    api.submit("service", user_id="bob")
    assert api.get(f"/result/{ann}", "service").status_code == 200
    assert [t["task_id"] for t in api.get("/agent", "service", user_id="ann").json()["tasks"]] == [ann]
    assert api.get("/agent", "service").json()["tasks"] == []
    limits = api.get("/limits", "service", user_id="ann").json()
    assert (limits["user"], limits["limits"]["requests"]["used"]) == ("service/ann", 1)
    assert api.get("/limits", "service").json()["limits"]["requests"]["used"] == 0
    assert api.post(f"/agent/{ann}/cancel", "service").json()["status"] == "cancelled"
    assert api.delete("/me/data", "service", user_id="ann").json()["tasks"] == 1
    assert len(api.get("/agent", "service", user_id="bob").json()["tasks"]) == 1


def test_stats_are_for_operators(api: Api) -> None:
    assert api.get("/stats", "demo").json()["error"]["code"] == "operator_only"
    for _ in range(3):
        api.submit("load")
    shown = api.get("/stats", "operator").json()
    assert shown["lanes"]["normal"]["visible"] == 3
    assert shown["open_tasks"] == 3
    assert shown["dependencies"]["redis"]["status"] == "ok"


def test_refusals_reach_the_stats(api: Api) -> None:
    while api.submit("free").status_code == 202:
        pass
    minutes = api.get("/stats", "operator").json()["refusals"]
    assert sum(minute["refused"].get("requests", 0) for minute in minutes) == 1


def test_a_stream_ticket_is_the_callers_and_used_once(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    assert api.post("/stream-ticket").status_code == 503  # this deployment has no WebSocket API
    monkeypatch.setenv("WS_URL", "wss://live.example")
    settings.cache_clear()
    shown = api.post("/stream-ticket").json()
    assert (shown["url"], shown["expires_in_s"]) == ("wss://live.example", 60)
    assert tickets.redeem(shown["ticket"]) == tickets.Viewer("demo")
    assert tickets.redeem(shown["ticket"]) is None
    ann = api.client.post("/stream-ticket?user_id=ann", headers=api.head("service")).json()
    assert tickets.redeem(ann["ticket"]) == tickets.Viewer("service/ann")
    own = api.client.post("/stream-ticket", headers=api.head("service")).json()
    assert tickets.redeem(own["ticket"]) == tickets.Viewer("service", serves=True)
