"""Who sees what of the days' costs, added up by what, and how much at once."""

from __future__ import annotations

import time
from typing import Any

import pytest

from functions.api.routes import costs as route
from functions.api.system import costs as adding
from shared import clock
from shared.tasks import spend
from shared.tasks.model import Task, Usage
from tests.unit.api.conftest import Api

DAY_S = 86_400


def spent(user: str, micro_usd: int, *, ago: int = 0, **more: Any) -> None:
    day = clock.day(time.time() - ago * DAY_S)
    values: dict[str, Any] = {"lane": "normal", "agent": "chat", "model": "gpt-4o", "key_id": f"key-{user}"}
    task = Task(task_id="t", user=user, created=time.time(), day=day, **(values | more))
    spend.lost(task, Usage(micro_usd, 0, micro_usd, day))


def groups(api: Api, who: str = "operator", **params: Any) -> dict[str, int]:
    answer = api.get("/costs", who, **params)
    assert answer.status_code == 200, answer.text
    by = answer.json()["by"]
    return {one[by]: one["tokens"] for one in answer.json()["groups"]}


def test_an_operator_sees_everybodys_and_a_user_their_own(api: Api) -> None:
    spent("demo", 10)
    spent("demo", 5, agent="tools", model="gpt-4o-mini")
    spent("other", 100)
    spent("service/u1", 7)
    assert groups(api, by="user") == {"other": 100, "demo": 15, "service/u1": 7}
    assert list(groups(api, by="user")) == ["other", "demo", "service/u1"]
    assert groups(api, by="model") == {"gpt-4o": 117, "gpt-4o-mini": 5}
    assert groups(api, by="model", user="demo") == {"gpt-4o": 10, "gpt-4o-mini": 5}
    assert groups(api, "demo", by="user") == groups(api, "demo", by="user", user="demo") == {"demo": 15}
    assert groups(api, "demo", by="agent") == {"chat": 10, "tools": 5}
    assert groups(api, "demo", by="key") == {"key-demo": 15}
    assert groups(api, "vip", by="model") == {}
    assert groups(api, "service", by="user") == {"service/u1": 7}
    assert groups(api, "service", by="user", user_id="u1") == {"service/u1": 7}
    assert groups(api, "service", by="user", user_id="u2") == {}
    refused = api.get("/costs", "demo", user="other")
    assert (refused.status_code, refused.json()["error"]["param"]) == (403, "user")
    assert api.get("/costs", "service", user="other").status_code == 403
    assert api.get("/costs", None).status_code == 401


def test_a_period_has_both_its_ends(api: Api) -> None:
    for ago in range(4):
        spent("demo", 10**ago, ago=ago)
    today, back = clock.day(time.time()), [clock.day(time.time() - n * DAY_S) for n in range(4)]
    assert groups(api, "demo") == {back[3]: 1000, back[2]: 100, back[1]: 10, today: 1}
    assert groups(api, "demo", **{"from": back[2], "to": back[1]}) == {back[2]: 100, back[1]: 10}
    whole = api.get("/costs", "demo", **{"from": back[2], "to": today}).json()
    assert (whole["from"], whole["to"], whole["total"]["tokens"]) == (back[2], today, 111)
    assert whole["total"]["cost_usd"] == pytest.approx(0.000111)
    assert list(groups(api, "demo")) == sorted(groups(api, "demo"))


def test_pages_hold_what_one_page_would(api: Api) -> None:
    for n in range(5):
        spent(f"user{n}", 10 + n)
    whole = api.get("/costs", "operator", by="user").json()
    pages, cursor = [], 0
    while cursor is not None:
        page = api.get("/costs", "operator", by="user", limit=2, cursor=cursor).json()
        assert page["total"] == whole["total"]
        pages += page["groups"]
        cursor = page["next_cursor"]
    assert pages == whole["groups"]
    assert len(pages) == 5


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({"from": "2026-02-30"}, "from"),
        ({"to": "yesterday"}, "to"),
        ({"from": "2026-02-02", "to": "2026-02-01"}, "from"),
        ({"from": "2024-01-01", "to": "2026-02-01"}, "from"),
        ({"to": "0001-01-01"}, "to"),
        ({"by": "mood"}, "by"),
        ({"limit": str(route.MOST_GROUPS + 1)}, "limit"),
        ({"cursor": "-1"}, "cursor"),
    ],
)
def test_a_wrong_period_is_named(api: Api, params: dict[str, str], param: str) -> None:
    answer = api.get("/costs", "operator", **params)
    assert (answer.status_code, answer.json()["error"]["param"]) == (422, param)


def test_so_many_days_may_be_asked_for_and_no_more(api: Api) -> None:
    last = clock.epoch("2026-02-01T00:00:00+00:00")
    for days, status in ((adding.MOST_DAYS, 200), (adding.MOST_DAYS + 1, 422)):
        first = clock.day(last - (days - 1) * DAY_S)
        assert api.get("/costs", "demo", **{"from": first, "to": "2026-02-01"}).status_code == status


def test_so_many_counters_are_added_up_and_no_more(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(4):
        spent(f"user{n}", 1)
    for most, status in ((4, 200), (3, 422)):
        monkeypatch.setattr(adding, "MOST_COUNTERS", most)
        assert api.get("/costs", "operator", by="model").status_code == status
    assert api.get("/costs", "operator", by="model", user="user1").status_code == 200


def test_many_counters_are_read_in_parts(api: Api) -> None:
    for n in range(120):
        spent(f"user{n:03}", 1)
    assert groups(api, by="agent") == {"chat": 120}
