"""Heartbeats of several runs: what is wrong with one run's row keeps the others'."""

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from functions.worker.run.heartbeat import Beat, Heart
from shared.errors import Contended, DependencyDown, LeaseLost
from shared.tasks import lanes, leases


class Slots:
    """Stands where the limits stand."""

    def __init__(self) -> None:
        self.renewed: list[str] = []

    def renew(self, holders: list[tuple[str, str]], _ttl_s: float) -> None:
        self.renewed += [task_id for _, task_id in holders]


@pytest.fixture
def slots() -> Slots:
    return Slots()


@pytest.fixture
def heart(slots: Slots, monkeypatch: pytest.MonkeyPatch) -> Iterator[Heart]:
    made = Heart(slots)  # type: ignore[arg-type]
    monkeypatch.setattr(made, "_loop", lambda: None)  # it beats when the test says so
    yield made
    made.stop()


TOO_LARGE: Any = {"Error": {"Code": "ValidationException", "Message": "Item size has exceeded the maximum"}}


@pytest.mark.parametrize(
    "error", [ClientError(TOO_LARGE, "UpdateItem"), ValueError("x"), DependencyDown("dynamodb"), LeaseLost("gone")]
)
def test_a_run_whose_row_cannot_be_written_costs_the_others_nothing(
    heart: Heart, slots: Slots, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    hidden: list[str] = []

    def extend(task_id: str, *_: Any) -> tuple[float, bool]:
        if task_id == "bad":
            raise error
        return 9e9, False

    monkeypatch.setattr(leases, "heartbeat", extend)
    monkeypatch.setattr(lanes, "hide", lambda _url, receipts: hidden.extend(receipt for receipt, _ in receipts))
    beats = [
        Beat(name, "ann", 1, "queue", f"receipt of {name}", 0.0, on_lost=lambda: None, on_cancel=lambda: None)
        for name in ("good", "bad", "fine")
    ]
    for beat in beats:
        heart.add(beat)
    heart.beat_all()
    assert sorted(hidden) == ["receipt of fine", "receipt of good"]
    assert sorted(slots.renewed) == ["fine", "good"]
    assert {beat.task_id for beat in beats if beat.alive} == {"fine", "good"}


def test_a_row_that_is_being_written_is_tried_again(
    heart: Heart, slots: Slots, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[str] = []

    def extend(task_id: str, *_: Any) -> tuple[float, bool]:
        tries.append(task_id)
        if len(tries) == 1:
            raise Contended("its own worker writes")
        return 9e9, False

    monkeypatch.setattr(leases, "heartbeat", extend)
    heart.add(Beat("a", "ann", 1, "queue", "", 0.0, on_lost=lambda: None, on_cancel=lambda: None))
    heart.beat_all()
    assert tries == ["a", "a"]
    assert slots.renewed == ["a"]
