"""Figures of a simulation: waits by tier, peaks, what happened on the way, costs. As data, and as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.capacity_model import costs

if TYPE_CHECKING:
    from benchmarks.capacity_model.result import Result
    from benchmarks.capacity_model.scenario import Scenario
    from benchmarks.capacity_model.workload import Load

FLOODER = 0
"""The user who floods, if the scenario has one."""


def percentiles(values: np.ndarray) -> dict[str, float]:
    """Return p50, p95, p99 and the largest, in seconds."""
    if not len(values):
        return {"p50_s": 0.0, "p95_s": 0.0, "p99_s": 0.0, "max_s": 0.0}
    p50, p95, p99 = np.percentile(values, [50, 95, 99])
    return {
        "p50_s": round(float(p50), 2),
        "p95_s": round(float(p95), 2),
        "p99_s": round(float(p99), 2),
        "max_s": round(float(values.max()), 2),
    }


def waits(scenario: Scenario, load: Load, result: Result) -> dict[str, dict[str, Any]]:
    """Return the waits from submit to start by tier; a flooding user is shown apart."""
    started = np.array([np.nan if at is None else at for at in result.started])
    wait, tier, user = started - np.array(load.arrive), np.array(load.tier), np.array(load.user)
    groups = {one.name: (tier == n) & (user != FLOODER) for n, one in enumerate(scenario.tiers)}
    if scenario.flood:
        groups["the flooding user"] = user == FLOODER
    return {
        name: {"runs": int(chosen.sum()), **percentiles(wait[chosen & ~np.isnan(wait)])}
        for name, chosen in groups.items()
    }


def summarize(scenario: Scenario, load: Load, result: Result, *, watching: str, seconds: float) -> dict[str, Any]:
    """Return everything that is printed and stored."""
    runs = len(load.arrive)
    lanes = result.lanes.values()
    batches = sum(lane.invocations for lane in lanes)
    busy_s = sum(lane.busy_s for lane in lanes)
    run_s = sum(load.call_s)
    cost = costs.per_thousand(scenario, load, result, watching)
    return {
        "scenario": scenario.name,
        "about": scenario.about,
        "users": scenario.users,
        "active_users": len(set(load.user)),
        "runs": runs,
        "minutes": scenario.minutes,
        "seed": scenario.seed,
        "simulated_in_s": round(seconds, 1),
        "wait": waits(scenario, load, result),
        "mean_run_s": round(run_s / max(1, runs), 1),
        "peak_environments": result.peak_active,
        "peak_runs_at_once": result.peak_running,
        "most_environments": scenario.config.most,
        "runs_per_batch": round(sum(lane.filled for lane in lanes) / max(1, batches), 2),
        "busy_slots_ratio": round(run_s / max(1.0, busy_s * scenario.platform.slots), 3),
        "cold_starts": sum(lane.cold_starts for lane in lanes),
        "finished_after_min": round(result.finished_at / 60, 1),
        "failed": result.failed,
        "retried": result.retried,
        "deferred": result.deferred,
        "continued": result.continued,
        "parked": result.parked,
        "model_calls": result.calls,
        "throttled_calls": result.throttled,
        "watching": watching,
        "usd_per_1000_runs": {label: round(usd, 4) for label, usd in cost.items()},
        "usd_per_1000_runs_total": round(sum(cost.values()), 4),
        "usd_per_1000_runs_aws": round(sum(usd for label, usd in cost.items() if label != "Model tokens"), 4),
        "watching_alternatives_usd": {
            way: round(sum(costs.per_thousand(scenario, load, result, way).values()), 4)
            for way in costs.read("operations.json")["watching"]
        },
    }


def text(figures: dict[str, Any]) -> str:
    """Lay the figures out for a terminal."""
    lines = [f"{figures['scenario']}: {figures['about']}"]
    lines.append(
        f"  {figures['runs']:,} runs of {figures['active_users']:,} of {figures['users']:,} users in "
        f"{figures['minutes']} min, {figures['mean_run_s']} s of model calls each on average "
        f"(simulated in {figures['simulated_in_s']} s)"
    )
    lines.append(f"  {'wait, s':<20}{'runs':>10}{'p50':>10}{'p95':>10}{'p99':>10}{'max':>10}")
    for tier, wait in figures["wait"].items():
        lines.append(
            f"  {tier:<20}{wait['runs']:>10,}"
            + "".join(f"{wait[key]:>10,.1f}" for key in ("p50_s", "p95_s", "p99_s", "max_s"))
        )
    lines.append(
        f"  peak: {figures['peak_environments']} environments of {figures['most_environments']}, "
        f"{figures['peak_runs_at_once']} runs at once; {figures['runs_per_batch']} runs a batch, "
        f"{figures['busy_slots_ratio']:.0%} of the paid run slots used, {figures['cold_starts']} cold starts"
    )
    lines.append(
        "  " + ", ".join(f"{figures[key]:,} {key}" for key in ("parked", "deferred", "retried", "continued", "failed"))
    )
    lines.append(f"  USD per 1,000 runs ({figures['watching']}):")
    lines += [f"    {label:<24}{usd:>10.4f}" for label, usd in figures["usd_per_1000_runs"].items()]
    total, aws = figures["usd_per_1000_runs_total"], figures["usd_per_1000_runs_aws"]
    lines.append(f"    {'total':<24}{total:>10.4f}   AWS alone {aws:.4f}")
    ways = ", ".join(f"{way} {usd:.2f}" for way, usd in figures["watching_alternatives_usd"].items())
    lines.append(f"    total by way of watching: {ways}")
    return "\n".join(lines)
