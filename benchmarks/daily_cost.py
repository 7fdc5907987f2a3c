"""USD per day over a recorded day of load with a quiet night: Sluice against fleets of containers.

    python -m benchmarks.daily_cost

The same day is scaled to more and fewer runs. Sluice's side is the simulation of the whole system (`capacity_model`)
with the scaler's real policy; a fleet's is what its autoscaler would run in every minute: busy slots over the target
utilization, between 2 and 20 containers, more only where it could not serve the load otherwise (marked). Prices are
data (`capacity_data/prices.json`, `fleets.json`). Tokens cost everybody the same and are left out; so is what people
cost. A fleet's containers have public addresses; "own VPC" is Sluice with the managed Valkey, a NAT gateway and an
endpoint. "Managed Instances" is that with the worker on Lambda Managed Instances: no GB-seconds, but EC2 instances by
the hour, at least three, and 15 % for their management. A fleet's runs are lost or paid again when a container goes;
that has no price here.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.capacity_model import costs, drawing
from benchmarks.capacity_model.engine import Engine
from benchmarks.capacity_model.scenario import SCENARIOS, at_scale
from benchmarks.capacity_model.workload import day_curve, generate

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.capacity_model.scenario import Scenario

RUNS = (100, 300, 1_000, 3_000, 10_000, 30_000, 100_000, 300_000)
"""Runs a day."""
SLOTS = (10, 50)
"""``RunsPerEnvironment``: fewer, for runs that compute, and the default."""
MANAGED, MANAGED_SLOTS = "Sluice, Managed Instances, own VPC", 50
HOURS = 24


def of_day(runs: int, slots: int) -> Scenario:
    """Scale the recorded day to so many runs."""
    base = SCENARIOS["day"]
    peak = runs / float(day_curve().sum())
    needed = math.ceil(peak / 60 * base.shape.calls * base.shape.call_s / slots / 0.4)
    config = replace(at_scale(max(20, needed), 20), runs_per_environment=slots)
    return replace(base, peak=peak, config=config, platform=replace(base.platform, slots=slots))


def sluice(runs: int, slots: int) -> dict[str, float]:
    """Return USD a day by service, without tokens, and the 95th percentile of the waits in seconds."""
    scenario = of_day(runs, slots)
    load = generate(scenario)
    result = Engine(scenario, load).run()
    rows = costs.per_thousand(scenario, load, result)
    rows.pop(costs.SERVICES["tokens"])
    waits = [started - at for started, at in zip(result.started, load.arrive, strict=True) if started is not None]
    per_day = {label: usd / 1000 * len(load.arrive) for label, usd in rows.items()}
    return per_day | {"runs": len(load.arrive), "wait_p95_s": float(np.percentile(waits, 95)) if waits else 0.0}


def fleet(kind: dict[str, float], runs: int, prices: dict[str, Any]) -> dict[str, float]:
    """Return a fleet's USD a day, its average and its most containers."""
    shape, hourly = SCENARIOS["day"].shape, {name: one["usd"] for name, one in prices["per_hour"].items()}
    per_minute = day_curve() * runs / float(day_curve().sum())
    busy = per_minute / 60 * shape.calls * shape.call_s
    wanted = np.ceil(busy / kind["slots"] / prices["target_utilization"])
    containers = np.maximum(wanted, prices["least_containers"])
    # Beyond its most a fleet is bound to more containers than planned as soon as it runs full all the time.
    full = np.ceil(busy / kind["slots"])
    containers = np.maximum(np.minimum(containers, prices["most_containers"]), full)
    one = kind["vcpu"] * hourly["fargate_vcpu"] + kind["gb"] * hourly["fargate_gb"] + hourly["public_ipv4"]
    front = prices["front"]["vcpu"] * hourly["fargate_vcpu"] + prices["front"]["gb"] * hourly["fargate_gb"]
    front += hourly["public_ipv4"]
    standing = front * prices["front"]["containers"] + hourly["load_balancer"] + hourly["broker"]
    return {
        "usd": float(containers.mean()) * one * HOURS + standing * HOURS,
        "containers": float(containers.mean()),
        "most_containers": float(containers.max()),
        "over_most_ratio": float((full > prices["most_containers"]).mean()),
    }


def instances(runs: int, slots: int, prices: dict[str, Any]) -> float:
    """Return USD a day of the Managed Instances that so many runs a day want, of ``slots`` runs in each process."""
    kind, shape = prices["managed_instances"], SCENARIOS["day"].shape
    busy = day_curve() * runs / float(day_curve().sum()) / 60 * shape.calls * shape.call_s
    wanted = np.ceil(busy / (kind["processes"] * slots) / prices["target_utilization"])
    hours = float(np.maximum(wanted, kind["least"]).mean()) * HOURS
    return hours * float(kind["usd_hour"]) * (1 + float(kind["management_share"]))


def break_even(ours: list[float], theirs: list[float]) -> list[int]:
    """Return the runs a day at which the cheaper one changes, Sluice being it at the start; interpolated."""
    found = []
    for n in range(1, len(RUNS)):
        before, after = ours[n - 1] - theirs[n - 1], ours[n] - theirs[n]
        if (before < 0) != (after < 0):
            share = -before / (after - before)
            found.append(round(RUNS[n - 1] * (RUNS[n] / RUNS[n - 1]) ** share))
    return found


