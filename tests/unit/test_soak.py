"""What the soak makes of its samples."""

import pytest

from benchmarks.steady.load import Ended, Load, sessions
from benchmarks.steady.memory import RUN_MB, Part, growing, mean_mb


def part(sizes: list[float]) -> Part:
    return Part(at=[10.0 * n for n in range(len(sizes))], each=sizes, processes=[1] * len(sizes), total=sizes)


def test_slope_and_ratio_leave_the_warm_up_out() -> None:
    found = part([10.0, 50.0, *(100.0 + n for n in range(12))]).figures(warm_up_s=20)
    assert found is not None
    assert found["slope_mb_per_hour"] == pytest.approx(360)
    assert (found["first_third_mb"], found["last_third_mb"]) == (101.5, 109.5)
    assert found["last_to_first_third_ratio"] == pytest.approx(1.079, abs=0.001)


def test_too_few_samples_say_nothing() -> None:
    assert part([1.0] * 6).figures(warm_up_s=20) is None


def test_growth_is_judged_but_not_that_of_stand_ins() -> None:
    figures = {name: {"last_to_first_third_ratio": ratio} for name, ratio in
               {"worker": 1.2, "api": 1.09, "aws": 3.0, "llm": 2.0, "valkey": 1.11}.items()}  # fmt: skip
    assert growing(figures, 1.1) == ["worker", "valkey"]


def test_waits_by_window() -> None:
    load = Load({"api_keys": {"load": "k"}, "api_url": "http://127.0.0.1:9", "table": "t"}, 1)
    load.ended = [Ended(float(n), n / 100, "complete") for n in range(100)]
    first, second = load.waits(50)
    assert (first["runs"], first["from_minute"], second["from_minute"]) == (50, 0.0, 0.8)
    assert (first["p50_s"], first["p95_s"], second["p95_s"]) == (0.245, 0.47, 0.97)


def test_runs_held_at_once_by_lane() -> None:
    load = Load({"api_keys": {"load": "k"}, "api_url": "http://127.0.0.1:9", "table": "t"}, 1)
    load.at_once |= {"normal": [40, 44, 49], "high": [9]}
    assert load.held() == {"high": {"p50": 9, "most": 9}, "normal": {"p50": 44, "most": 49}}


def test_environments_that_hold_more_runs_are_no_leak_and_those_that_hold_as_many_are() -> None:
    many = mean_mb([60 + 10 * RUN_MB] * 10, held=100)
    few = mean_mb([60 + 50 * RUN_MB] * 2, held=100)
    assert abs(many - few) < 1e-9
    assert mean_mb([70 + 50 * RUN_MB] * 2, held=100) - many > 9


def test_runs_of_long_calls_have_sessions_enough_not_to_wait_for_each_other() -> None:
    assert sessions(2, "0.2-1") == 50
    assert sessions(2, "20-36") >= 2 * 3 * 36
    assert sessions(2, "36") == sessions(2, "20-36")
