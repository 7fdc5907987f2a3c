"""A sample of each minute is kept for the dashboard: bounded, each minute once, and no reason for a tick to fail."""

from collections.abc import Callable

import pytest

from shared import valkey
from shared.scaling import history
from shared.settings import settings
from tests.unit.scaler.conftest import Stack


def test_each_tick_is_a_sample_and_a_repeat_counts_once(stack: Stack, with_valkey: Callable[[], None]) -> None:
    assert with_valkey
    stack.fill("normal", 3)
    for minute in (1, 2, 2, 3):
        stack.tick(minute)
    found = history.read()
    assert [one["at"] - found[0]["at"] for one in found] == [0, 60, 120]
    assert found[0]["lanes"]["normal"]["visible"] == 3
    assert found[0]["lanes"]["normal"]["target_replicas"] >= 2
    assert len(history.read(2)) <= 2


@pytest.mark.parametrize("more", [0, 5])
def test_no_more_than_a_day_is_kept(
    stack: Stack, with_valkey: Callable[[], None], monkeypatch: pytest.MonkeyPatch, more: int
) -> None:
    assert with_valkey
    monkeypatch.setattr(history, "SAMPLES", 4)
    for minute in range(4 + more):
        stack.tick(minute)
    assert valkey.client().llen(history.KEY) == 4
    assert len(history.read()) == 4


def test_what_another_version_kept_is_passed_over(with_valkey: Callable[[], None]) -> None:
    assert with_valkey
    valkey.client().rpush(history.KEY, "no json", "[]", '{"at": 60, "lanes": {}}')
    assert history.read() == [{"at": 60, "lanes": {}}]


def test_without_valkey_the_scaler_goes_on(
    stack: Stack, with_valkey: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert with_valkey
    with monkeypatch.context() as patch:
        patch.setenv("REDIS_URL", "redis://127.0.0.1:9/0")
        settings.cache_clear()
        valkey.reset()
        assert "targets" in stack.tick(1)
    settings.cache_clear()
    valkey.reset()
