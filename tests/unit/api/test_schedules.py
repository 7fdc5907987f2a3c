"""Schedules through the API, and their firings: once each, whatever dies between two writes."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from functions.api import app
from functions.api.contract.problem import Problem
from functions.api.control import erase
from functions.api.schedules import firings
from functions.api.submit import taking
from functions.sweeper import firings as sweeper
from shared import clock
from shared.clock import epoch, now
from shared.errors import DependencyDown
from shared.limits import keys
from shared.schedules import store, timers
from shared.schedules.model import GRACE_SECONDS, Schedule, jitter, shard_of
from shared.settings import settings
from shared.tasks import lanes, settle, table
from shared.tasks import store as tasks
from shared.tasks.model import Status
from shared.tasks.settle import Outcome
from tests.unit.api.conftest import Api
from tests.unit.tables import client

EVERY_MINUTE = "* * * * *"


@pytest.fixture(autouse=True)
def _clock() -> Iterator[None]:
    """Begin with a minute: SQS' time goes on as it does, and brings what was sent for the next one when that comes."""
    clock.set_ahead(62 - time.time() % 60)
    yield
    clock.set_ahead(0)


def make(api: Api, who: str = "demo", **body: Any) -> dict[str, Any]:
    if "at" not in body:
        body.setdefault("cron", EVERY_MINUTE)
    answer = api.post("/schedules", who, **({"run": {"message": "hi"}} | body))
    assert answer.status_code == 201, answer.json()
    made: dict[str, Any] = answer.json()
    return made


def row(made: dict[str, Any], user: str = "demo") -> Schedule:
    return store.load(user, made["schedule_id"])


def at(seconds: float) -> None:
    """Set the clock."""
    clock.set_ahead(clock._ahead + seconds - now())


def come(made: dict[str, Any], *, late: float = 0.2, user: str = "demo") -> list[str]:
    """Let a schedule's next firing come, as its message does."""
    schedule = row(made, user)
    assert schedule.next_at is not None
    at(schedule.fire_at + late)
    return firings.fire(timers.Firing(user, schedule.schedule_id, schedule.next_at))


def runs(api: Api, who: str = "demo") -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = api.get("/agent", who, limit=100).json()["tasks"]
    return listed


def end(task_id: str) -> None:
    settle.end_unheld(tasks.get(task_id), Outcome(status=Status.CANCELLED))


def messages() -> list[dict[str, Any]]:
    got = client("sqs").receive_message(QueueUrl=settings().queue_url_firings, MaxNumberOfMessages=10)
    return [json.loads(one["Body"]) for one in got.get("Messages", [])]


# ---- what clients see


def test_a_schedule_shows_its_next_instants_in_utc(api: Api) -> None:
    made = make(api, cron="30 8 * * *", timezone="Asia/Kolkata", name="morning", jitter_s=60, overlap="queue")
    assert made["status"] == "active"
    assert [text[10:] for text in made["next"]] == ["T03:00:00.000Z"] * 5
    assert made["next"] == sorted(made["next"])
    assert made["library"].startswith("cronsim ")
    assert 0 <= epoch(made["fires_at"]) - epoch(made["next"][0]) <= 60
    assert api.get(f"/schedules/{made['schedule_id']}").json()["next"] == made["next"]
    assert (made["run"], made["name"], made["overlap"]) == ({"message": "hi"}, "morning", "queue")


