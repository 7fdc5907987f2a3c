"""Environments that take nothing more: the scaler lets others begin beside them, at its next look."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from functions.scaler import handler
from shared.limits.lane import Lanes
from shared.settings import settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.scaler.conftest import Stack


def test_a_lane_whose_environments_all_end_gets_another(
    stack: Stack, with_valkey: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCALING_PROFILE", "swift")
    monkeypatch.setenv("RUNS_PER_ENVIRONMENT", "10")
    settings.cache_clear()
    at = 1_772_366_400.0
    monkeypatch.setattr(handler, "now", lambda: at)
    for lane in ("high", "normal"):
        stack.fill(lane, 2)
    handler.handler({}, None)
    before = stack.limits()
    for n in range(before["normal"]):
        Lanes().drains("normal", str(n), 9)
    at += 60
    handler.handler({}, None)
    assert stack.limits() == {**before, "normal": before["normal"] + 1}


def test_without_valkey_none_is_known(stack: Stack, no_valkey: None) -> None:
    assert stack.tick(0)["failed"] == []
