"""Loads, scenarios, costs and the command line."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import capacity, hpa_day
from benchmarks.capacity_model import costs, drawing, summary
from benchmarks.capacity_model.engine import Engine
from benchmarks.capacity_model.scenario import SCENARIOS
from benchmarks.capacity_model.workload import day_curve, generate, rates
from tests.unit.capacity.worlds import load, platform, scenario, simulate


def test_the_recorded_day() -> None:
    curve = day_curve()
    assert len(curve) == 1440
    assert 0.95 < curve.max() <= 1
    assert curve.argmax() // 60 in range(16, 18)
    assert curve[:480].mean() < curve[900:1260].mean() / 2


def test_a_load_is_sorted_repeatable_and_of_the_size_asked_for() -> None:
    small = replace(SCENARIOS["day"], minutes=1440, peak=20)
    drawn = generate(small)
    assert drawn.arrive == sorted(drawn.arrive)
    assert drawn == generate(small)
    assert drawn != generate(replace(small, seed=2))
    assert len(drawn.arrive) == pytest.approx(rates(small).sum(), rel=0.03)
    assert drawn.first_call[-1] == len(drawn.call_s)
    assert np.mean(drawn.call_s) == pytest.approx(small.shape.call_s, rel=0.03)
    shares = np.bincount(drawn.tier) / len(drawn.tier)
    assert shares == pytest.approx([tier.runs for tier in small.tiers], abs=0.02)


def test_tiers_share_no_users_and_a_flooder_is_alone() -> None:
    drawn = generate(SCENARIOS["flood"])
    tiers: dict[int, set[int]] = {}
    for user, tier in zip(drawn.user, drawn.tier, strict=True):
        tiers.setdefault(user, set()).add(tier)
    assert all(len(found) == 1 for found in tiers.values())
    assert drawn.user.count(summary.FLOODER) == 500


def test_a_flood_delays_the_others_by_less_than_the_flooder_waits() -> None:
    world = SCENARIOS["flood"]
    drawn = generate(world)
    waits = summary.waits(world, drawn, Engine(world, drawn).run())
    calm = replace(world, flood=0)
    quiet = generate(calm)
    before = summary.waits(calm, quiet, Engine(calm, quiet).run())
    assert waits["the flooding user"]["p50_s"] > 10 * waits["standard"]["p95_s"]
    assert waits["standard"]["p95_s"] < before["standard"]["p95_s"] + 30


@pytest.mark.parametrize("name", ["default", "throttled", "budgeted", "flood"])
def test_environments_stay_within_max_replicas(name: str) -> None:
    world = replace(SCENARIOS[name], minutes=40)
    result = Engine(world, generate(world)).run()
    assert result.peak_active <= world.config.most
    assert result.peak_running <= world.config.most * world.config.runs_per_environment


def test_costs_by_hand() -> None:
    world = scenario(platform=platform(memory_gb=2.0))
    runs = load([0.0, 0.0], [[50.0], [20.0]])
    result = simulate(world, runs)
    used = costs.quantities(world, runs, result, "webhook")
    assert used["lambda_gb_s"] == 100.0  # one batch of 50 s, 2 GB
    assert used["lambda_request"] == 1 + 2  # the batch and two submits
    assert used["http_request"] == 2
    # Two submits (4), two slices (1), two calls (2) that are their runs' last (-2), two heartbeats and one (1.2), two
    # settles (6).
    assert used["dynamodb_write"] == pytest.approx(2 * 4 + 2 * 1 + 2 * (2 - 2) + 3 * 1.2 + 2 * 6)
    assert used["scaler_gb_s"] == 0.0, "this world has none"
    polled = costs.quantities(world, runs, result, "poll")
    assert polled["http_request"] == 2 + (50 // 5 + 1) + (20 // 5 + 1)
    usd = costs.per_thousand(world, runs, result, "webhook")
    assert usd["Lambda, worker GB-s"] == pytest.approx(100 * 0.0000133334 / 2 * 1000)
    assert usd["Model tokens"] == pytest.approx((1200 * 0.15 + 350 * 0.6) / 1e6 * 1000)


def test_a_busy_scaler_is_paid_for() -> None:
    world = replace(SCENARIOS["default"], minutes=5)
    drawn = generate(world)
    result = Engine(world, drawn).run()
    used = costs.quantities(world, drawn, result, "webhook")
    assert used["scaler_gb_s"] == result.ticks * 5.0 * 0.25 > 50 * 1.25


def test_every_price_has_a_source_and_a_date() -> None:
    prices = costs.read("prices.json")
    assert prices["as_of"] >= "2025"
    assert all(one["usd"] > 0 and one["source"] for one in prices["per_unit"].values())


@pytest.mark.together("drawing")  # to load what draws takes a second
def test_the_command_prints_stores_and_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "benchmarks" / "results"
    monkeypatch.setattr(drawing, "RESULTS", results)
    assert capacity.main(["--scenario", "default", "--minutes", "20", "--most", "30", "--png"]) == 0
    printed = capsys.readouterr().out
    assert "p95" in printed
    assert "USD per 1,000 runs" in printed
    name = "capacity_default-minutes20-most30"
    assert json.loads((results / f"{name}.json").read_text())["most_environments"] == 30
    assert (results / f"{name}.svg").read_text().startswith("<?xml")
    assert (results / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert capacity.main(["--list"]) == 0
    assert "million" in capsys.readouterr().out


@pytest.mark.together("drawing")  # to load what draws takes a second
def test_the_day_beside_kubernetes_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(drawing, "RESULTS", tmp_path / "benchmarks" / "results")
    assert hpa_day.main(["--minutes", "180"]) == 0
    assert "environment hours" in capsys.readouterr().out
    assert (tmp_path / "benchmarks" / "results" / "hpa_day.svg").exists()


def test_validation_without_a_stack_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from benchmarks.capacity_model.validate import validate

    assert validate(tmp_path) == 2
    assert "make up" in capsys.readouterr().out


def test_a_million_users_at_ten_thousand_runs_a_minute() -> None:
    world = replace(SCENARIOS["million"], minutes=12)
    drawn = generate(world)
    result = Engine(world, drawn).run()
    assert len(drawn.arrive) > 25_000
    assert max(drawn.user) > 900_000
    assert all(at is not None for at in result.ended)
