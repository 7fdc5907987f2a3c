"""Small worlds for the capacity model: a load given by hand, on a platform without frills."""

from dataclasses import replace
from typing import Any

from benchmarks.capacity_model.engine import Engine
from benchmarks.capacity_model.result import Result
from benchmarks.capacity_model.scenario import SCENARIOS, Platform, Provider, RunShape, Scenario, Tier
from benchmarks.capacity_model.workload import Load

ONE_TIER = (Tier("all", 1.0, 1.0, "normal", 0),)
PLAIN = RunShape(overhead_s=0.0, call_fails=0.0, call_spread=0.0)


def platform(**changes: Any) -> Platform:
    """Nothing costs time, no scaler, no ramp, no refilling, no looks."""
    bare = Platform(
        slots=10,
        receive_s=0.0,
        look_s=0.0,
        spread_s=0.0,
        apply_s=0.0,
        refill_s=0.0,
        gather_s=0.0,
        claim_s=0.0,
        cold_s=0.0,
        scaler=False,
        first_limits=(1000, 1000),
        first_pollers=1250,
    )
    return replace(bare, **changes)


def scenario(**changes: Any) -> Scenario:
    plain = replace(SCENARIOS["default"], tiers=ONE_TIER, shape=PLAIN, platform=platform(), provider=Provider())
    return replace(plain, **changes)


def load(arrive: list[float], calls: list[list[float]], users: list[int] | None = None) -> Load:
    """Runs with the seconds of each of their calls."""
    first = [0]
    for one in calls:
        first.append(first[-1] + len(one))
    return Load(arrive, users or [1] * len(arrive), [0] * len(arrive), first, [s for one in calls for s in one])


def simulate(world: Scenario, runs: Load) -> Result:
    return Engine(world, runs).run()
