"""Tiers and prices as data."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import SettingError
from shared.limits import prices, tiers
from shared.settings import settings


@pytest.fixture(autouse=True)
def _fresh_settings(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.delenv("QUOTA_REQUESTS", raising=False)
    monkeypatch.delenv("QUOTA_WINDOW_SECONDS", raising=False)
    settings.cache_clear()
    yield
    settings.cache_clear()


def test_all_tiers_resolve() -> None:
    assert set(tiers.names()) == {"free", "standard", "vip", "service", "load", "operator"}
    for name in tiers.names():
        found = tiers.resolve(name)
        assert found.lane in found.lanes
        assert set(found.lanes) <= set(tiers.LANES)
        assert found.trusted == (name == "service")
        assert found.operator == (name == "operator")


def test_standard_takes_the_deployments_quota(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (tiers.resolve("standard").requests, tiers.resolve("standard").window_s) == (60, 3600)
    monkeypatch.setenv("QUOTA_REQUESTS", "0")
    monkeypatch.setenv("QUOTA_WINDOW_SECONDS", "60")
    settings.cache_clear()
    assert (tiers.resolve("standard").requests, tiers.resolve("standard").window_s) == (0, 60)
    assert tiers.resolve("free").requests == 20


def test_load_has_no_limit() -> None:
    load = tiers.resolve("load")
    assert (load.requests, load.queued, load.running, load.budgeted) == (0, 0, 0, False)


def test_overrides() -> None:
    found = tiers.resolve("free", {"requests": 5, "usd_per_day": 2.5, "lanes": ["high", "normal"], "trusted": True})
    assert (found.requests, found.micro_usd_per_day, found.lane, found.trusted) == (
        5,
        2_500_000,
        "high",
        True,
    )
    assert found.window_s == 3600


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        ({"request": 5}, "no field 'request'"),
        ({"requests": -1}, "requests in limits must be a whole number, 0 or more"),
        ({"requests": True}, "whole number"),
        ({"requests": 1.5}, "whole number"),
        ({"requests": None}, "whole number"),
        ({"window_s": 0}, "1 or more"),
        ({"tokens_per_day": 10**13}, "whole number"),
        ({"usd_per_day": float("nan")}, "amount of USD"),
        ({"usd_per_day": "5"}, "amount of USD"),
        ({"lanes": ["fast"]}, "high and normal"),
        ({"models": []}, "list of names"),
        ({"agents": "chat"}, "list of names"),
        ({"operator": 1}, "true or false"),
        ([], "must be an object"),
    ],
)
def test_wrong_overrides_are_named(overrides: Any, says: str) -> None:
    if overrides == []:
        overrides = ["requests"]
    with pytest.raises(SettingError, match=says):
        tiers.resolve("standard", overrides)


def test_unknown_tier() -> None:
    with pytest.raises(SettingError, match="tier must be one of free, standard"):
        tiers.resolve("gold")


def test_what_a_tier_allows() -> None:
    free = tiers.resolve("free")
    assert free.allows_model("gpt-4o-mini")
    assert free.allows_model("gpt-4o-mini-2024-07-18")
    assert free.allows_model("sim-slow")
    assert not free.allows_model("gpt-4o")
    assert not free.allows_model("gpt-4o-mini-extra")
    assert free.allows_agent("chat")
    assert not free.allows_agent("research")
    assert not free.allows_lane("high")
    assert tiers.resolve("vip").allows_lane("high")


@pytest.mark.parametrize(
    ("model", "usd_in", "usd_out"),
    [
        ("gpt-4o-mini", 0.15, 0.6),
        ("gpt-4o-mini-2024-07-18", 0.15, 0.6),
        ("gpt-4-0613", 30, 60),
        ("gpt-4o-2024-08-06", 2.5, 10),
        ("gpt-4o-2024-05-13", 5, 15),  # a snapshot that is dearer than its base model
        ("gpt-3.5-turbo-0613", 1.5, 2),
        ("gpt-5-chat-latest", 1.25, 10),
        ("sim-anything", 0.15, 0.6),
    ],
)
def test_prices(model: str, usd_in: float, usd_out: float) -> None:
    assert prices.cost_micro_usd(model, 1_000_000, 0) == round(usd_in * 1_000_000)
    assert prices.cost_micro_usd(model, 0, 1_000_000) == round(usd_out * 1_000_000)


def test_costs_round_up() -> None:
    assert prices.cost_micro_usd("gpt-4o-mini", 0, 0) == 0
    assert prices.cost_micro_usd("gpt-4o-mini", 1, 0) == 1
    assert prices.cost_micro_usd("gpt-4o-mini", 20, 0) == 3
    assert prices.cost_micro_usd("gpt-4o-mini", 21, 0) == 4


def test_the_table_is_dated() -> None:
    assert len(prices.as_of().split("-")) == 3


@given(
    payload=st.integers(0, 10**7),
    used_in=st.integers(0, 10**7),
    out=st.integers(0, 10**6),
    most=st.integers(0, 10**6),
)
def test_worst_case_covers_any_call(payload: int, used_in: int, out: int, most: int) -> None:
    tokens, money = prices.worst_case("gpt-4o", payload, most)
    used_in, out = min(used_in, payload), min(out, most)  # a token has at least one byte
    assert tokens >= used_in + out
    assert money >= prices.cost_micro_usd("gpt-4o", used_in, out)