def said(changes: list[int]) -> str:
    """Put the break-even points into words."""
    if not changes:
        return "Sluice is the cheaper one throughout"
    parts = [f"{'dearer' if n % 2 == 0 else 'cheaper again'} above {runs:,}" for n, runs in enumerate(changes)]
    return ", ".join(parts) + " runs a day"


def measure() -> dict[str, Any]:
    """Work out every load."""
    prices = costs.read("fleets.json")
    hourly = {name: one["usd"] for name, one in prices["per_hour"].items()}
    found: dict[str, Any] = {"runs_per_day": list(RUNS), "usd_per_day": {}, "waits_p95_s": {}, "break_even_runs": {}}
    for slots in SLOTS:
        days = [sluice(runs, slots) for runs in RUNS]
        found["waits_p95_s"][f"{slots} slots"] = [round(day.pop("wait_p95_s"), 2) for day in days]
        scaled = [sum(usd for name, usd in day.items() if name != "runs") for day in days]
        plain = [usd + hourly["valkey_least"] * HOURS for usd in scaled]
        vpc = [usd + (hourly["nat_gateway"] + hourly["endpoints"]) * HOURS for usd in plain]
        found["usd_per_day"][f"Sluice, {slots} slots"] = [round(usd, 4) for usd in plain]
        found["usd_per_day"][f"Sluice, {slots} slots, own VPC"] = [round(usd, 4) for usd in vpc]
        if slots == MANAGED_SLOTS:
            worker = [day[costs.SERVICES["lambda_gb_s"]] for day in days]
            on_instances = [instances(runs, slots, prices) for runs in RUNS]
            found["usd_per_day"][MANAGED] = [
                round(usd - gb_s + ec2, 4) for usd, gb_s, ec2 in zip(vpc, worker, on_instances, strict=True)
            ]
        found.setdefault("services_usd_per_day_at_10000", {})[f"{slots} slots"] = {
            name: round(usd, 4) for name, usd in days[RUNS.index(10_000)].items() if name != "runs"
        }
    for name, kind in prices["fleets"].items():
        rows = [fleet(kind, runs, prices) for runs in RUNS]
        found["usd_per_day"][name] = [round(row["usd"], 4) for row in rows]
        found.setdefault("containers", {})[name] = [round(row["containers"], 1) for row in rows]
        found.setdefault("over_most_ratio", {})[name] = [round(row["over_most_ratio"], 3) for row in rows]
    ours = {name: row for name, row in found["usd_per_day"].items() if name.startswith("Sluice") and name != MANAGED}
    for fleet_name in prices["fleets"]:
        for name, row in ours.items():
            found["break_even_runs"][f"{name} / {fleet_name}"] = break_even(row, found["usd_per_day"][fleet_name])
    for name in (f"Sluice, {MANAGED_SLOTS} slots", f"Sluice, {MANAGED_SLOTS} slots, own VPC"):
        found["break_even_runs"][f"{name} / {MANAGED}"] = break_even(ours[name], found["usd_per_day"][MANAGED])
    return found


def table(found: dict[str, Any]) -> str:
    """Lay the figures out."""
    lines = [f"{'USD per day at runs per day of':<40}" + "".join(f"{runs:>10,}" for runs in RUNS)]
    for name, row in found["usd_per_day"].items():
        lines.append(f"{name:<40}" + "".join(f"{usd:>10.2f}" for usd in row))
    lines.append("")
    lines += [f"{pair:<64} {said(changes)}" for pair, changes in found["break_even_runs"].items()]
    return "\n".join(lines)


def draw(found: dict[str, Any]) -> list[Path]:
    """Draw cost over load, and the recorded day itself."""
    drawn, axes = drawing.figure(2, "What a day costs: Sluice against fleets of containers", heights=[2.2, 1.0])
    styles = {"Sluice": ("#c2410c", "-"), "celery prefork": ("#1d4ed8", "-"), "celery threads": ("#64748b", "-")}
    for name, row in found["usd_per_day"].items():
        color, line = next(style for start, style in styles.items() if name.startswith(start))
        dashed = "-." if name == MANAGED else "--" if "VPC" in name else ":" if "50" in name else line
        axes[0].plot(RUNS, row, color=color, ls=dashed, marker="o", ms=3, lw=1.4, label=name)
    axes[0].set_xscale("log")
    axes[0].set_yscale("log")
    axes[0].set_xlabel("runs a day")
    axes[0].set_ylabel("USD a day, tokens left out")
    axes[0].legend(frameon=False, fontsize=8)
    axes[1].fill_between(np.arange(1440) / 60, day_curve(), color="#94a3b8", lw=0)
    axes[1].set_xlabel("hour of the recorded day")
    axes[1].set_ylabel("load / peak")
    axes[1].set_xlim(0, 24)
    return drawing.save(drawn, "daily_cost")


def main() -> None:
    """Work out, print, draw and write."""
    found = measure()
    print(table(found))
    drawing.RESULTS.mkdir(parents=True, exist_ok=True)
    (drawing.RESULTS / "daily_cost.json").write_text(json.dumps(found, indent=2) + "\n")
    for path in draw(found):
        print(f"drawn: {path.relative_to(drawing.RESULTS.parent.parent)}")


if __name__ == "__main__":
    main()
