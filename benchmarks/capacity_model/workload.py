"""The load of a scenario: who submits when, and how long every model call of every run will last."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from benchmarks.capacity_model.scenario import Scenario

DAY = Path(__file__).parent.parent / "capacity_data" / "day.csv"


@dataclass(frozen=True, slots=True)
class Load:
    """Runs in order of arrival. Plain lists: the event loop reads single values, which NumPy is slow at."""

    arrive: list[float]
    user: list[int]
    tier: list[int]
    first_call: list[int]
    """Where each run's calls begin in ``call_s``; one more entry than runs."""
    call_s: list[float]


def day_curve() -> np.ndarray:
    """Return the recorded day's load by minute, its largest five minutes being 1."""
    rows = [line for line in DAY.read_text().splitlines() if line and not line.startswith(("#", "minute"))]
    loads = np.array([float(line.split(",")[1]) for line in rows])
    centers = np.arange(len(loads)) * 5 + 2.5
    return np.interp(np.arange(1440) + 0.5, centers, loads, period=1440)


def rates(scenario: Scenario) -> np.ndarray:
    """Return the expected runs of each minute."""
    curve = np.ones(scenario.minutes)
    if scenario.curve == "step":
        curve[:10] = 0.1
    elif scenario.curve == "day":
        curve = np.resize(day_curve(), scenario.minutes)
    elif scenario.curve == "once":
        curve[:] = 0
    return curve * scenario.peak


def generate(scenario: Scenario) -> Load:
    """Draw a load; the same seed gives the same one."""
    random = np.random.default_rng(scenario.seed)
    counts = random.poisson(rates(scenario))
    minutes = np.repeat(np.arange(scenario.minutes), counts)
    arrive = np.sort((minutes + random.random(len(minutes))) * 60)
    if scenario.curve == "once":
        arrive = np.zeros(int(scenario.peak))
    tier = random.choice(len(scenario.tiers), size=len(arrive), p=[tier.runs for tier in scenario.tiers])
    user = _users(scenario, tier, random)
    if scenario.flood:
        # User 0 is nobody else's: drawn users start at 1.
        arrive = np.concatenate([np.full(scenario.flood, 600.0), arrive])
        tier = np.concatenate([np.zeros(scenario.flood, dtype=tier.dtype), tier])
        user = np.concatenate([np.zeros(scenario.flood, dtype=user.dtype), user])
        order = np.argsort(arrive, kind="stable")
        arrive, tier, user = arrive[order], tier[order], user[order]
    shape = scenario.shape
    mean = np.where(random.random(len(arrive)) < shape.long_share, shape.calls * shape.long_factor, shape.calls)
    calls = 1 + random.poisson(mean - 1)
    if shape.call_spread == 0:
        calls = np.full(len(arrive), round(shape.calls))
    first = np.concatenate([[0], np.cumsum(calls)])
    center = np.log(shape.call_s) - shape.call_spread**2 / 2
    seconds = random.lognormal(center, shape.call_spread, int(first[-1]))
    return Load(arrive.tolist(), user.tolist(), tier.tolist(), first.tolist(), seconds.tolist())


def _users(scenario: Scenario, tier: np.ndarray, random: np.random.Generator) -> np.ndarray:
    sizes = np.maximum(1, (scenario.users * np.array([one.users for one in scenario.tiers])).astype(int))
    starts = 1 + np.concatenate([[0], np.cumsum(sizes)[:-1]])
    within = (random.random(len(tier)) ** scenario.skew * sizes[tier]).astype(int)
    return starts[tier] + within
