"""What Sluice adds to the autoscaler: two lanes under one limit, a ceiling, ticks, missing signals."""

from dataclasses import replace

import pytest

from shared.scaling import memory
from shared.scaling.ceiling import Ceiling, Provider, Rule, move
from shared.scaling.policy import Decision, State, decide
from shared.scaling.profiles import Config
from shared.scaling.readings import LaneReadings, Readings
from shared.scaling.shares import await_drain, divide, floors, reserves
from shared.settings import read

CONFIG = Config()
START = 1_700_000_040.0  # a whole minute


def signals(
    high: tuple[int | None, int | None] = (0, 0),
    normal: tuple[int | None, int | None] = (0, 0),
    current: tuple[int | None, int | None] = (None, None),
    provider: Provider = Provider(0, 0, False),  # noqa: B008 - frozen
) -> Readings:
    lanes = {
        name: LaneReadings(visible, in_flight, 0, size)
        for name, (visible, in_flight), size in zip(("high", "normal"), (high, normal), current, strict=True)
    }
    return Readings(lanes, provider)


def drive(ticks: list[Readings], config: Config = CONFIG, state: State | None = None) -> list[Decision]:
    decisions = []
    for n, seen in enumerate(ticks):
        state, decision = decide(config, state, seen, START + n * config.tick_s)
        decisions.append(decision)
    return decisions


def targets(decisions: list[Decision], lane: str) -> list[int]:
    return [decision.lanes[lane].target for decision in decisions]


def test_idle_lanes_stay_at_lambdas_minimum() -> None:
    decisions = drive([signals()] * 3)
    assert targets(decisions, "high") == targets(decisions, "normal") == [2, 2, 2]


def test_defaults_add_four_a_minute_after_one_more_look() -> None:
    decisions = drive([signals(normal=(200, 20))] * 6)
    assert targets(decisions, "normal") == [2, 6, 10, 14, 16, 16]
    assert [decision.lanes["normal"].reason for decision in decisions] == [
        "stabilizing",
        "rate_limited",
        "rate_limited",
        "rate_limited",
        "at_most",
        "at_most",
    ]


def test_defaults_remove_one_every_two_minutes_after_five() -> None:
    decisions = drive([signals(normal=(200, 20))] * 5 + [signals()] * 12)
    assert targets(decisions, "normal")[4:] == [16] * 6 + [15, 15, 14, 14, 13, 13, 12]


def test_utilization_alone_scales_up() -> None:
    # 19 of 20 slots busy is 95 % of a target of 60 %: ceil(2 * 0.95 / 0.6) = 4.
    assert targets(drive([signals(high=(0, 19))] * 3), "high") == [2, 4, 4]


def test_the_larger_signal_wins() -> None:
    decision = drive([signals(high=(40, 12), normal=(3, 34))] * 2)[-1]
    assert decision.lanes["high"].desired == 8
    assert decision.lanes["normal"].desired == 6


def test_both_lanes_full_share_the_whole() -> None:
    decisions = drive([signals(high=(500, 20), normal=(500, 20))] * 8)
    assert targets(decisions, "high")[-1] == targets(decisions, "normal")[-1] == 10


def test_a_full_normal_lane_leaves_the_high_lane_its_own() -> None:
    # 160 runs hold the normal lane's 16 environments; the high lane's own four are free at once.
    state: State | None = None
    for n in range(6):
        state, _ = decide(CONFIG, state, signals(normal=(500, 160)), START + 60 * n)
    busy = signals(high=(500, 20), normal=(500, 160))
    _, second = drive_on(state, busy, 6, 2)
    assert (second.lanes["high"].target, second.lanes["normal"].target) == (4, 14)
    # It gets its part of the pool only as the normal lane's runs end: 12 tasks hold 12 environments at most.
    _, drained = drive_on(state, busy, 8, 1, normal=(500, 12))
    assert drained.lanes["high"].target == 6  # rate: four more than the 2 a minute ago
    # However long that is unclear, what was allowed five minutes ago holds nothing any more.
    _, later = drive_on(state, busy, 8, 20)
    assert {name: lane.target for name, lane in later.lanes.items()} == {"high": 10, "normal": 10}


