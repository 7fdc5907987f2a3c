"""What owners of schedules are told (of firings that made no run, once each), and how many schedules they may have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from functions.api.control import erase
from functions.api.schedules import firings
from functions.sweeper import firings as sweeper
from functions.webhook import handler, post
from localstack.receiver import Receiver
from shared import clock, webhooks
from shared.errors import DependencyDown
from shared.limits import keys
from shared.schedules import store, telling, timers
from shared.schedules.model import GRACE_SECONDS
from shared.settings import settings
from shared.tasks import store as tasks
from tests.unit.api.conftest import Api
from tests.unit.api.test_schedules import EVERY_MINUTE, at, come, end, make, row, runs
from tests.unit.tables import client


@pytest.fixture(autouse=True)
def _clock() -> Iterator[None]:
    yield
    clock.set_ahead(0)


@pytest.fixture
def receiver(api: Api, monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    monkeypatch.setenv("ALLOW_PRIVATE_ADDRESSES", "true")
    settings.cache_clear()
    post._client.cache_clear()
    known = [webhooks.secret_for(keys.lookup(api.keys[who]).key_id) for who in ("demo", "vip")]  # type: ignore[union-attr]
    with Receiver(known) as made:
        yield made
    post._client.cache_clear()


def deliver() -> list[dict[str, Any]]:
    """Hand the webhook function what its queue has; returns the messages."""
    found = client("sqs").receive_message(QueueUrl=settings().queue_url_webhook, MaxNumberOfMessages=10)
    messages = found.get("Messages", [])
    for one in messages:
        client("sqs").delete_message(QueueUrl=settings().queue_url_webhook, ReceiptHandle=one["ReceiptHandle"])
    records = [{"messageId": one["MessageId"], "body": one["Body"]} for one in messages]
    if records:
        assert handler.handler({"Records": records}, None) == {"batchItemFailures": []}
    return records


def told(receiver: Receiver) -> list[dict[str, Any]]:
    deliver()
    return [one.body for one in receiver.deliveries]


def with_hook(api: Api, receiver: Receiver, who: str = "demo", **body: Any) -> dict[str, Any]:
    return make(api, who, run={"message": "hi", "webhook_url": receiver.url}, **body)


def test_a_skipped_firing_is_told_of_once_with_what_stood_in_its_way(api: Api, receiver: Receiver) -> None:
    made = with_hook(api, receiver, name="mine")
    assert come(made) == ["submitted"]
    assert told(receiver) == []  # its run will tell of itself
    instant = row(made).next_at
    assert come(made) == ["skipped"]
    (news,) = told(receiver)
    assert (news["type"], news["data"]["schedule_id"]) == ("schedule.skipped", made["schedule_id"])
    assert news["data"] | {"at": "", "next": ""} == {
        "schedule_id": made["schedule_id"],
        "name": "mine",
        "instant": clock.iso(instant or 0),
        "at": "",
        "outcome": "skipped",
        "status": "active",
        "next": "",
        "running_task_id": runs(api)[0]["task_id"],
    }
    (delivery,) = receiver.deliveries
    assert delivery.valid


def test_a_missed_a_refused_and_a_pausing_firing_are_told_of(api: Api, receiver: Receiver) -> None:
    late = with_hook(api, receiver, catch_up_s=0, cron="0 * * * *")
    assert come(late, late=GRACE_SECONDS + 1) == ["missed"]
    (news,) = told(receiver)
    assert (news["type"], news["data"]["outcome"]) == ("schedule.missed", "missed")
    receiver.deliveries.clear()

    poor = with_hook(api, receiver, "poor", cron="0 * * * *")
    spent = {"message": "hi", "max_output_tokens": 9000, "webhook_url": receiver.url}
    assert api.client.patch(
        f"/schedules/{poor['schedule_id']}", json={"run": spent}, headers=api.head("poor")
    ).is_success
    assert come(poor, user="poor") == ["refused"]
    (news,) = told(receiver)
    assert (news["type"], news["data"]["error"]["code"]) == ("schedule.refused", "insufficient_quota")
    receiver.deliveries.clear()

    revoked = with_hook(api, receiver, "vip")
    keys.revoke(api.keys["vip"])
    assert come(revoked, user="vip") == ["refused"]
    (news,) = told(receiver)
    assert (news["type"], news["data"]["paused_by"], news["data"]["next"]) == ("schedule.paused", "key_revoked", None)
    assert receiver.deliveries[0].valid  # by the secret that the receiver has


def test_nothing_is_told_without_an_address_or_by_a_pause_of_its_owner(api: Api, receiver: Receiver) -> None:
    made = make(api)
    assert [come(made), come(made)] == [["submitted"], ["skipped"]]
    asked = with_hook(api, receiver)
    assert api.client.patch(f"/schedules/{asked['schedule_id']}", json={"paused": True}, headers=api.head()).is_success
    assert deliver() == []
    assert telling.unsent(10) == []


def test_news_whose_message_was_lost_is_sent_by_the_sweeper_under_the_same_id(
    api: Api, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = with_hook(api, receiver)
    assert come(made) == ["submitted"]

    def away(*_: Any, **__: Any) -> None:
        raise DependencyDown("sqs")

    with monkeypatch.context() as patch:
        patch.setattr(webhooks, "send", away)
        assert come(made) == ["skipped"]
    assert deliver() == []
    assert sweeper.tell(clock.now() + 60) == {}  # whoever wrote it may be at it
    at(clock.now() + telling.GRACE_SECONDS + 1)
    assert sweeper.tell(clock.now() + 60) == {"firings told again": 1}
    assert len(told(receiver)) == 1
    assert sweeper.tell(clock.now() + 60) == {}
    telling.send(telling.read(*_place(made)))  # a message too many
    assert len(told(receiver)) == 1


def _place(made: dict[str, Any]) -> tuple[str, str]:
    return f"{telling.PREFIX}{made['schedule_id']}", row(made).last["instant"]


def test_who_loses_a_firing_to_another_tells_nothing(
    api: Api, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One sees the run before still going on; it ends, and another makes the firing: nothing was skipped."""
    made = with_hook(api, receiver)
    assert come(made) == ["submitted"]
    first = runs(api)[0]["task_id"]
    schedule = row(made)
    assert schedule.next_at is not None
    fired = timers.Firing("demo", schedule.schedule_id, schedule.next_at)
    at(schedule.fire_at + 0.2)
    seen = firings._running

    def slow(one: Any) -> Any:
        running = seen(one)
        if running is not None:  # the other one is quicker
            end(first)
            assert firings.fire(fired) == ["submitted"]
        return running

    monkeypatch.setattr(firings, "_running", slow)
    assert firings.fire(fired) == []
    assert len(runs(api)) == 2
    assert [one for one in told(receiver) if one["type"].startswith("schedule.")] == []


