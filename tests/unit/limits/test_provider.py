"""The provider's budget, shared by all environments."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared import valkey
from shared.limits import names
from shared.limits.provider import Minute, ProviderBudget
from shared.settings import Settings
from tests.examples import examples
from tests.unit.limits.helpers import Clock

MODEL = "gpt-4o-mini"
course = settings(
    max_examples=examples(40, usual=15),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def budget(on: Any, clock: Clock, **config: Any) -> ProviderBudget:
    return ProviderBudget(config=Settings(**config), on=on, now_us=clock)


def test_unlimited_takes_no_trip(any_valkey: Any) -> None:
    b = budget(any_valkey, Clock())
    assert b.acquire(MODEL, 10**9).taken
    b.give_back(MODEL, 10**9)
    assert any_valkey.keys("*") == []


def test_waiters_are_served_in_order_and_too_long_a_wait_takes_nothing(any_valkey: Any) -> None:
    clock = Clock()
    b = budget(any_valkey, clock, provider_rpm=60)
    grants = [b.acquire(MODEL, 1, max_wait_s=3) for _ in range(12)]
    assert [g.taken for g in grants] == [True] * 8 + [False] * 4
    waits = [g.wait_s for g in grants]
    assert waits[:6] == [0.0] * 6  # the bucket
    assert abs(waits[6] - 60 / 55) < 1e-5  # 6 at once and 55 a minute: at most 60 start in any minute
    assert abs(waits[7] - 120 / 55) < 1e-5
    assert len(set(waits[8:])) == 1
    clock.forward(waits[8] - 3)
    assert b.acquire(MODEL, 1, max_wait_s=3).taken


def test_what_was_not_used_goes_back(any_valkey: Any) -> None:
    clock = Clock()
    b = budget(any_valkey, clock, provider_tpm=10_000)
    assert b.acquire(MODEL, 1000, max_wait_s=0).wait_s == 0
    assert not b.acquire(MODEL, 1000, max_wait_s=0).taken
    b.adjust(MODEL, 1000, 100)
    assert b.acquire(MODEL, 890, max_wait_s=0).taken
    assert not b.acquire(MODEL, 100, max_wait_s=0).taken
    b.give_back(MODEL, 890)
    assert b.acquire(MODEL, 880, max_wait_s=0).taken
    b.adjust(MODEL, 880, 10_000)  # used beyond what was reserved: others wait for it
    assert b.acquire(MODEL, 1, max_wait_s=0).wait_s > 50


def test_a_call_larger_than_the_bucket_gets_its_turn(any_valkey: Any) -> None:
    clock = Clock()
    b = budget(any_valkey, clock, provider_tpm=1000)
    assert b.acquire(MODEL, 5000, max_wait_s=0).taken
    refused = b.acquire(MODEL, 1, max_wait_s=0)
    assert refused.wait_s > 300
    clock.forward(refused.wait_s)
    assert b.acquire(MODEL, 1, max_wait_s=0).taken


def test_calls_are_counted_per_minute(any_valkey: Any) -> None:
    clock = Clock()
    b = budget(any_valkey, clock)
    minute = clock.at // 60_000_000
    b.adjust(MODEL, 10, 10)
    b.adjust(MODEL, 10, 0, throttled=True)
    clock.forward(60)
    b.adjust(MODEL, 10, 10)
    assert b.windows(3) == [Minute(minute - 1, 0, 0), Minute(minute, 2, 1), Minute(minute + 1, 1, 0)]
    assert any_valkey.ttl(names.provider_window_key(minute)) > 0


@course
@given(
    rpm=st.integers(1, 40),
    calls=st.lists(st.tuples(st.integers(0, 20_000_000), st.sampled_from([0.0, 2.0, 60.0])), min_size=5, max_size=60),
)
def test_no_rolling_minute_starts_more_calls(any_valkey: Any, rpm: int, calls: list[tuple[int, float]]) -> None:
    any_valkey.flushall()
    clock = Clock()
    b = budget(any_valkey, clock, provider_rpm=rpm)
    starts = []
    for gap, longest in calls:
        clock.at += gap
        grant = b.acquire(MODEL, 1, max_wait_s=longest)
        assert grant.taken == (grant.wait_s <= longest)
        if grant.taken:
            starts.append(clock.at + round(grant.wait_s * 1_000_000))
    assert starts == sorted(starts)
    for first in starts:
        assert sum(1 for s in starts if first <= s < first + 60_000_000) <= rpm


@course
@given(
    tpm=st.sampled_from([1000, 50_000]),
    calls=st.lists(st.tuples(st.integers(0, 20_000_000), st.integers(1, 100)), min_size=5, max_size=60),
)
def test_no_rolling_minute_starts_more_tokens(any_valkey: Any, tpm: int, calls: list[tuple[int, int]]) -> None:
    any_valkey.flushall()
    clock = Clock()
    b = budget(any_valkey, clock, provider_tpm=tpm)
    starts = []
    for gap, thousandths in calls:
        clock.at += gap
        tokens = max(1, tpm * thousandths // 1000)  # up to the bucket's size
        grant = b.acquire(MODEL, tokens, max_wait_s=100)
        if grant.taken:
            starts.append((clock.at + round(grant.wait_s * 1_000_000), tokens))
    for first, _ in starts:
        assert sum(n for s, n in starts if first <= s < first + 60_000_000) <= tpm


def test_without_valkey_each_environment_keeps_to_its_share() -> None:
    config = Settings(provider_rpm=200, max_replicas=20)
    b = ProviderBudget(config=config, on=valkey.connect("redis://127.0.0.1:1"))
    grants = [b.acquire(MODEL, 1, max_wait_s=0) for _ in range(3)]
    assert [g.taken for g in grants] == [True, False, False]
    assert grants[0].local
    b.adjust(MODEL, 1, 1)
    assert b.windows() == []
