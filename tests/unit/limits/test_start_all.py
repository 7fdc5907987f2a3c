"""Runs that begin at the same moment take their slots in two round trips, and each as if it came alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from shared import valkey
from shared.limits.admission import Gate
from shared.limits.lane import Lanes
from shared.limits.scripts import script
from shared.settings import settings

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
    assert all(gate.start_all(MANY[4:8], 60))
    first = gate.take_slot

    def forgetting(*args: Any, **more: Any) -> bool:
        held = first(*args, **more)
        if args[1] == "u10":  # the first of them: the server restarts just then
            valkey.client().script_flush()
        return held

    monkeypatch.setattr(gate, "take_slot", forgetting)
    assert gate.start_all(MANY[14:], 60) == [True] * 10
    assert script("take_slot").sha


def test_without_valkey_all_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "")
    settings.cache_clear()
    valkey.reset()
    try:
        assert Gate(lambda _user, _day: (0, 0)).start_all(MANY, 60) == [True] * len(MANY)
    finally:
        valkey.reset()
        settings.cache_clear()