def drive_on(
    state: State | None, seen: Readings, first: int, ticks: int, normal: tuple[int, int] | None = None
) -> tuple[State | None, Decision]:
    if normal:
        seen = Readings(
            {**seen.lanes, "normal": replace(seen.lanes["normal"], visible=normal[0], in_flight=normal[1])},
            seen.provider,
        )
    for n in range(first, first + ticks):
        state, decision = decide(CONFIG, state, seen, START + 60 * n)
    return state, decision


def test_a_repeated_tick_changes_nothing() -> None:
    seen = signals(normal=(200, 20))
    state, _ = decide(CONFIG, None, seen, START)
    state, once = decide(CONFIG, state, seen, START + 60)
    again, twice = decide(CONFIG, state, signals(normal=(0, 0)), START + 95)
    assert again is state
    assert {n: lane.target for n, lane in twice.lanes.items()} == {n: lane.target for n, lane in once.lanes.items()}
    assert twice.lanes["normal"].reason == "repeated_tick"


def test_what_is_set_now_counts_not_what_was_decided() -> None:
    # A deploy put the limit back to 2: growth starts from there.
    decisions = drive([signals(normal=(200, 20))] * 4 + [signals(normal=(200, 20), current=(2, 2))])
    assert targets(decisions, "normal")[-2:] == [14, 6]


def test_a_limit_above_the_most_comes_down_at_once() -> None:
    assert targets(drive([signals(current=(2, 50))]), "normal") == [16]


def test_missing_backlog_may_grow_but_not_shrink() -> None:
    grown = drive([signals(normal=(200, 20))] * 4)
    assert targets(grown, "normal")[-1] == 14
    decisions = drive([signals(normal=(200, 20))] * 4 + [signals(normal=(None, 10))] * 9)
    assert targets(decisions, "normal")[4:] == [14] * 9
    assert decisions[-1].lanes["normal"].reason == "metrics_missing"
    growing = drive([signals(normal=(None, 90))] * 3)
    assert targets(growing, "normal") == [2, 6, 10]


def test_nothing_measured_changes_nothing() -> None:
    decisions = drive([signals(normal=(200, 20))] * 3 + [Readings({})] * 3)
    assert targets(decisions, "normal")[2:] == [10] * 4


def test_an_open_breaker_holds_growth_but_not_shrinking() -> None:
    broken = Provider(100, 0, breaker_open=True)
    grown = [signals(normal=(200, 20))] * 3
    held = drive([*grown, *[signals(normal=(200, 20), provider=broken)] * 3])
    assert targets(held, "normal")[2:] == [10] * 4
    assert held[-1].lanes["normal"].reason == "breaker_open"
    shrunk = drive([*grown, *[signals(normal=(0, 0), provider=broken)] * 8])
    assert targets(shrunk, "normal")[-1] < 10


def test_throttling_halves_what_is_busy_and_recovers_one_by_one() -> None:
    full = signals(high=(500, 40), normal=(500, 160))
    throttled = replace(full, provider=Provider(1000, 200, breaker_open=False))
    calm = replace(full, provider=Provider(1000, 0, breaker_open=False))
    decisions = drive([full] * 6 + [throttled] * 3 + [calm] * 12)
    limits = [decision.ceiling for decision in decisions]
    assert limits[:6] == [20] * 6
    assert limits[6:9] == [10, 10, 5]  # waits two minutes before it falls again
    assert limits[9:13] == [6, 7, 8, 9]
    totals = [sum(lane.target for lane in decision.lanes.values()) for decision in decisions]
    assert all(total <= limit for total, limit in zip(totals, limits, strict=True))
    assert decisions[8].lanes["normal"].reason == "provider_ceiling"