def test_a_deleted_schedule_tells_nothing_more_and_an_erased_one_leaves_nothing(api: Api, receiver: Receiver) -> None:
    made = with_hook(api, receiver)
    assert [come(made), come(made)] == [["submitted"], ["skipped"]]
    place = _place(made)
    assert api.delete(f"/schedules/{made['schedule_id']}").status_code == 200
    assert len(deliver()) == 1
    assert receiver.deliveries == []

    other = with_hook(api, receiver)
    assert [come(other), come(other)] == [["submitted"], ["skipped"]]
    assert erase.erase("demo").items >= 2
    rows = client("dynamodb").scan(TableName=settings().table_name)["Items"]
    left = [one["pk"]["S"] for one in rows if other["schedule_id"] in str(one)]
    assert [pk for pk in left if not pk.startswith("IDEM")] == []
    assert place[0].startswith(telling.PREFIX)


# ---- how many


def full(api: Api, who: str, **body: Any) -> str:
    answer = api.post("/schedules", who, cron=EVERY_MINUTE, run={"message": "hi"}, **body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "too_many_schedules")
    return str(answer.json()["error"]["message"])


def test_a_tier_says_how_many_schedules_its_users_may_have(api: Api) -> None:
    made = [make(api, "free") for _ in range(3)]
    assert "tier free" in full(api, "free")
    assert api.delete(f"/schedules/{made[0]['schedule_id']}", "free").status_code == 200
    make(api, "free")
    full(api, "free")


@pytest.mark.parametrize("most", [0, 1, 2])
def test_a_key_may_say_so_too(api: Api, most: int) -> None:
    api.keys["own"] = keys.create_key("own", "standard", limits={"schedules": most})
    for _ in range(most):
        make(api, "own")
    full(api, "own")


def test_a_service_has_a_number_for_all_its_users_and_one_for_each(api: Api) -> None:
    limits = {"schedules": 3, "users": {"schedules": 2}}
    api.keys["many"] = keys.create_key("many", "service", limits=limits)
    first = make(api, "many", user_id="ann")
    make(api, "many", user_id="ann")
    assert "a user of" in full(api, "many", user_id="ann")
    make(api, "many", user_id="bob")
    assert "together" in full(api, "many", user_id="cy")  # invented users get round nothing
    assert "together" in full(api, "many")
    assert api.delete(f"/schedules/{first['schedule_id']}", "many", user_id="ann").status_code == 200
    make(api, "many", user_id="cy")
    erase.erase("many/bob")
    make(api, "many", user_id="cy")
    full(api, "many", user_id="dora")


def test_an_ended_schedule_of_a_services_user_makes_room_for_its_service(api: Api) -> None:
    api.keys["one"] = keys.create_key("one", "service", limits={"schedules": 1})
    once = make(api, "one", user_id="ann", at=clock.iso(clock.now() + 30))
    full(api, "one", user_id="bob")
    assert come(once, user="one/ann") == ["submitted"]
    make(api, "one", user_id="bob")
    assert store.load("one/ann", once["schedule_id"]).ended
    assert tasks.get(row(once, "one/ann").last_task).user == "one/ann"
