"""Budgets' thresholds: each is told of once, whoever notices it, however often, whatever dies in between."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from functions.sweeper import alerts as sweeping
from functions.sweeper import sweep
from shared import aws, valkey, webhooks
from shared.alerts import model, noticing, targets
from shared.clock import day
from shared.errors import DependencyDown
from shared.limits import names
from shared.limits.admission import Gate
from shared.settings import settings
from shared.tasks import aftermath, spend, table
from shared.tasks.items import plain
from shared.tasks.model import Task
from tests.unit.alerts.conftest import Budgets


def later() -> float:
    return time.time() + 60


def swept(monkeypatch: pytest.MonkeyPatch, grace: float = 0) -> dict[str, int]:
    monkeypatch.setattr(model, "GRACE_SECONDS", grace)
    return dict(sweeping.tell(later()))


@pytest.mark.parametrize(
    ("used", "told"), [(499, []), (500, [50]), (799, [50]), (800, [50, 80]), (1_000, [50, 80, 100])]
)
def test_a_run_is_told_of_from_each_threshold_that_it_reaches(budgets: Budgets, used: int, told: list[int]) -> None:
    budgets.spend(used)
    assert budgets.told() == [("tokens", threshold) for threshold in told]


def test_what_an_alert_says_and_how_it_is_signed(budgets: Budgets) -> None:
    budgets.spend(5, micro_usd=1_250_000, cap_micro_usd=2_000_000)
    budgets.deliver()
    (delivery,) = budgets.operator.deliveries
    today = day(time.time())
    assert delivery.body["type"] == model.TYPE
    assert delivery.body["data"] == {
        "scope": "user", "user": "ann", "day": today, "unit": "usd", "limit": 2.0, "used": 1.25, "threshold": 50,
    }  # fmt: skip
    assert delivery.id == model.read(f"ALERT#ann#{today}#usd#50").message_id
    assert delivery.valid
    assert webhooks.secret_for(webhooks.OPERATOR) != webhooks.secret_for("k1")


def test_each_is_told_of_once_however_many_runs_follow(budgets: Budgets) -> None:
    for tokens in (300, 300, 100, 150, 100, 50, 1):
        budgets.spend(tokens, cap_tokens=1_000_000 if tokens == 1 else 1_000)
    assert budgets.told() == [("tokens", 50), ("tokens", 80), ("tokens", 100)]
    assert len({one.id for one in budgets.operator.deliveries}) == 3


def test_an_ordinary_run_writes_and_reads_nothing_more(budgets: Budgets, monkeypatch: pytest.MonkeyPatch) -> None:
    budgets.spend(600)
    monkeypatch.setattr(noticing, "look", lambda *_, **__: pytest.fail("nothing new was reached"))
    budgets.spend(100)
    held = budgets.ended(50)
    for _ in range(2):
        aftermath.finished(budgets.gate, held)


def test_workers_that_end_runs_at_once_tell_of_one_threshold_once(budgets: Budgets) -> None:
    held = [budgets.ended(100) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda task: aftermath.finished(budgets.gate, task), held))
    assert budgets.told() == [("tokens", 50), ("tokens", 80)]


def test_two_environments_that_notice_the_same_write_one_alert(budgets: Budgets) -> None:
    budgets.ended(600)
    today = day(time.time())
    assert noticing.look("ann", today) == 1
    noticing._raised.clear()  # another environment's memory
    assert noticing.look("ann", today) == 0
    assert budgets.told() == [("tokens", 50)]


def test_a_worker_that_dies_before_its_counters_leaves_the_alert_to_the_sweeper(
    budgets: Budgets, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = budgets.ended(600)
    assert budgets.told() == []
    server = valkey.client()
    server.zadd(names.OPEN, {names.member(held.user, held.task_id, held.day): 0})  # its time has come
    assert sweep._free_counters(later()) == 1
    assert budgets.told() == [("tokens", 50)]


def test_a_worker_that_dies_after_its_counters_leaves_a_note(budgets: Budgets, monkeypatch: pytest.MonkeyPatch) -> None:
    held = budgets.ended(600)
    with monkeypatch.context() as dying:
        dying.setattr(noticing, "notice", lambda *_: None)
        aftermath.finished(budgets.gate, held)
    assert budgets.told() == []
    assert noticing.noted(10)[0][:2] == ("ann", held.day)
    assert swept(monkeypatch)["alerts"] == 1
    assert budgets.told() == [("tokens", 50)]
    assert noticing.noted(10) == []


def test_a_worker_that_dies_between_alert_and_message_leaves_it_due(
    budgets: Budgets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "GRACE_SECONDS", 0)
    with monkeypatch.context() as dying:
        dying.setattr(noticing, "send", lambda _alert: None)
        budgets.spend(600)
    assert budgets.told() == []
    assert swept(monkeypatch)["alerts sent again"] == 1
    assert budgets.told() == [("tokens", 50)]
    assert "alerts sent again" not in swept(monkeypatch)


def test_a_worker_that_dies_after_the_message_has_it_sent_again_and_delivered_once(
    budgets: Budgets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "GRACE_SECONDS", 0)
    with monkeypatch.context() as dying:
        dying.setattr(model, "sent", lambda _alert: None)
        budgets.spend(600)
    assert budgets.told() == [("tokens", 50)]
    assert swept(monkeypatch)["alerts sent again"] == 1
    assert budgets.told() == [("tokens", 50)]


def test_what_the_queue_does_not_take_is_sent_by_the_sweeper(budgets: Budgets, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_args: Any, **_named: Any) -> None:
        raise DependencyDown("sqs")

    monkeypatch.setattr(model, "GRACE_SECONDS", 0)
    with monkeypatch.context() as down:
        down.setattr(webhooks, "send", away)
        budgets.spend(850)
    assert swept(monkeypatch)["alerts sent again"] == 2
    assert budgets.told() == [("tokens", 50), ("tokens", 80)]


def test_what_valkey_forgot_is_found_by_looking_through_the_day(
    budgets: Budgets, monkeypatch: pytest.MonkeyPatch
) -> None:
    for user in ("ann", "bob", "svc/u1", "svc/u2"):
        budgets.ended(300, user, cap_tokens=500, cap_key_tokens=600)
    budgets.ended(100, "carl")
    assert dict(sweeping.tell(later())) == {"alerts": 2 + 2 + 3 + 2}
    found = {(one["whose"], one["threshold"]) for one in written()}
    users = {(user, 50) for user in ("ann", "bob", "svc/u1", "svc/u2")}
    services = {("ann/*", 50), ("bob/*", 50), *(("svc/*", threshold) for threshold in model.THRESHOLDS)}
    assert found == users | services
    noticing._raised.clear()
    with monkeypatch.context() as once:
        once.setattr(noticing, "look", lambda *_, **__: pytest.fail("it was looked through already"))
        assert not sum(sweeping.tell(later()).values())
    valkey.client().flushall()
    assert not sum(sweeping.tell(later()).values())


def written() -> list[dict[str, Any]]:
    """Return all alerts that were written."""
    found = aws.dynamodb().scan(TableName=settings().table_name)["Items"]
    items = [{name: plain(value) for name, value in one.items()} for one in found]
    return [one for one in items if one["sk"] == "ALERT"]


def test_looking_through_goes_on_where_it_stopped(budgets: Budgets, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "READ_AT_ONCE", 2)
    for user in ("ann", "bob", "carl"):
        budgets.ended(600, user)
    looked: list[str] = []

    def look(whose: str, _day: str) -> int:
        looked.append(whose)
        if len(looked) == 2:
            raise DependencyDown("dynamodb")
        return 1

    with monkeypatch.context() as slow:
        slow.setattr(noticing, "look", look)
        sweeping.tell(later())
        sweeping.tell(later())
        sweeping.tell(later())
    assert looked == ["ann", "bob", "bob", "carl"]


def test_valkeys_figures_alone_raise_no_alert(budgets: Budgets) -> None:
    held = budgets.ended(100)
    valkey.client().hset(names.spend_key("ann", held.day), "tu", 900)  # counted twice, until it is loaded again
    aftermath.finished(budgets.gate, held)
    assert budgets.told() == []
    assert noticing.noted(10) == []


def test_a_note_that_is_newer_than_what_was_looked_at_stays(budgets: Budgets) -> None:
    held = budgets.ended(600)
    valkey.client().zadd(names.ALERTS, {f"{held.day} ann": 2_000})
    noticing.look("ann", held.day, noted=1_000)
    assert noticing.noted(10) == [("ann", held.day, 2_000)]
    noticing.look("ann", held.day, noted=2_000)
    assert noticing.noted(10) == []


def test_everybodys_day_is_told_of_to_the_operator_alone(budgets: Budgets, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLOBAL_TOKENS_PER_DAY", "1000")
    monkeypatch.setenv("GLOBAL_USD_PER_DAY", "2")
    settings.cache_clear()
    budgets.gate = Gate(load_spend=spend.load)
    targets.put("ann", budgets.user.url, "k1")
    budgets.spend(300, micro_usd=1_700_000, cap_tokens=10**9)
    budgets.spend(300, "bob", cap_tokens=10**9)
    assert budgets.told() == [("tokens", 50), ("usd", 50), ("usd", 80)]
    assert {one.body["data"]["scope"] for one in budgets.operator.deliveries} == {"global"}
    assert budgets.told(budgets.user) == []
    noticing._raised.clear()
    assert not sum(sweeping.tell(later()).values())


def test_the_user_is_told_too_with_the_same_id_and_their_own_signature(budgets: Budgets) -> None:
    targets.put("ann", budgets.user.url, "k7")
    budgets.spend(600)
    assert budgets.told() == budgets.told(budgets.user) == [("tokens", 50)]
    assert {one.id for one in budgets.operator.deliveries} == {one.id for one in budgets.user.deliveries}


def test_a_services_users_are_told_at_their_own_address_or_else_at_the_services(budgets: Budgets) -> None:
    targets.put("svc", budgets.user.url, "k7")
    targets.put("svc/u2", budgets.user.url + "/u2", "k7")
    for user in ("svc/u1", "svc/u2"):
        budgets.spend(600, user, cap_tokens=1_000, cap_key_tokens=2_000)
    budgets.deliver()
    said = [one.body["data"] for one in budgets.user.deliveries]
    assert sorted(one.get("user") or one["service"] for one in said) == ["svc", "svc/u1", "svc/u2"]
    (of_service,) = [one for one in said if one["scope"] == "service"]
    assert of_service | {"day": ""} == {
        "scope": "service", "service": "svc", "day": "", "unit": "tokens", "limit": 2_000, "used": 1_200,
        "threshold": 50,
    }  # fmt: skip


def test_where_nobody_is_to_be_told_nothing_is_written(budgets: Budgets, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ALERT_WEBHOOK_URL")
    settings.cache_clear()
    targets.put("bob", budgets.user.url, "k7")
    budgets.spend(1_000)
    assert written() == []
    assert budgets.told(budgets.user) == []


def test_what_a_user_takes_back_is_not_sent_any_more(budgets: Budgets) -> None:
    targets.put("ann", budgets.user.url, "k7")
    budgets.spend(600)
    table.put(table.put_op({"pk": {"S": targets.partition("ann")}, "sk": {"S": "ALERTS"}, "url": {"S": ""},
                            "key_id": {"S": ""}, "made": {"S": ""}}))  # fmt: skip
    assert budgets.told(budgets.user) == []
    assert budgets.told() == [("tokens", 50)]


def test_a_run_that_comes_to_wait_is_noted(budgets: Budgets) -> None:
    held = budgets.ended(600)
    assert isinstance(held, Task)
    budgets.gate.rest("ann", held.task_id, held.day, 600, 0, spend.caps_of(held))
    assert [one[:2] for one in noticing.noted(10)] == [("ann", held.day)]


def test_a_user_is_told_at_the_thresholds_that_they_chose(budgets: Budgets) -> None:
    targets.put("ann", "https://example.com/budget", "k1", [80])
    for tokens in (500, 300, 200):
        budgets.spend(tokens)
    today = day(time.time())
    told = {n: model.read(f"ALERT#ann#{today}#tokens#{n}").to for n in (50, 80, 100)}
    assert told == {50: ("operator",), 80: ("operator", "user"), 100: ("operator",)}
