"""Properties that hold for every course of signals."""

from dataclasses import replace
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.scaling import hpa, memory
from shared.scaling.ceiling import Provider
from shared.scaling.policy import Decision, State, decide
from shared.scaling.profiles import Config
from shared.scaling.readings import LaneReadings, Readings
from shared.scaling.shares import divide, floors

LANES = ("high", "normal")
START = 1_700_000_040.0

counts = st.none() | st.integers(0, 3000)
providers = st.builds(
    lambda calls, part, breaker: Provider(calls, None if calls is None else int(calls * part), breaker),
    st.none() | st.integers(0, 5000),
    st.floats(0, 1),
    st.none() | st.booleans(),
)
lanes = st.tuples(counts, counts, st.none(), st.none(), st.integers(0, 50), st.integers(0, 500))
ticks = st.builds(
    lambda high, normal, provider: Readings({"high": LaneReadings(*high), "normal": LaneReadings(*normal)}, provider),
    lanes,
    lanes,
    providers,
)
courses = st.lists(ticks, min_size=1, max_size=40)
policies = st.lists(
    st.builds(
        hpa.Policy,
        st.sampled_from(["Pods", "Percent"]),
        st.integers(1, 150),
        st.sampled_from([60.0, 120.0, 300.0]),
    ),
    min_size=1,
    max_size=3,
).map(tuple)
rules = st.builds(hpa.Rules, st.sampled_from([0, 30, 60, 300]), policies, st.sampled_from(["Max", "Min", "Disabled"]))
configs = st.builds(
    lambda least, more, up, down, backlog, share, swift: Config(
        least=least,
        most=max(4, least + more),
        up=up,
        down=down,
        target_backlog=backlog,
        target_utilization=share,
        swift=swift,
        lend=swift,
        tick_s=5.0 if swift else 60.0,
    ),
    st.integers(1, 30),
    st.integers(0, 200),
    rules,
    rules,
    st.floats(0.5, 50),
    st.floats(0.1, 1),
    st.booleans(),
)


def drive(config: Config, course: list[Readings]) -> list[Decision]:
    state: State | None = None
    decisions = []
    for n, seen in enumerate(course):
        state, decision = decide(config, state, seen, START + n * config.tick_s)
        assert memory.load(memory.dump(state)) == state
        decisions.append(decision)
    return decisions


@given(configs, courses)
@settings(max_examples=40, deadline=None)
def test_sizes_stay_within_bounds(config: Config, course: list[Readings]) -> None:
    floor = floors(config.lanes, config.least)
    for decision in drive(config, course):
        sizes = {name: lane.target for name, lane in decision.lanes.items()}
        assert sum(sizes.values()) <= decision.ceiling <= config.most
        assert all(sizes[name] >= floor[name] >= 2 for name in sizes)


@given(courses)
@settings(max_examples=40, deadline=None)
def test_never_faster_than_the_policies(course: list[Readings]) -> None:
    decisions = drive(Config(), course)
    for lane in LANES:
        sizes = [decision.lanes[lane].current for decision in decisions] + [decisions[-1].lanes[lane].target]
        assert all(after - before <= 4 for before, after in pairwise(sizes))


calm = st.builds(
    lambda normal, breaker: Readings(
        {"high": LaneReadings(0, 0), "normal": LaneReadings(*normal)}, Provider(50, 0, breaker)
    ),
    st.tuples(counts, counts),
    st.booleans(),
)


@given(st.lists(calm, min_size=1, max_size=60))
@settings(max_examples=40, deadline=None)
def test_shrinks_by_one_in_two_minutes_while_nothing_forces_it(course: list[Readings]) -> None:
    decisions = drive(Config(), course)
    sizes = [decision.lanes["normal"].current for decision in decisions]
    sizes.append(decisions[-1].lanes["normal"].target)
    shrunk = [max(0, before - after) for before, after in pairwise(sizes)]
    assert all(first + second <= 1 for first, second in pairwise([0, *shrunk]))


@given(courses, st.sampled_from(LANES), st.integers(0, 500))
@settings(max_examples=40, deadline=None)
def test_more_backlog_never_means_less(course: list[Readings], lane: str, more: int) -> None:
    """One tick of the same history, with and without additional backlog in a lane."""
    config = Config()
    state: State | None = None
    for n, seen in enumerate(course[:-1]):
        state, _ = decide(config, state, seen, START + 60 * n)
    last, at = course[-1], START + 60 * len(course)
    one = last.lanes[lane]
    if one.visible is None:
        return
    grown = replace(last, lanes={**last.lanes, lane: replace(one, visible=one.visible + more)})
    _, before = decide(config, state, last, at)
    _, after = decide(config, state, grown, at)
    assert after.lanes[lane].target >= before.lanes[lane].target


@given(st.integers(2, 16), st.lists(st.floats(-0.0999, 0.0999), min_size=3, max_size=40))
@settings(max_examples=40, deadline=None)
def test_no_flapping_within_the_tolerance(size: int, noise: list[float]) -> None:
    """Load that stays within a tenth of the target moves nothing, however it wobbles."""
    config = Config(target_backlog=1000, target_utilization=1.0, runs_per_environment=1000)
    state: State | None = None
    for n, part in enumerate(noise):
        load = int(size * 1000 * (1 + part))
        seen = Readings(
            {"high": LaneReadings(0, 0), "normal": LaneReadings(load, 0, current=size)}, Provider(0, 0, False)
        )
        state, decision = decide(config, state, seen, START + 60 * n)
        assert decision.lanes["normal"].target == size


@given(st.tuples(st.integers(2, 300), st.integers(2, 300)), st.integers(1, 60), st.integers(0, 300))
def test_a_lane_gets_its_reserve_whatever_the_other_wants(wants: tuple[int, int], least: int, more: int) -> None:
    floor = floors(LANES, least)
    total = sum(floor.values()) + more
    given_now = divide(dict(zip(LANES, wants, strict=True)), floor, total)
    assert sum(given_now.values()) <= total
    for lane, want in zip(LANES, wants, strict=True):
        assert given_now[lane] >= min(want, int(total * 0.2) if least <= 2 else floor[lane])
        assert given_now[lane] <= want
    # Nothing is left while a lane is refused, save what the other lane owns.
    if sum(wants) <= total and all(w <= total * 0.8 for w in wants) and least <= 2:
        assert tuple(given_now.values()) == wants
