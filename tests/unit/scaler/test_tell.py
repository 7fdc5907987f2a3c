"""What the scaler tells environments at work by way of Valkey: paused lanes and how many runs each may have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from functions.scaler import handler, tell
from shared import valkey
from shared.limits import names
from shared.limits.lane import Lanes
from shared.settings import settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.scaler.conftest import Stack

ONLY = {"only": "pauses"}
"""What `make pause` and `make resume` call the scaler with."""


def switch(stack: Stack, **on: bool) -> None:
    """Switch mappings on or off, as `make pause LANE=…` does."""
    for lane, enabled in on.items():
        stack.functions.update_event_source_mapping(UUID=stack.uuids[lane], Enabled=enabled)


def told() -> dict[str, bool]:
    """Return what an environment reads: is it paused, by lane."""
    return {lane: Lanes().is_paused(lane) for lane in ("high", "normal")}


def test_a_pause_is_told_at_once_and_so_is_its_end(stack: Stack, with_valkey: Callable[[], None]) -> None:
    switch(stack, high=True, normal=False)
    limits = stack.limits()
    assert handler.handler(ONLY, None) == {"paused": ["normal"]}
    assert told() == {"high": False, "normal": True}
    assert Lanes().look("normal", 5).paused
    assert not Lanes().look("high", 5).paused
    switch(stack, normal=True)
    assert handler.handler(ONLY, None) == {"paused": []}
    assert told() == {"high": False, "normal": False}
    assert stack.limits() == limits, "that call is no tick"


def test_every_tick_tells_it_again(stack: Stack, with_valkey: Callable[[], None]) -> None:
    """Somebody may switch a mapping off by hand, and Valkey may have forgotten."""
    switch(stack, high=False, normal=True)
    stack.tick(0)
    assert told() == {"high": True, "normal": False}
    valkey.client().delete(names.PAUSED)
    stack.tick(1)
    assert told() == {"high": True, "normal": False}


def test_a_pause_that_no_tick_confirms_is_not_believed_for_ever(
    stack: Stack, with_valkey: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    switch(stack, high=True, normal=False)
    handler.handler(ONLY, None)
    seconds, _ = valkey.client().time()
    for after, paused in ((tell.BELIEVED_SECONDS - 5, True), (tell.BELIEVED_SECONDS + 5, False)):
        at = Lanes(now_us=lambda after=after: int((seconds + after) * 1e6))  # type: ignore[misc]
        assert at.is_paused("normal") is paused
        assert at.look("normal", 5).paused is paused


def test_a_lane_may_have_the_runs_of_its_environments(
    stack: Stack, with_valkey: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNS_PER_ENVIRONMENT", "10")
    settings.cache_clear()
    switch(stack, high=True, normal=True)
    targets = stack.tick(0)["targets"]
    found = valkey.client().hgetall(names.LANE_SLOTS)
    assert {_text(lane): int(most) for lane, most in found.items()} == {lane: 10 * n for lane, n in targets.items()}
    assert Lanes().look("normal", 5).room == 10 * targets["normal"]


def test_without_valkey_a_pause_holds_up_no_tick(stack: Stack, no_valkey: None) -> None:
    switch(stack, high=True, normal=False)
    assert handler.handler(ONLY, None) == {"paused": []}
    assert stack.tick(0)["failed"] == []


def test_a_valkey_that_is_away_is_no_failure_of_the_call(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    settings.cache_clear()
    valkey.reset()
    switch(stack, high=True, normal=False)
    try:
        assert handler.handler(ONLY, None) == {"paused": ["normal"]}
    finally:
        valkey.reset()


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
