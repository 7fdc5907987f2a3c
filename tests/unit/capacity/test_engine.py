"""The simulation against what can be worked out by hand, or by queueing theory."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.capacity_model.scenario import Provider, Tier
from tests.unit.capacity.worlds import PLAIN, load, platform, scenario, simulate


def test_a_batch_holds_its_environment_until_its_slowest_run_ends() -> None:
    world = scenario(platform=platform(first_limits=(1, 1)))
    result = simulate(world, load([0.0] * 11, [[1.0]] * 9 + [[30.0]] + [[1.0]]))
    assert result.ended[:10] == [1.0] * 9 + [30.0]
    assert result.started[10] == 30.0, "the eleventh run waits although nine slots are free"
    assert result.lanes["normal"].busy_s == 31.0
    assert result.lanes["normal"].invocations == 2


def test_slots_that_come_free_take_more_for_so_long() -> None:
    world = scenario(platform=platform(first_limits=(1, 1), refill_s=20.0))
    result = simulate(world, load([0.0] * 13, [[1.0]] * 9 + [[30.0]] + [[25.0]] + [[1.0]] * 2))
    assert result.started[10:] == [1.0, 1.0, 1.0], "as soon as slots are free"
    assert result.lanes["normal"].invocations == 1
    late = simulate(world, load([0.0] * 10 + [25.0], [[1.0]] * 9 + [[30.0]] + [[1.0]]))
    assert late.started[10] == 30.0, "after its time it takes nothing more"


def test_an_environment_that_took_more_lets_no_more_run_than_it_has_slots() -> None:
    world = scenario(platform=platform(first_limits=(1, 1), refill_s=600.0, slots=15))
    result = simulate(world, load([0.0] * 40, [[10.0]] * 40))
    assert result.peak_running == 15
    assert result.lanes["normal"].invocations == 1
    assert max(at for at in result.ended if at) == 30.0


def test_an_empty_lane_is_asked_again_after_a_growing_pause() -> None:
    world = scenario(platform=platform(first_limits=(1, 1), refill_s=600.0))
    result = simulate(world, load([0.0, 2.5, 20.0], [[100.0]] * 3))
    # Asked at 0, 1, 3 (finds the second), 3, 4, 6, 10, 18, 26.
    assert result.started == [0.0, 3.0, 26.0]


def test_pollers_start_with_five_and_grow_by_five_a_second() -> None:
    world = scenario(platform=platform(first_pollers=5, batch=1))
    result = simulate(world, load([0.0] * 400, [[600.0]] * 400))
    started = sorted(at for at in result.started if at is not None)
    assert started[4] == 0.0
    assert 0.0 < started[5] <= 0.4
    assert sum(at <= 60 for at in started) == pytest.approx(5 + 300, abs=3)


def test_the_limit_holds_and_a_cold_start_delays() -> None:
    world = scenario(platform=platform(first_limits=(2, 3), batch=1, cold_s=2.0, keep_warm_s=5.0))
    result = simulate(world, load([0.0, 0.0, 0.0, 0.0, 100.0], [[10.0]] * 5))
    assert result.started == [2.0, 2.0, 2.0, 12.0, 102.0]
    assert result.peak_active == 3
    assert result.lanes["normal"].cold_starts == 4, "one environment was reused, the last had gone cold"


def test_a_user_at_the_cap_is_parked_and_others_pass() -> None:
    world = scenario(tiers=(Tier("all", 1, 1, "normal", 2),), platform=platform(batch=1))
    result = simulate(world, load([0.0] * 5 + [1.0], [[10.0]] * 6, users=[7] * 5 + [8]))
    assert result.started == [0.0, 0.0, 10.0, 10.0, 20.0, 1.0]
    assert result.parked == 3


def test_failed_calls_are_retried_with_growing_delays_and_then_give_up() -> None:
    from dataclasses import replace

    world = scenario(shape=replace(PLAIN, call_fails=1.0))
    result = simulate(world, load([0.0], [[1.0, 1.0]]))
    assert (result.failed, result.retried, result.calls) == (1, 3, 4)
    # Four tries of a second, after delays of 15-30, 30-60 and 60-120 s.
    assert result.ended[0] is not None
    assert 4 + 105 <= result.ended[0] <= 4 + 210 + 3


def test_a_run_longer_than_the_function_goes_on_in_another() -> None:
    world = scenario(platform=platform(slice_s=100.0))
    result = simulate(world, load([0.0], [[40.0] * 6]))
    assert result.continued == 2
    assert result.ended == [240.0]
    assert result.slices == 3


@pytest.mark.parametrize("limits", [Provider(rpm=60), Provider(tpm=60 * 1550)])
def test_calls_keep_to_the_budget_of_every_rolling_minute(limits: Provider) -> None:
    world = scenario(provider=limits, platform=platform(batch=1))
    result = simulate(world, load([0.0] * 150, [[5.0]] * 150))
    assert result.deferred > 0
    ends = sorted(at for at in result.ended if at is not None)
    assert len(ends) == 150
    starts = [at - 5.0 for at in ends]
    most = max(sum(start <= other < start + 60 for other in starts) for start in starts)
    assert most <= 60
    assert result.throttled == 0


def test_a_provider_that_grants_less_answers_429_and_the_run_comes_back() -> None:
    world = scenario(provider=Provider(true_rpm=10), platform=platform(batch=1))
    result = simulate(world, load([0.0] * 25, [[1.0]] * 25))
    assert result.throttled > 0
    assert sum(at is not None and at < 60 for at in result.ended) == 10
    assert all(at is not None for at in result.ended)


def erlang_c(servers: int, offered: float) -> float:
    """The chance that an arrival waits, in M/M/c."""
    below = sum(offered**n / math.factorial(n) for n in range(servers))
    full = offered**servers / math.factorial(servers) * servers / (servers - offered)
    return full / (below + full)


@pytest.mark.parametrize(("servers", "offered"), [(4, 3.0), (10, 8.0)])
def test_single_runs_wait_as_queueing_theory_says(servers: int, offered: float) -> None:
    # M/M/c (Erlang C): one run a batch, as many environments as servers; service of 10 s on average.
    draw = random.Random(5)
    at, arrive, calls = 0.0, [], []
    for _ in range(120_000):
        at += draw.expovariate(offered / 10)
        arrive.append(at)
        calls.append([draw.expovariate(1 / 10)])
    result = simulate(scenario(platform=platform(batch=1, first_limits=(servers, servers))), load(arrive, calls))
    waits = [started - at for at, started in zip(arrive, result.started, strict=True) if started is not None]
    expected = erlang_c(servers, offered) * 10 / (servers - offered)
    assert sum(waits) / len(waits) == pytest.approx(expected, rel=0.06)
    assert sum(wait > 0 for wait in waits) / len(waits) == pytest.approx(erlang_c(servers, offered), rel=0.06)


runs = st.lists(
    st.tuples(
        st.floats(0, 300),
        st.lists(st.floats(0.1, 60), min_size=1, max_size=4),
        st.integers(1, 4),
    ),
    min_size=1,
    max_size=60,
)


@given(runs, st.integers(1, 5), st.integers(1, 10), st.integers(0, 3), st.sampled_from([0, 30]))
@settings(max_examples=40, deadline=None)
def test_every_run_ends_once_and_no_limit_is_passed(
    drawn: list[tuple[float, list[float], int]], limit: int, batch: int, cap: int, rpm: int
) -> None:
    drawn = sorted(drawn, key=lambda one: one[0])
    arrive, calls, users = [one[0] for one in drawn], [one[1] for one in drawn], [one[2] for one in drawn]
    world = scenario(
        tiers=(Tier("all", 1, 1, "normal", cap),),
        platform=platform(first_limits=(1, limit), batch=batch),
        provider=Provider(rpm=rpm),
    )
    result = simulate(world, load(arrive, calls, users))
    assert all(at is not None for at in result.ended)
    for at, started, ended, one in zip(arrive, result.started, result.ended, calls, strict=True):
        assert started is not None
        assert ended is not None
        assert at <= started
        assert ended >= started + sum(one) - 1e-6
    lane = result.lanes["normal"]
    assert lane.peak_active <= limit
    assert lane.peak_running <= limit * batch
    assert (lane.active, lane.running, lane.delayed, len(lane.queue)) == (0, 0, 0, 0)
    assert result.calls == sum(len(one) for one in calls)
    if cap and not rpm:
        spans = zip(users, result.started, result.ended, strict=True)
        held = [(user, a, b) for user, a, b in spans if a is not None and b is not None]
        for user, start, _ in held:
            assert sum(u == user and a <= start < b for u, a, b in held) <= cap