@pytest.mark.parametrize(
    ("provider", "expected"),
    [
        pytest.param(Provider(None, None, None), 12, id="unknown: stays"),
        pytest.param(Provider(None, None, True), 12, id="unknown and open: stays"),
        pytest.param(Provider(0, 0, False), 13, id="no calls: rises"),
        pytest.param(Provider(1000, 10, False), 13, id="1 %: rises"),
        pytest.param(Provider(1000, 30, False), 12, id="3 %: stays"),
        pytest.param(Provider(1000, 0, True), 12, id="calm but open: stays"),
        pytest.param(Provider(9, 9, False), 12, id="too few calls to tell: stays"),
        pytest.param(Provider(1000, 51, False), 5, id="over 5 %: half of what is busy"),
    ],
)
def test_the_ceiling(provider: Provider, expected: int) -> None:
    assert move(Rule(), Ceiling(12), provider, busy=10, least=4, most=20, now=START).most == expected


def test_the_ceiling_stays_within_bounds() -> None:
    worst = Provider(100, 100, False)
    assert move(Rule(), Ceiling(4), worst, busy=0, least=4, most=20, now=START).most == 4
    assert move(Rule(), Ceiling(20), Provider(0, 0, False), busy=0, least=4, most=20, now=START).most == 20
    assert move(Rule(), Ceiling(99), Provider(), busy=0, least=4, most=20, now=START).most == 20


@pytest.mark.parametrize(
    ("wants", "total", "expected"),
    [
        ((2, 2), 20, (2, 2)),
        ((2, 20), 20, (2, 16)),
        ((20, 20), 20, (10, 10)),
        ((6, 20), 20, (6, 14)),
        ((20, 20), 4, (2, 2)),
        ((20, 20), 5, (3, 2)),
        ((20, 2), 7, (5, 2)),
    ],
)
def test_lanes_divide_the_whole(wants: tuple[int, int], total: int, expected: tuple[int, int]) -> None:
    floor = floors(("high", "normal"), 2)
    given = divide(dict(zip(("high", "normal"), wants, strict=True)), floor, total)
    assert tuple(given.values()) == expected


def test_an_odd_least_is_split() -> None:
    assert floors(("high", "normal"), 7) == {"high": 4, "normal": 3}
    assert reserves({"high": 2, "normal": 2}, 100) == {"high": 20, "normal": 20}
    assert reserves({"high": 2, "normal": 45}, 50) == {"high": 5, "normal": 45}


def test_growth_waits_for_the_other_lane_to_drain() -> None:
    floor = floors(("high", "normal"), 2)
    current = {"high": 4, "normal": 16}
    given = {"high": 10, "normal": 10}
    assert await_drain(given, current, {"high": 4, "normal": 16}, floor, 20)["high"] == 4
    assert await_drain(given, current, {"high": 4, "normal": 13}, floor, 20)["high"] == 7
    assert await_drain(given, current, {"high": 4, "normal": 3}, floor, 20)["high"] == 10


def test_the_backlogs_age_counts_from_the_first_tick_that_saw_it() -> None:
    decisions = drive([signals(normal=(5, 0)), signals(normal=(9, 0)), signals(normal=(None, 0))])
    assert [decision.lanes["normal"].backlog_age_s for decision in decisions] == [0.0, 60.0, 120.0]
    assert drive([signals(normal=(5, 0)), signals()])[-1].lanes["normal"].backlog_age_s == 0.0


def test_settings_become_a_configuration() -> None:
    seed = {"SCALING_PROFILE": "hpa", "RUNS_PER_ENVIRONMENT": "10"}
    config = Config.of(read({**seed, "MAX_REPLICAS": "40", "TARGET_UTILIZATION": "70", "SCALE_UP_PER_MINUTE": "6"}))
    assert (config.most, config.target_utilization, config.up.policies[0].value) == (38, 0.7, 6)
    assert Config.of(read(seed)) == replace(Config(), most=18)  # two are the quarantine lane's


def test_state_survives_as_json() -> None:
    state: State | None = None
    throttled = Provider(100, 50, breaker_open=False)
    for n in range(5):
        state, _ = decide(CONFIG, state, signals(normal=(99, 5), provider=throttled), START + 60 * n)
    assert state is not None
    assert memory.load(memory.dump(state)) == state


@pytest.mark.parametrize(
    "text", [None, "", "{", "[]", "1", '{"v":1}', '{"v":2}', '{"v":2,"at":1,"ceiling":{},"lanes":{}}']
)
def test_unreadable_state_is_no_state(text: str | None) -> None:
    assert memory.load(text) is None
