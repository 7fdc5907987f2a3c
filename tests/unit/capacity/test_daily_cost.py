"""What a day costs: fleets by hand, and where the cheaper one changes."""

import pytest

from benchmarks import daily_cost
from benchmarks.capacity_model import costs


def test_a_quiet_fleet_is_its_least_and_what_stands_around_it() -> None:
    prices = costs.read("fleets.json")
    kind = {"slots": 4, "vcpu": 1, "gb": 2}
    quiet = daily_cost.fleet(kind, 1, prices)
    assert (quiet["containers"], quiet["most_containers"]) == (2.0, 2.0)
    hour = 2 * (0.03238 + 2 * 0.00356 + 0.005) + 2 * (0.25 * 0.03238 + 0.5 * 0.00356 + 0.005) + 0.0225 + 0.0256
    assert quiet["usd"] == pytest.approx(24 * hour)


def test_a_fleet_that_cannot_serve_the_load_grows_beyond_its_most() -> None:
    prices = costs.read("fleets.json")
    huge = daily_cost.fleet({"slots": 4, "vcpu": 1, "gb": 2}, 1_000_000, prices)
    assert huge["most_containers"] > 20
    assert huge["over_most_ratio"] > 0.5


def test_every_change_of_the_cheaper_one_is_named() -> None:
    runs = len(daily_cost.RUNS)
    assert daily_cost.break_even([1.0] * runs, [2.0] * runs) == []
    ours = [1.0, 1.0, 3.0, 3.0, 1.0, 1.0, 1.0, 1.0]
    changes = daily_cost.break_even(ours, [2.0] * runs)
    assert len(changes) == 2
    assert 300 < changes[0] < 1_000 < 3_000 < changes[1] < 10_000
    assert daily_cost.said(changes).startswith(f"dearer above {changes[0]:,}, cheaper again above")


def test_sluice_costs_something_and_no_tokens() -> None:
    day = daily_cost.sluice(100, 10)
    assert day["runs"] > 50
    assert costs.SERVICES["tokens"] not in day
    assert 0 < sum(usd for name, usd in day.items() if name not in ("runs", "wait_p95_s")) < 1


def test_managed_instances_are_at_least_three_and_then_as_many_as_the_load_wants() -> None:
    prices = costs.read("fleets.json")
    least = 3 * 0.0816 * 1.15 * 24
    assert daily_cost.instances(100, 50, prices) == pytest.approx(least)
    many = daily_cost.instances(100_000_000, 50, prices)
    assert daily_cost.instances(200_000_000, 50, prices) == pytest.approx(2 * many, rel=0.05)
    assert daily_cost.instances(100_000_000, 25, prices) == pytest.approx(2 * many, rel=0.05)
    assert many > 5 * least