def test_schedules_are_listed_by_pages_and_only_to_their_owner(api: Api) -> None:
    ids = {make(api)["schedule_id"] for _ in range(3)}
    first = api.get("/schedules", limit=2).json()
    second = api.get("/schedules", limit=2, cursor=first["next_cursor"]).json()
    assert {one["schedule_id"] for one in first["schedules"] + second["schedules"]} == ids
    assert second["next_cursor"] is None
    assert api.get("/schedules", "other").json() == {"schedules": [], "next_cursor": None}
    assert api.get("/schedules", "other", cursor=first["next_cursor"]).status_code == 422
    one = ids.pop()
    for answer in (
        api.get(f"/schedules/{one}", "other"),
        api.delete(f"/schedules/{one}", "other"),
        api.client.patch(f"/schedules/{one}", json={"paused": True}, headers=api.head("other")),
    ):
        assert answer.status_code == 404
    assert api.get(f"/schedules/{one}", None).status_code == 401


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"cron": "0 8 30 2 *"}, "cron"),
        ({"cron": "61 * * * *"}, "cron"),
        ({"cron": "* * * * * *"}, "cron"),
        ({"cron": "0 8 * * *", "timezone": "Europe/Atlantis"}, "timezone"),
        ({"at": "2026-02-30T08:00:00Z"}, "at"),
        ({"at": "2020-01-01T08:00:00Z"}, "at"),
        ({"at": "2999-01-01T08:00:00Z"}, "at"),
        ({"at": "2037-01-01T08:00:00Z", "timezone": "Nowhere"}, "timezone"),
        ({}, None),
        ({"cron": "0 8 * * *", "at": "2037-01-01T08:00:00Z"}, None),
        ({"cron": "0 8 * * *", "jitter_s": 3601}, "jitter_s"),
        ({"cron": "* * * * *", "jitter_s": 61}, "jitter_s"),
        ({"cron": "0 8 * * *", "catch_up_s": 82_801}, "catch_up_s"),
        ({"cron": "0 8 * * *", "overlap": "maybe"}, "overlap"),
        ({"cron": "0 8 * * *", "run": {"message": ""}}, "run.message"),
        ({"cron": "0 8 * * *", "run": {"message": "x", "agent": "nobody"}}, "agent"),
        ({"cron": "0 8 * * *", "run": {"message": "x", "user_id": "demo"}}, "run.user_id"),
        ({"cron": "0 8 * * *", "surprise": 1}, "surprise"),
    ],
)
def test_what_is_no_schedule_is_named(api: Api, body: dict[str, Any], param: str | None) -> None:
    answer = api.post("/schedules", **({"run": {"message": "hi"}} | body))
    assert answer.status_code == 422
    assert answer.json()["error"].get("param") == param
    assert api.get("/schedules").json()["schedules"] == []


def test_what_a_tier_may_not_run_it_may_not_schedule(api: Api) -> None:
    body = {"cron": "0 8 * * *", "run": {"message": "hi", "priority": "high"}}
    assert api.post("/schedules", "free", **body).status_code == 403


