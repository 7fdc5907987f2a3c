"""What operators see and do: everybody's tasks, found by what is known of them, and a record of each act."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import pytest

from shared.clock import day, iso
from shared.settings import settings
from shared.tasks import past_hours, search, settle, spend, store
from shared.tasks.model import Status, Task
from tests.unit.api.conftest import Api
from tests.unit.api.test_results import claim, complete
from tests.unit.api.test_submit import messages


def tasks(api: Api, **params: Any) -> list[dict[str, Any]]:
    answer = api.get("/operator/tasks", "operator", **params)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["tasks"]
    return found


def ids(api: Api, **params: Any) -> list[str]:
    return [one["task_id"] for one in tasks(api, **params)]


def test_everybodys_tasks_are_listed_newest_first_with_whose_they_are(api: Api) -> None:
    made = [api.submit(who, message=f"from {who}").json()["task_id"] for who in ("demo", "other", "vip")]
    found = tasks(api)
    assert [one["task_id"] for one in found] == made[::-1]
    assert [(one["user"], one["message"]) for one in found] == [
        (who, f"from {who}") for who in ("vip", "other", "demo")
    ]


def test_only_operators_search(api: Api) -> None:
    for path in ("/operator/tasks", "/operator/audit"):
        assert api.get(path, "demo").json()["error"]["code"] == "operator_only"
        assert api.get(path, "service").status_code == 403
    for what in ("requeue", "cancel"):
        assert api.post(f"/operator/tasks/task_x/{what}", "vip").status_code == 403
        assert api.post(f"/operator/tasks/task_x/{what}", "operator").status_code == 404
    assert api.get("/operator/tasks/task_x", "demo").status_code == 403


def test_a_search_finds_what_is_known_of_a_task(api: Api) -> None:
    first = api.submit("demo", message="A lamp, please", session_id="s1").json()["task_id"]
    second = api.submit("other", message="m" * 5_000 + "end").json()["task_id"]
    third = api.submit("demo", agent="tools", message="x").json()["task_id"]
    complete(first)
    settle.settle(
        claim(second), settle.Outcome(status=Status.FAILED, error={"code": "odd", "message": "m", "type": "t"})
    )
    for params, wanted in (
        ({"user": "demo"}, [third, first]),
        ({"status": "complete"}, [first]),
        ({"error": "odd"}, [second]),
        ({"agent": "tools"}, [third]),
        ({"session_id": "s1"}, [first]),
        ({"text": "LAMP"}, [first]),
        ({"text": "mmmm", "user": "other"}, [second]),
        ({"user": "demo", "status": "failed"}, []),
        ({"model": "gpt-4o-mini"}, [third, second, first]),
        ({"until": iso(time.time() - 3600)}, []),
        ({"since": iso(time.time() - 3600)}, [third, second, first]),
    ):
        assert ids(api, **params) == wanted, params
    (failed,) = tasks(api, error="odd")
    assert failed["error"]["message"] == "m"
    (done,) = tasks(api, status="complete")
    assert done["cost_usd"] > 0


def put(task_id: str, at: float, user: str = "ann", **more: Any) -> None:
    values: dict[str, Any] = {"lane": "normal", "agent": "chat", "model": "m", "created": at, "day": day(at)}
    store.submit(Task(task_id=task_id, user=user, **(values | more)), f"hello {task_id}")


def walk(api: Api, **params: Any) -> tuple[list[str], int]:
    found, pages, cursor = [], 0, None
    while pages == 0 or cursor:
        answer = api.get("/operator/tasks", "operator", **params, **({"cursor": cursor} if cursor else {})).json()
        found += [one["task_id"] for one in answer["tasks"]]
        pages, cursor = pages + 1, answer["next_cursor"]
        assert pages < 100
    return found, pages


def test_pages_lead_through_all_days(api: Api) -> None:
    at = time.time()
    made = [(f"t{n:02}", at - n * 40_000) for n in range(14)]
    for task_id, when in made:
        put(task_id, when)
    for limit in (1, 3, 7, 100):
        assert walk(api, limit=limit)[0] == [task_id for task_id, _ in made]
    assert walk(api, limit=2, user="ann")[0] == [task_id for task_id, _ in made]


def test_a_page_looks_at_so_many_tasks_and_no_more(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    at = time.time() // 86_400 * 86_400 - 1  # of a day that is over: how many fall into each does not go by the hour
    for n in range(12):
        put(f"t{n:02}", at - n * 30_000, agent="rare" if n == 11 else "chat")
    monkeypatch.setattr(search, "LOOKED_AT_ONCE", 3)
    found, pages = walk(api, agent="rare", limit=5)
    assert found == ["t11"]
    assert pages >= 4
    monkeypatch.setattr(search, "DAYS_AT_ONCE", 1)
    assert walk(api, agent="rare", limit=5)[0] == ["t11"]


def test_a_cursor_of_another_search_is_refused(api: Api) -> None:
    for n in range(3):
        put(f"t{n}", time.time() - n, user=f"u{n % 2}")
    cursor = api.get("/operator/tasks", "operator", limit=1, user="u0").json()["next_cursor"]
    for params in ({"user": "u1"}, {}, {"cursor": "bnVsbA"}, {"cursor": "%%%"}):
        answer = api.get("/operator/tasks", "operator", **({"cursor": cursor} | params))
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid_cursor"), params


def test_a_time_is_read_in_every_zone_that_it_may_name(api: Api) -> None:
    put("t", datetime(2024, 2, 28, 12, tzinfo=UTC).timestamp())
    for since in ("2024-02-28", "2024-02-28T12:00:00", "2024-02-28T07:00:00-05:00", "2024-02-28T17:30:00+05:30",
                  "2024-02-28T12:00:00.000Z", "0001-01-01T00:00:00Z", "20240228T120000Z"):  # fmt: skip
        assert ids(api, since=since, user="ann") == ["t"], since
    for since in ("2024-02-29", "2024-02-28T12:00:01", "2024-02-28T07:00:01-05:00", "9999-12-31T23:59:59Z"):
        assert ids(api, since=since, user="ann") == [], since
    unescaped = api.client.get("/operator/tasks?since=2024-02-28T17:30:01+05:30", headers=api.head("operator"))
    assert (unescaped.status_code, unescaped.json()["tasks"]) == (200, [])


def test_an_end_in_the_future_leaves_out_nothing_and_one_long_ago_all(api: Api) -> None:
    put("t", time.time() - 60)
    assert ids(api, until="2099-01-01T00:00:00Z") == ["t"]
    assert ids(api, until="9999-12-31T23:59:59Z", since="1970-01-01") == ["t"]
    assert ids(api, until="0001-01-01T00:00:00Z") == []
    answer = api.get("/operator/tasks", "operator", since="2026-11-02", until="2026-11-01")
    assert (answer.status_code, answer.json()["error"]["param"]) == (422, "since")


def test_what_is_refused_is_no_act(api: Api) -> None:
    task_id = api.submit("demo").json()["task_id"]
    claim(task_id)
    for what in ("retry", "webhook"):
        assert api.post(f"/operator/tasks/{task_id}/{what}", "operator").status_code == 409
    assert api.post(f"/operator/tasks/{task_id}/approvals/ab12", "operator", decision="allow").status_code == 404
    assert api.get("/operator/audit", "operator").json()["acts"] == []


@pytest.mark.parametrize(
    "query", ["since=x", "until=2026-13-01T00:00:00Z", "since=1795960000", "status=done", "limit=0", "text="]
)
def test_wrong_words_are_named(api: Api, query: str) -> None:
    answer = api.client.get(f"/operator/tasks?{query}", headers=api.head("operator"))
    assert answer.status_code == 422
    assert answer.json()["error"]["param"] == query.split("=")[0]


def test_an_operator_sees_a_users_run_and_what_they_do_to_it_is_written_down(api: Api) -> None:
    task_id = api.submit("demo").json()["task_id"]
    shown = api.get(f"/operator/tasks/{task_id}", "operator").json()
    assert (shown["user"], shown["message"], shown["status"]) == ("demo", "hi", "queued")
    assert api.get(f"/operator/tasks/{task_id}/events", "operator").json()["last_seq"] == 1
    assert api.get(f"/result/{task_id}", "operator").status_code == 404  # users' own calls stay users' own
    messages(api.lanes["normal"])
    assert api.post(f"/operator/tasks/{task_id}/requeue", "operator").status_code == 200
    assert [one["task_id"] for one in messages(api.lanes["normal"])] == [task_id]
    assert api.post(f"/operator/tasks/{task_id}/cancel", "operator").json()["status"] == "cancelled"
    answer = api.post(f"/operator/tasks/{task_id}/requeue", "operator")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "not_queued")
    acts = api.get("/operator/audit", "operator").json()["acts"]
    assert [(act["what"], act["task_id"], act["user"], act["operator"]) for act in acts] == [
        ("cancel", task_id, "demo", "operator"),
        ("requeue", task_id, "demo", "operator"),
    ]


def test_what_users_do_to_their_own_tasks_is_not_audited(api: Api) -> None:
    own = api.submit("operator").json()["task_id"]
    api.post(f"/agent/{own}/cancel", "operator")
    theirs = api.submit("service", user_id="ann").json()["task_id"]
    api.post(f"/agent/{theirs}/cancel", "service")
    assert api.get("/operator/audit", "operator").json() == {"acts": [], "next_cursor": None}


def test_the_audit_is_read_by_days_and_pages(api: Api) -> None:
    made = [api.submit("load").json()["task_id"] for _ in range(5)]
    for task_id in made:
        api.post(f"/operator/tasks/{task_id}/requeue", "operator")
    first = api.get("/operator/audit", "operator", limit=3).json()
    rest = api.get("/operator/audit", "operator", limit=3, cursor=first["next_cursor"]).json()
    assert [act["task_id"] for act in first["acts"] + rest["acts"]] == made[::-1]
    assert api.get("/operator/audit", "operator", day="2020-01-01").json()["acts"] == []
    assert api.get("/operator/audit", "operator", day="2026-02-30").status_code == 422
    answer = api.get("/operator/audit", "operator", day="2020-01-01", cursor=first["next_cursor"])
    assert answer.json()["error"]["code"] == "invalid_cursor"


def test_the_systems_state_names_paused_lanes_dead_letters_and_its_last_hour(api: Api) -> None:
    from functions.api.system import stats
    from shared import valkey
    from shared.limits.lane import Lanes
    from shared.scaling import history

    Lanes().pause({"normal": 60})
    task_id = api.submit("demo").json()["task_id"]
    error = {"code": "dead_letter", "message": "given up"}
    settle.end_unheld(store.get(task_id), settle.Outcome(status=Status.FAILED, error=error))
    valkey.client().rpush(history.KEY, '{"at": 60, "lanes": {}}')
    stats.snapshot.forget()
    shown = api.get("/stats", "operator").json()
    assert {lane: one["paused"] for lane, one in shown["lanes"].items()}["normal"] is True
    assert shown["lanes"]["high"]["paused"] is False
    assert shown["dead_letters"] == {"count": 1, "more": False}
    assert "history" not in shown
    assert api.get("/stats", "operator", history=1).json()["history"] == [{"at": 60, "lanes": {}}]


def test_the_systems_state_names_who_has_the_slots(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    from functions.api.system import stats
    from shared.limits.admission import Gate
    from shared.limits.lane import Lanes

    monkeypatch.setenv("QUEUE_URL_HIGH", "https://sqs.us-east-1.amazonaws.com/1/high")
    settings.cache_clear()
    gate = Gate(spend.load)
    for user, lane, runs in (
        ("ann", "normal", 6),
        ("svc/u1", "normal", 1),
        ("svc/u2", "normal", 1),
        ("ann", "high", 2),
    ):
        for n in range(runs):
            assert gate.take_slot(user, f"task_{user}_{lane}_{n}", 0, 60, lane=lane, starts=True)
    api.submit("demo")
    Lanes().limit({"normal": 20})
    stats.snapshot.forget()
    found = {one["owner"]: one for one in api.get("/stats", "operator").json()["owners"]}
    assert list(found) == ["ann", "svc", "demo"]
    assert found["ann"] == {
        "owner": "ann", "running": 8, "open": None, "lanes": {
            "high": {"running": 2, "slots": None, "share": 1.0}, "normal": {"running": 6, "slots": 20, "share": 0.3},
        },
    }  # fmt: skip
    assert found["svc"]["lanes"] == {"normal": {"running": 2, "slots": 20, "share": 0.1}}
    assert (found["demo"]["running"], found["demo"]["open"]) == (0, 1)


def test_the_waits_of_the_last_hours_are_told(api: Api) -> None:
    from functions.api.system import stats

    stats.past.cache_clear()
    complete(api.submit("demo").json()["task_id"])
    found = api.get("/stats/past", "operator", hours=1).json()
    assert (found["hours"], len(found["stretches"])) == (1, past_hours.STRETCHES)
    assert sum(one["lanes"].get("normal", {"tasks": 0})["tasks"] for one in found["stretches"]) == 1
    assert api.get("/stats/past", "operator", hours=2).json()["error"]["param"] == "hours"
    assert api.get("/stats/past", "demo").status_code == 403


def test_an_operator_sees_a_runs_tree(api: Api) -> None:
    task_id = api.submit("demo").json()["task_id"]
    shown = api.get(f"/operator/tasks/{task_id}", "operator", tree=1).json()
    assert shown["tree"]["root"]["task_id"] == task_id
    assert "tree" not in api.get(f"/operator/tasks/{task_id}", "operator").json()


def test_a_search_in_a_tree_finds_what_is_below_a_run(api: Api) -> None:
    from shared.tasks import claims, family

    root = claims.claim(api.submit("demo", message="root").json()["task_id"], 0)
    api.submit("demo", message="another")
    assert isinstance(root, Task)
    group = family.begin(root, family.Group("map", 1, 3))
    children = family.ids(root.task_id, group)
    for n, child in enumerate(children):
        put(child, time.time() + n, user="demo", agent="tools" if n else "chat", parent=root.task_id)
    every = [*reversed(children), root.task_id]
    assert ids(api, tree=root.task_id) == every
    assert ids(api, tree=root.task_id, agent="tools") == every[:2]
    assert ids(api, tree=root.task_id, user="other") == []
    assert ids(api, tree=root.task_id, until=iso(time.time() - 60)) == []
    first = api.get("/operator/tasks", "operator", tree=root.task_id, limit=3).json()
    rest = api.get("/operator/tasks", "operator", tree=root.task_id, limit=3, cursor=first["next_cursor"]).json()
    assert [one["task_id"] for one in first["tasks"] + rest["tasks"]] == every
    assert rest["next_cursor"] is None
    assert api.get("/operator/tasks", "operator", tree=root.task_id, cursor="x").json()["error"]["param"] == "cursor"
    assert api.get("/operator/tasks", "operator", tree="task_x").status_code == 404
    assert ids(api, tree=children[0]) == [children[0]]
