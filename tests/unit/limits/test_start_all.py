"""Runs that begin, or end, at the same moment share a round trip, and each is answered as if it came alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from shared import valkey
from shared.limits import names
from shared.limits.admission import NO_CAPS, Ended, Gate
from shared.limits.lane import Lanes
from shared.settings import settings
from tests.unit.limits.helpers import DAY, ask, limits

MANY = [("ada", f"a{n}", 2, "normal") for n in range(4)] + [(f"u{n}", f"u{n}", 0, "normal") for n in range(20)]


@pytest.fixture(params=["valkey_url", "valkey_cluster_url"])
def gate(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    monkeypatch.setenv("REDIS_URL", request.getfixturevalue(request.param))
    settings.cache_clear()
    valkey.reset()
    valkey.client().flushall()
    yield Gate(lambda _user, _day: (0, 0))
    valkey.client().close()
    valkey.reset()


def trips(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Note how many commands each shared trip holds."""
    noted: list[int] = []
    inner = valkey.in_one_trip

    def counting(commands: Any) -> list[Any]:
        noted.append(len(commands))
        return inner(commands)

    monkeypatch.setattr(valkey, "in_one_trip", counting)
    return noted


def test_each_is_answered_by_its_own_cap(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    noted = trips(monkeypatch)
    assert gate.start_all(MANY, 60) == [True, True, False, False] + [True] * 20
    assert noted == [len(MANY) - 1]
    assert gate.start_all(MANY, 60) == [True, True, False, False] + [True] * 20  # a repeat only renews
    gate.release_slot("ada", "a0")
    assert gate.start_all([MANY[2], MANY[3]], 60) == [True, False]
    assert valkey.client().zcard("{sluice}:lane:normal:use") == 21  # as starting, of one owner each
    assert Lanes().look("normal", 5).due == 0


@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_few_are_asked_for_as_well(gate: Gate, number: int) -> None:
    assert gate.start_all(MANY[4 : 4 + number], 60) == [True] * number


def test_a_server_that_forgot_the_script_is_told_it_again(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    noted = trips(monkeypatch)
    assert all(gate.start_all(MANY[4:8], 60))
    valkey.client().script_flush()  # as a server that was restarted
    assert gate.start_all(MANY, 60) == [True, True, False, False] + [True] * 20
    assert gate.start_all(MANY[8:], 60) == [True] * 16
    assert noted == [3, len(MANY), 15]


def admitted(gate: Gate, user: str, task_id: str, cap: int) -> Ended:
    assert gate.admit(ask(task_id, limits(running=cap), user=user)).admitted
    return user, task_id, DAY, 7, 70, NO_CAPS


def test_ends_that_are_counted_together_are_counted_as_if_alone(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    noted = trips(monkeypatch)
    ended = [admitted(gate, f"u{n}", f"t{n}", 0) for n in range(5)] + [admitted(gate, "ada", f"a{n}", 1) for n in "ab"]
    alone = admitted(gate, "zoe", "z", 0)
    assert gate.settled_all([alone]) == [(False, [])]
    found = gate.settled_all(ended)
    assert [others for others, _ in found] == [False] * 5 + [True, False], "ada's second waited for the first"
    assert noted == [len(ended)]
    server = valkey.client()
    assert server.zcard(names.OPEN) == 0
    again = gate.settled_all(ended)
    assert len(again) == len(ended)
    assert server.zcard(names.OPEN) == 0


def test_without_valkey_all_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "")
    settings.cache_clear()
    valkey.reset()
    try:
        assert Gate(lambda _user, _day: (0, 0)).start_all(MANY, 60) == [True] * len(MANY)
    finally:
        valkey.reset()
        settings.cache_clear()
