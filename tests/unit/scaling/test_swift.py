"""The profile `swift`: to what the tasks need within seconds, back within minutes, never above what may be."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.scaling.ceiling import Provider
from shared.scaling.policy import Decision, State, decide
from shared.scaling.profiles import Config
from shared.scaling.readings import LaneReadings, Readings
from shared.scaling.shares import AWS_LEAST, floors, reserves
from shared.settings import read
from tests.examples import examples

CONFIG = Config.of(read({"RUNS_PER_ENVIRONMENT": "10"}))
START = 1_700_000_040.0
LANES = ("high", "normal")
CALM = Provider(100, 0, breaker_open=False)


def seen(
    high: tuple[int | None, int | None],
    normal: tuple[int | None, int | None],
    current: tuple[int, int] | None = None,
    provider: Provider = CALM,
) -> Readings:
    sizes = current or (None, None)
    return Readings(
        {
            name: LaneReadings(waiting, running, 0, size)
            for name, (waiting, running), size in zip(LANES, (high, normal), sizes, strict=True)
        },
        provider,
    )


def drive(course: list[Readings], config: Config = CONFIG, state: State | None = None) -> list[Decision]:
    decisions = []
    for n, one in enumerate(course):
        state, decision = decide(config, state, one, START + n * config.tick_s)
        decisions.append(decision)
    return decisions


def targets(decisions: list[Decision], lane: str = "normal") -> list[int]:
    return [decision.lanes[lane].target for decision in decisions]


BUSY = (0, 5)
"""A lane that needs no more than its least, and is not idle."""


def test_it_is_the_default_and_the_seeds_rates_are_a_profile() -> None:
    assert CONFIG.swift
    assert CONFIG.tick_s == 5
    seed = Config.of(read({"SCALING_PROFILE": "hpa"}))
    assert (seed.swift, seed.lend, seed.tick_s) == (False, False, 60.0)
    assert [rule.policies[0][1:] for rule in (seed.up, seed.down)] == [(4, 60.0), (1, 120.0)]


def test_it_grows_at_once_to_what_waits_and_runs() -> None:
    # 80 tasks at 8.5 an environment: 10, at the first look that sees them.
    assert targets(drive([seen(BUSY, (0, 17), (2, 2)), seen(BUSY, (0, 80), (2, 2))])) == [2, 10]


def test_it_looks_ahead_while_tasks_wait() -> None:
    course = [seen(BUSY, (0, 17), (2, 2)), seen(BUSY, (10, 20), (2, 2))]
    # 13 more within 5 s are 39 more within 15: 69 tasks, 9 environments.
    assert targets(drive(course)) == [2, 9]
    running = [seen(BUSY, (0, 17), (2, 2)), seen(BUSY, (0, 30), (2, 2))]
    assert targets(drive(running))[-1] == 4, "not while none waits"


def test_tasks_that_wait_beside_free_slots_get_new_environments() -> None:
    # Ten environments near their end take nothing more: 30 run, 70 wait, 100 slots are there.
    course = [seen(BUSY, (70, 30), (2, 10))] * 2
    assert targets(drive(course))[-1] == 14
    assert CONFIG.target_backlog == 5


def drained(environments: int, free: int, tasks: tuple[int, int] = (0, 2), size: int = 2) -> Readings:
    """A lane with environments that take no more tasks, and with so many free slots of theirs."""
    one = seen(BUSY, tasks, (2, size))
    normal = replace(one.lanes["normal"], draining=environments, closed=free)
    return replace(one, lanes={**one.lanes, "normal": normal})


@pytest.mark.parametrize("profile", ["swift", "hpa"])
@pytest.mark.parametrize(
    ("environments", "free", "before", "after"),
    [(1, 9, 2, 2), (2, 18, 2, 3), (2, 0, 2, 3), (3, 9, 4, 4), (4, 36, 4, 5)],
)
def test_beside_environments_that_take_nothing_more_there_is_one_that_does(
    profile: str, environments: int, free: int, before: int, after: int
) -> None:
    config = Config.of(read({"RUNS_PER_ENVIRONMENT": "10", "SCALING_PROFILE": profile}))
    course = [drained(environments, free, (0, environments), before)] * 3
    assert targets(drive(course, config))[-1] == after


@pytest.mark.parametrize(("profile", "after", "otherwise"), [("swift", 6, 4), ("hpa", 7, 5)])
def test_their_free_slots_are_nobodys(profile: str, after: int, otherwise: int) -> None:
    # 30 of 40 slots are in use, and two environments with 18 free ones take nothing more: 28 tasks are the others'.
    config = Config.of(read({"RUNS_PER_ENVIRONMENT": "10", "SCALING_PROFILE": profile}))
    assert targets(drive([drained(2, 18, (0, 30), 4)] * 3, config))[-1] == after
    assert targets(drive([drained(0, 0, (0, 30), 4)] * 3, config))[-1] == otherwise


def test_a_tenth_of_the_whole_is_left_whatever_drains() -> None:
    high = LaneReadings(0, 20, 0, 3)
    ends = [replace(one, lanes={**one.lanes, "high": high}) for one in [drained(50, 500, (0, 100), 4)] * 3]
    assert targets(drive(ends)) == [14] * 3, "12 for its tasks, one of 18 stays, three are the other lane's"
    full = [replace(one, lanes={**one.lanes, "high": high}) for one in [drained(0, 0, (0, 125), 4)] * 3]
    assert targets(drive(full)) == [15] * 3, "tasks get all"


def test_what_tasks_need_comes_before_what_ends() -> None:
    normal = drained(10, 50, (0, 85), 10)
    both = replace(normal, lanes={**normal.lanes, "high": LaneReadings(30, 34, 0, 3)})
    last = drive([both] * 3)[-1]
    assert {name: one.target for name, one in last.lanes.items()} == {"high": 8, "normal": 10}


def test_it_shrinks_after_a_minute_by_a_fifth_or_four_a_minute() -> None:
    course = [seen(BUSY, (0, 130)), *[seen(BUSY, (0, 17))] * 49]
    sizes = targets(drive(course))
    assert sizes[0] == 15
    assert sizes[12] == 15, "for a minute it remembers"
    assert sizes[13:25] == [11] * 12
    assert sizes[25:37] == [7] * 12


def test_a_lane_at_rest_is_lent_what_nobody_needs_and_gives_it_back_at_once() -> None:
    idle = drive([seen((0, 0), (0, 0), (2, 2))])[0]
    assert {name: one.target for name, one in idle.lanes.items()} == {"high": 9, "normal": 9}
    assert idle.lanes["normal"].reason == "idle"
    course = [seen((0, 0), (0, 0), (2, 2)), seen((0, 0), (0, 3), (9, 9))]
    assert targets(drive(course)) == [9, 2], "three runs need no nine environments"


def test_what_a_lane_is_lent_is_nobody_elses() -> None:
    course = [seen((0, 0), (500, 100), (2, 14))] * 3
    decisions = drive(course)
    assert targets(decisions)[-1] == 15, "all but what the other lane owns"
    assert targets(decisions, "high")[-1] == 3


def test_nothing_is_lent_while_the_provider_is_down() -> None:
    broken = Provider(100, 0, breaker_open=True)
    assert targets(drive([seen((0, 0), (0, 0), (2, 2), broken)])) == [2]


def test_an_open_breaker_holds_growth() -> None:
    broken = Provider(100, 0, breaker_open=True)
    assert targets(drive([seen(BUSY, (200, 20), (2, 2), broken)] * 3)) == [2, 2, 2]


def test_the_ceiling_moves_once_a_minute_however_often_it_looks() -> None:
    throttled = Provider(1000, 200, breaker_open=False)
    full = seen((50, 40), (500, 140), None, throttled)
    limits = [decision.ceiling for decision in drive([replace(full, provider=CALM)] * 12 + [full] * 37)]
    assert limits[11] == 18
    assert limits[12:36] == [9] * 24
    assert limits[36:48] == [4] * 12
    calm = [decision.ceiling for decision in drive([full] * 12 + [replace(full, provider=CALM)] * 25)]
    assert calm[12:24] == [calm[11] + 1] * 12


def test_what_cannot_be_read_may_grow_a_lane_and_not_shrink_it() -> None:
    course = [seen(BUSY, (0, 60), (2, 8)), *[seen(BUSY, (None, 10), (2, 8))] * 30]
    assert targets(drive(course)) == [8] * 31
    assert targets(drive([seen(BUSY, (None, 90), (2, 2))] * 2))[-1] == 11


counts = st.integers(0, 3000)
maybe = st.none() | counts
looks = st.builds(
    lambda high, normal, provider: (high, normal, provider),
    st.tuples(maybe, maybe),
    st.tuples(maybe, maybe),
    st.builds(
        lambda calls, part, breaker: Provider(calls, None if calls is None else int(calls * part), breaker),
        st.none() | st.integers(0, 5000),
        st.floats(0, 1),
        st.none() | st.booleans(),
    ),
)


@given(st.lists(looks, min_size=1, max_size=60), st.integers(4, 300), st.integers(1, 100), st.booleans())
@settings(max_examples=examples(60, usual=20), deadline=None)
def test_no_course_of_looks_passes_a_limit(
    course: list[tuple[tuple[int, int], tuple[int, int], Provider]], most: int, slots: int, applied: bool
) -> None:
    """Limits are set as decided, or stay as they were: the sum, each lane's own part and Lambda's least hold."""
    config = replace(CONFIG, most=most, runs_per_environment=slots)
    floor = floors(LANES, config.least)
    state: State | None = None
    current = (2, 2)
    for n, (high, normal, provider) in enumerate(course):
        one = seen(high, normal, current, provider)
        state, decision = decide(config, state, one, START + n * config.tick_s)
        sizes = {name: lane.target for name, lane in decision.lanes.items()}
        assert sum(sizes.values()) <= decision.ceiling <= config.most
        assert all(size >= AWS_LEAST for size in sizes.values())
        own = reserves(floor, config.most)
        assert sizes["high"] <= config.most - own["normal"]
        assert sizes["normal"] <= config.most - own["high"]
        if applied:
            current = (sizes["high"], sizes["normal"])


@given(st.lists(st.tuples(counts, counts), min_size=2, max_size=60))
@settings(max_examples=examples(40, usual=20), deadline=None)
def test_it_shrinks_no_faster_than_its_rate(course: list[tuple[int, int]]) -> None:
    decisions = drive([seen(BUSY, one) for one in course], replace(CONFIG, most=400))
    sizes = [one.lanes["normal"].current for one in decisions] + [decisions[-1].lanes["normal"].target]
    for before, after in pairwise(sizes):
        assert after >= min(before - 4, math.floor(before * 0.8)), "in one look no more than in a minute"


@pytest.mark.parametrize(("environments", "waiting"), [(84, 4000), (500, 9000)])
def test_it_never_grows_more_slowly_than_lambda(environments: int, waiting: int) -> None:
    config = replace(CONFIG, most=3000)
    course = [
        seen(BUSY, (0, environments * 8), (2, environments)),
        seen(BUSY, (waiting, environments * 10), (2, environments)),
    ]
    grown = targets(drive(course, config))[-1] - environments
    assert grown >= min(300, waiting // 10)