def test_a_user_has_so_many_schedules_and_an_ended_or_deleted_one_makes_room(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAX_SCHEDULES", "2")
    settings.cache_clear()
    first, second = make(api), make(api, at=clock.iso(now() + 30))
    full = api.post("/schedules", cron=EVERY_MINUTE, run={"message": "hi"})
    assert (full.status_code, full.json()["error"]["code"]) == (409, "too_many_schedules")
    make(api, "other")
    assert api.delete(f"/schedules/{first['schedule_id']}").status_code == 200
    assert api.delete(f"/schedules/{first['schedule_id']}").status_code == 404
    make(api)
    assert come(second) == ["submitted"]
    make(api)
    assert api.delete(f"/schedules/{second['schedule_id']}").status_code == 200
    assert api.post("/schedules", cron=EVERY_MINUTE, run={"message": "hi"}).status_code == 409


def test_a_deployment_can_take_none(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_SCHEDULES", "0")
    settings.cache_clear()
    assert api.post("/schedules", cron=EVERY_MINUTE, run={"message": "hi"}).status_code == 409


@pytest.mark.parametrize(("least", "status"), [(3600, 201), (3601, 422)])
def test_schedules_are_fired_so_often_at_most(
    api: Api, monkeypatch: pytest.MonkeyPatch, least: int, status: int
) -> None:
    monkeypatch.setenv("SCHEDULE_LEAST_SECONDS", str(least))
    settings.cache_clear()
    answer = api.post("/schedules", cron="0 * * * *", run={"message": "hi"})
    assert answer.status_code == status
    if status == 422:
        assert answer.json()["error"]["code"] == "too_frequent"


# ---- firings


def test_a_firing_is_a_submit_of_the_owner(api: Api) -> None:
    made = make(api, run={"message": "news", "metadata": {"a": "b"}})
    assert come(made) == ["submitted"]
    (run,) = runs(api)
    assert (run["message"], run["status"]) == ("news", "queued")
    shown = api.get(f"/schedules/{made['schedule_id']}").json()
    assert (shown["last"]["task_id"], shown["last"]["instant"]) == (run["task_id"], made["next"][0])
    assert shown["counts"] == {"submitted": 1}
    assert shown["next"][:4] == made["next"][1:]
    assert api.get(f"/result/{run['task_id']}").json()["metadata"] == {"a": "b"}


def test_a_message_that_comes_twice_fires_once(api: Api) -> None:
    made = make(api)
    before = row(made)
    assert before.next_at is not None
    told = timers.Firing("demo", made["schedule_id"], before.next_at)
    at(before.next_at + 1)
    assert [firings.fire(told), firings.fire(told)] == [["submitted"], []]
    assert len(runs(api)) == 1


@pytest.mark.parametrize("overlap", ["skip", "queue", "cancel"])
def test_death_between_submit_and_advance_fires_once(api: Api, monkeypatch: pytest.MonkeyPatch, overlap: str) -> None:
    made = make(api, overlap=overlap)
    with monkeypatch.context() as patch:
        patch.setattr(store, "write", _die)
        with pytest.raises(DependencyDown):
            come(made)
    assert row(made).next_at == epoch(made["next"][0])
    assert come(made, late=20) == ["submitted"]
    (run,) = runs(api)
    assert (row(made).last_task, run["status"]) == (run["task_id"], "queued")


def _die(*_args: Any, **_more: Any) -> bool:
    raise DependencyDown("dynamodb")


def test_death_before_the_message_of_the_next_one_is_repaired_by_the_sweeper(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make(api)
    messages()
    with monkeypatch.context() as patch:
        patch.setattr(timers, "send", _die)
        assert come(made) == ["submitted"]
    at(now() + 0.1)
    assert sweeper.bring(now() + 5)["firing sent"] == 1
    schedule = row(made)
    assert schedule.next_at is not None
    assert messages() == []  # delayed until then
    assert sweeper.bring(now() + 5) == {}
    at(schedule.fire_at + timers.REPAIR_SECONDS + 1)
    assert sweeper.bring(now() + 5)["firing sent"] == 1  # the message was lost
    assert messages()[0]["instant"] == schedule.next_at


def test_two_at_once_fire_once(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make(api)
    write = store.write

    def after_another(*args: Any, **more: Any) -> bool:
        monkeypatch.setattr(store, "write", write)
        assert come(made) == ["submitted"]
        return write(*args, **more)

    monkeypatch.setattr(store, "write", after_another)
    assert come(made) == []
    assert len(runs(api)) == 1


def test_a_message_of_an_earlier_plan_fires_nothing(api: Api) -> None:
    made = make(api)
    old = row(made).next_at
    assert old is not None
    api.client.patch(f"/schedules/{made['schedule_id']}", json={"cron": "0 0 1 1 *"}, headers=api.head())
    at(old + 1)
    assert firings.fire(timers.Firing("demo", made["schedule_id"], old)) == []
    api.delete(f"/schedules/{made['schedule_id']}")
    assert firings.fire(timers.Firing("demo", made["schedule_id"], old)) == []
    assert runs(api) == []


def test_a_message_that_comes_too_early_comes_again(api: Api) -> None:
    made = make(api, at=clock.iso(now() + 300))  # no minute that begins now
    messages()
    schedule = row(made)
    assert schedule.next_at is not None
    at(schedule.next_at - 60)
    assert firings.fire(timers.Firing("demo", made["schedule_id"], schedule.next_at)) == []
    assert firings.fire(timers.Firing("demo", made["schedule_id"], schedule.next_at - 60)) == []
    queue = client("sqs").get_queue_attributes(
        QueueUrl=settings().queue_url_firings, AttributeNames=["ApproximateNumberOfMessagesDelayed"]
    )
    assert queue["Attributes"]["ApproximateNumberOfMessagesDelayed"] == "2"  # made, and sent on


def test_a_one_off_fires_once_and_has_ended(api: Api) -> None:
    made = make(api, at=clock.iso(now() + 30))
    assert made["cron"] is None
    assert come(made) == ["submitted"]
    shown = api.get(f"/schedules/{made['schedule_id']}").json()
    assert (shown["status"], shown["next"]) == ("ended", [])
    answer = api.client.patch(f"/schedules/{made['schedule_id']}", json={"name": "x"}, headers=api.head())
    assert answer.status_code == 409
    assert table.get({"pk": {"S": "SCHEDULES#demo"}, "sk": {"S": made["schedule_id"]}})["ttl"]  # type: ignore[index]


def test_paused_means_no_firing_and_resumed_means_none_of_those_missed(api: Api) -> None:
    made = make(api)
    path = f"/schedules/{made['schedule_id']}"
    paused = api.client.patch(path, json={"paused": True}, headers=api.head()).json()
    assert (paused["status"], paused["next"], paused["paused"]) == ("paused", [], True)
    at(now() + 600)
    assert firings.fire(timers.Firing("demo", made["schedule_id"], epoch(made["next"][0]))) == []
    assert sweeper.bring(now() + 5) == {}
    resumed = api.client.patch(path, json={"paused": False}, headers=api.head()).json()
    assert resumed["status"] == "active"
    assert epoch(resumed["next"][0]) > now()
    assert come(made) == ["submitted"]
    assert len(runs(api)) == 1


def test_made_paused_it_waits_to_be_resumed(api: Api) -> None:
    made = make(api, paused=True)
    assert (made["status"], made["next"]) == ("paused", [])


@pytest.mark.parametrize("body", [{"cron": None}, {"cron": "x"}, {"paused": None}, {"at": "2020-01-01"}, {"id": 1}])
def test_a_wrong_change_changes_nothing(api: Api, body: dict[str, Any]) -> None:
    made = make(api)
    path, before = f"/schedules/{made['schedule_id']}", row(made)
    assert api.client.patch(path, json=body, headers=api.head()).status_code == 422
    assert row(made) == before


def test_a_change_that_leaves_the_time_alone_does_not_lose_a_firing(api: Api) -> None:
    made = make(api)
    at(epoch(made["next"][0]) + 5)
    path = f"/schedules/{made['schedule_id']}"
    changed = api.client.patch(path, json={"run": {"message": "other"}, "paused": False}, headers=api.head()).json()
    assert changed["next"][0] == made["next"][0]
    assert come(made) == ["submitted"]
    assert runs(api)[0]["message"] == "other"


@pytest.mark.parametrize("same", [{"cron": EVERY_MINUTE}, {"timezone": "UTC"}, {"cron": EVERY_MINUTE, "jitter_s": 9}])
def test_naming_the_time_as_it_is_does_not_lose_a_firing_that_is_due(api: Api, same: dict[str, Any]) -> None:
    made = make(api, overlap="queue", jitter_s=60 if "jitter_s" in same else 0)
    assert come(made) == ["submitted"]
    due = row(made).next_at
    if "jitter_s" not in same:
        assert come(made) == ["held"]  # it waits for the run before it
    assert due is not None
    at(due + 1)
    changed = api.client.patch(f"/schedules/{made['schedule_id']}", json=same, headers=api.head()).json()
    assert epoch(changed["next"][0]) == due
    end(runs(api)[0]["task_id"])
    assert come(made) == ["submitted"]
    assert len(runs(api)) == 2


def test_another_jitter_is_held_against_the_time_between_two(api: Api) -> None:
    path = f"/schedules/{make(api)['schedule_id']}"
    for jitter_s, status in ((60, 200), (61, 422)):
        assert api.client.patch(path, json={"jitter_s": jitter_s}, headers=api.head()).status_code == status


def test_cron_and_at_take_each_others_place(api: Api) -> None:
    made = make(api)
    path = f"/schedules/{made['schedule_id']}"
    once = api.client.patch(path, json={"at": "2035-01-01T00:00:00Z"}, headers=api.head()).json()
    assert (once["cron"], once["next"]) == (None, ["2035-01-01T00:00:00.000Z"])
    again = api.client.patch(path, json={"cron": "0 0 * * *"}, headers=api.head()).json()
    assert (again["at"], len(again["next"])) == (None, 5)


# ---- overlap


def test_skip_leaves_out_a_firing_while_the_run_before_goes_on(api: Api) -> None:
    made = make(api)
    assert [come(made), come(made)] == [["submitted"], ["skipped"]]
    end(runs(api)[0]["task_id"])
    assert come(made) == ["submitted"]
    assert len(runs(api)) == 2
    assert row(made).counts == {"submitted": 2, "skipped": 1}


def test_cancel_ends_the_run_before(api: Api) -> None:
    made = make(api, overlap="cancel")
    assert [come(made), come(made)] == [["submitted"], ["submitted"]]
    assert sorted(run["status"] for run in runs(api)) == ["cancelled", "queued"]


def test_queue_holds_a_firing_until_the_run_before_has_ended(api: Api) -> None:
    made = make(api, overlap="queue", catch_up_s=0)
    assert [come(made), come(made)] == [["submitted"], ["held"]]
    held = row(made)
    assert come(made, late=GRACE_SECONDS + 600) == ["held"]  # its catch-up window does not end its wait
    end(runs(api)[0]["task_id"])
    at(now() + 120)
    assert sweeper.bring(now() + 5)["firing sent"] == 1
    done = firings.fire(timers.Firing("demo", made["schedule_id"], held.next_at or 0))
    assert done[0] == "submitted"
    assert set(done[1:]) == {"missed"}  # what passed meanwhile is too old
    assert row(made).last_task == runs(api)[0]["task_id"]


# ---- after an outage


@pytest.mark.parametrize(("catch_up_s", "submitted"), [(600, 10), (0, GRACE_SECONDS // 60)])
def test_only_firings_within_the_catch_up_window_are_made_oldest_first(
    api: Api, catch_up_s: int, submitted: float
) -> None:
    made = make(api, "load", overlap="cancel", catch_up_s=catch_up_s)
    at(epoch(made["next"][0]) + 14 * 60 + 30)  # 15 have passed
    done: list[str] = []
    for _ in range(3):
        done += firings.fire(timers.Firing("load", made["schedule_id"], row(made, "load").next_at or 0))
    assert done == ["missed"] * (15 - int(submitted)) + ["submitted"] * int(submitted)
    next_at = row(made, "load").next_at
    assert next_at is not None
    assert next_at > now()


def test_one_message_makes_so_many_and_sends_another(api: Api) -> None:
    made = make(api, "load", catch_up_s=3600)
    at(epoch(made["next"][0]) + 30 * 60)
    client("sqs").purge_queue(QueueUrl=settings().queue_url_firings)
    assert len(firings.fire(timers.Firing("load", made["schedule_id"], 0))) == firings.IN_A_ROW
    assert messages()[0]["schedule_id"] == made["schedule_id"]


# ---- limits, keys, data


def test_a_firing_counts_against_the_quota_and_waits_for_it_within_the_window(api: Api) -> None:
    key = keys.create_key("few", "standard", limits={"requests": 1, "window_s": 60})
    api.keys["few"] = key
    made = make(api, "few", overlap="cancel", catch_up_s=3600)
    assert come(made, user="few") == ["submitted"]
    second = come(made, late=0, user="few")
    assert second in (["put off"], ["submitted"])
    poor = keys.create_key("broke", "standard", limits={"tokens_per_day": 10})
    api.keys["broke"] = poor
    spent = make(api, "broke")
    assert come(spent, user="broke") == ["refused"]
    assert row(spent, "broke").last["error"]["code"] == "insufficient_quota"


def test_a_limit_that_is_reached_puts_a_firing_off(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make(api, catch_up_s=600)
    full = Problem(429, "rate_limit_exceeded", "later", headers={"Retry-After": "30"})
    with monkeypatch.context() as patch:
        patch.setattr(taking, "submit", _raising(full))
        assert come(made) == ["put off"]
    assert row(made).next_at == epoch(made["next"][0])
    with monkeypatch.context() as patch:
        patch.setattr(taking, "submit", _raising(full))
        assert come(made, late=590)[0] == "refused"  # the window ends before


def _raising(problem: Exception) -> Any:
    def refuse(*_args: Any, **_more: Any) -> Any:
        raise problem

    return refuse


def test_a_revoked_key_pauses_its_schedules_until_another_changes_them(api: Api) -> None:
    made = make(api, "vip")
    keys.revoke(api.keys["vip"])
    assert come(made, user="vip") == ["refused"]
    api.keys["vip"] = keys.create_key("vip", "vip")
    path = f"/schedules/{made['schedule_id']}"
    shown = api.get(path, "vip").json()
    assert (shown["status"], shown["paused_by"], shown["last"]["error"]["code"]) == (
        "paused",
        "key_revoked",
        "key_revoked",
    )
    api.client.patch(path, json={"paused": False}, headers=api.head("vip"))
    assert come(made, user="vip") == ["submitted"]


def test_a_service_schedules_for_its_users(api: Api) -> None:
    made = make(api, "service", user_id="ann")
    assert api.get(f"/schedules/{made['schedule_id']}", "service").status_code == 404
    assert api.get(f"/schedules/{made['schedule_id']}", "service", user_id="ann").status_code == 200
    assert come(made, user="service/ann") == ["submitted"]
    assert len(api.get("/agent", "service", user_id="ann").json()["tasks"]) == 1
    assert api.post("/schedules", user_id="ann", cron=EVERY_MINUTE, run={"message": "hi"}).status_code == 403


def test_erasing_a_user_erases_schedules_first(api: Api) -> None:
    made = make(api)
    assert erase.erase("demo").items >= 1
    assert api.get("/schedules").json()["schedules"] == []
    assert firings.fire(timers.Firing("demo", made["schedule_id"], epoch(made["next"][0]))) == []
    make(api)


def test_jitter_is_the_same_for_the_same_firing_and_spreads_others() -> None:
    drawn = [jitter(f"sch_{n}", 60.0 * n, 600) for n in range(200)]
    assert drawn == [jitter(f"sch_{n}", 60.0 * n, 600) for n in range(200)]
    assert 0 <= min(drawn) < 60
    assert 540 < max(drawn) <= 600
    assert jitter("sch_1", 60.0, 0) == 0


# ---- how they come


def test_the_handler_takes_a_queues_messages(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make(api)
    schedule = row(made)
    assert schedule.next_at is not None
    at(schedule.next_at + 1)
    told = {"v": 1, "user": "demo", "schedule_id": made["schedule_id"], "instant": schedule.next_at}
    event = {
        "Records": [{"messageId": "a", "body": json.dumps(told)}, {"messageId": "b", "body": "{}"}],
    }
    with monkeypatch.context() as patch:
        patch.setattr(tasks, "find_repeat", _die)
        assert app.handler(event, None) == {"batchItemFailures": [{"itemIdentifier": "a"}]}
    assert app.handler(event, None) == {"batchItemFailures": []}
    assert len(runs(api)) == 1


def test_what_is_further_away_is_sent_when_it_comes_within_reach(api: Api) -> None:
    made = make(api, at=clock.iso(now() + 86_400))
    assert messages() == []
    assert sweeper.bring(now() + 5) == {}
    at(epoch(made["next"][0]) - timers.REACH_SECONDS + 1)
    assert sweeper.bring(now() + 5) == {"firing sent": 1}
    assert sweeper.bring(now() + 5) == {}
    assert come(made) == ["submitted"]


def test_a_sweep_reads_only_what_is_due(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    near = make(api)
    for n in range(30):
        make(api, "load", at=clock.iso(now() + 86_400 * (n + 1)))
    at(epoch(near["next"][0]) + timers.REPAIR_SECONDS + 1)
    read: list[int] = []
    many = table.get_many
    monkeypatch.setattr(table, "get_many", lambda wanted: read.append(len(wanted)) or many(wanted))
    assert sweeper.bring(now() + 5) == {"firing sent": 1}
    assert read == [1]
    assert shard_of(near["schedule_id"]).startswith("FIRE")


def test_a_damaged_row_keeps_no_other_from_being_fired(api: Api) -> None:
    bad, good = make(api), make(api)
    key = {"pk": {"S": "SCHEDULES#demo"}, "sk": {"S": bad["schedule_id"]}}
    table.update(table.update_op(key, sets={"spec": "{"}))
    at(max(epoch(bad["next"][0]), epoch(good["next"][0])) + timers.REPAIR_SECONDS + 1)
    assert sweeper.bring(now() + 5) == {"firing sent": 1, "unreadable": 1}


def test_without_its_queue_there_are_no_schedules(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUEUE_URL_FIRINGS", "")
    settings.cache_clear()
    answer = api.post("/schedules", cron=EVERY_MINUTE, run={"message": "hi"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "schedules_off")
    assert sweeper.bring(now() + 5) == {}


def test_runs_of_a_schedule_are_linked_to_who_made_it_and_traced_apart(api: Api) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    body = {"cron": EVERY_MINUTE, "run": {"message": "hi"}}
    answer = api.client.post("/schedules", json=body, headers=api.head("demo", traceparent=trace))
    assert come(answer.json()) == ["submitted"]
    (run,) = runs(api)
    params = tasks.get(run["task_id"]).params
    assert (params.get("trace_link"), params.get("traceparent")) == (trace, None)


def test_a_schedule_that_cannot_be_fired_makes_no_other_late(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make(api)
    at(row(made).fire_at + 0.1)
    real = store.load

    def load(user: str, schedule_id: str) -> Schedule:
        if schedule_id == "odd":
            raise RuntimeError("a defect")
        return real(user, schedule_id)

    monkeypatch.setattr(store, "load", load)
    told = [
        {"v": lanes.VERSION, "user": "demo", "schedule_id": which, "instant": row(made).next_at}
        for which in ("odd", made["schedule_id"])
    ]
    event = {"Records": [{"messageId": one["schedule_id"], "body": json.dumps(one)} for one in told]}
    assert firings.take(event) == {"batchItemFailures": [{"itemIdentifier": "odd"}]}
    assert row(made).counts == {"submitted": 1}
