"""A write whose answer was lost is repeated by botocore: it is not taken for another's, nor counted twice."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from shared import tickets
from shared.alerts import model as alerts
from shared.bulk import store as bulk
from shared.bulk.model import Batch
from shared.clock import day
from shared.errors import Conflict, DependencyDown
from shared.limits import keys, tiers
from shared.schedules import store as schedules
from shared.schedules.model import Schedule
from shared.tasks import costs, parking, spend, store, table
from shared.tasks.items import values_of
from shared.tasks.model import Task, Usage
from tests.unit.losing import lose_answer

pytestmark = pytest.mark.usefixtures("fake_aws")


def a_task(**more: Any) -> Task:
    at = time.time()
    return Task(task_id="t", user="ann", lane="normal", agent="chat", model="m", created=at, day=day(at), **more)


class Slots:
    """Stands where the gate does: there is always one."""

    def take_slot(self, *about: Any, **more: Any) -> bool:
        return True


def test_a_key_that_was_made_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody would ever learn of a key that works."""
    lost = lose_answer(monkeypatch, "PutItem")
    made = keys.create_key("ann", "free")
    assert lost
    assert [info.key_hash for info in keys.list_keys()] == [keys.digest_of(made)]
    with pytest.raises(Conflict):
        keys.create_key("ben", "free", key=made)


def test_a_ticket_is_used_by_who_used_it(monkeypatch: pytest.MonkeyPatch) -> None:
    ticket = tickets.issue(tickets.Viewer("ann", serves=True))
    lost = [lose_answer(monkeypatch, name) for name in ("UpdateItem", "DeleteItem")]
    assert tickets.redeem(ticket) == tickets.Viewer("ann", serves=True)
    assert any(lost)
    assert tickets.redeem(ticket) is None
    assert tickets.redeem("x" * 43) is None


def test_a_parked_run_that_got_a_slot_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """It waited for the sweeper with the slot that it had."""
    store.submit(a_task(parked="ann"), "hi")
    sent: list[str] = []

    def send(task: Task) -> bool:
        sent.append(task.task_id)
        return True

    monkeypatch.setattr(parking, "send", send)
    lost = lose_answer(monkeypatch, "UpdateItem")
    gate: Any = Slots()
    assert parking.unpark(gate, "ann", "t")
    assert lost
    assert not parking.unpark(gate, "ann", "t")
    assert sent == ["t"]


def test_a_run_whose_session_is_free_waits_for_a_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    task = store.submit(a_task(parked="AFTER#s", after="s"), "hi")
    lost = lose_answer(monkeypatch, "UpdateItem")
    assert store.park_for_slot(task)
    assert lost
    assert not store.park_for_slot(task)


def test_an_alert_that_was_written_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    alert = alerts.Alert("ann", day(time.time()), "usd", 80, 100, 81, time.time(), ("ann",))
    lost = lose_answer(monkeypatch, "PutItem")
    assert alerts.put(alert)
    assert lost
    assert not alerts.put(replace(alert, at=alert.at + 1))


def test_a_batch_is_taken_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Batch(batch_id="batch_a", user="ann", key="k", endpoint="/v1/responses", file_id="f", made_at=time.time())
    bulk.create(made)
    lost = lose_answer(monkeypatch, "UpdateItem")
    taken = bulk.take("ann", "batch_a")
    assert lost
    assert taken is not None
    assert bulk.take("ann", "batch_a") is None


def a_schedule() -> Schedule:
    return Schedule(
        schedule_id="sch_a", user="ann", key="k", key_id="k", run={}, cron="0 0 * * *", next_at=1.0, created=0.0
    )


def test_a_schedule_that_was_moved_on_is(monkeypatch: pytest.MonkeyPatch) -> None:
    made = schedules.create(a_schedule(), tiers.resolve("free"), due_at=1)
    moved = made.changed(next_at=2.0, last={"instant": "x", "at": "y", "outcome": "missed"})
    lost = lose_answer(monkeypatch, "PutItem")
    assert schedules.write(moved, before=made, due_at=2)
    assert lost
    assert not schedules.write(moved.changed(next_at=3.0), before=made, due_at=3)


def again(monkeypatch: pytest.MonkeyPatch, call: Callable[[], None]) -> None:
    """Have a transaction be written and not answered, however often botocore asks; its caller tries again."""
    real = table.transact

    def unanswered(ops: list[dict[str, Any]]) -> None:
        real(ops)
        raise DependencyDown("dynamodb")

    with monkeypatch.context() as patch:
        patch.setattr(table, "transact", unanswered)
        with pytest.raises(DependencyDown):
            call()
    call()


def test_a_lost_call_is_charged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    task = store.submit(a_task(), "hi")
    use = Usage(100, 20, 77, task.day, "m")
    again(monkeypatch, lambda: spend.lost(task, use, name="one"))
    assert spend.load("ann", task.day) == (120, 77)
    assert values_of(table.get(costs.key("ann", task.day)) or {})["micro_usd"] == 77
    spend.lost(task, use, name="other")
    assert spend.load("ann", task.day) == (240, 154)
