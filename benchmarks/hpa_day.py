"""The scaler's two profiles over a recorded day of load, beside a Kubernetes HorizontalPodAutoscaler.

    python -m benchmarks.hpa_day

All drive the same simulated system with the same runs (``capacity_model``). ``swift`` looks every few seconds, ``hpa``
decides once a minute, and the autoscaler, a separate implementation with the settings of ``hpa``
(``capacity_model/kubernetes.py``), every 15 s, as it does in a cluster. Lambda starts environments in seconds, so what
differs is the deciding alone. Hours are given twice: what was allowed costs nothing, what was used is billed.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.capacity_model import costs, drawing, summary
from benchmarks.capacity_model.controllers import Sluice
from benchmarks.capacity_model.engine import Engine
from benchmarks.capacity_model.kubernetes import Kubernetes
from benchmarks.capacity_model.scenario import SCENARIOS, profiled
from benchmarks.capacity_model.workload import generate

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.capacity_model.result import Result
    from benchmarks.capacity_model.workload import Load

LANES = ("high", "normal")
STYLES: dict[str, Any] = {"swift": "-", "hpa": (0, (3, 2)), "kubernetes": (0, (1, 1))}
"""How each is drawn."""
NAMES = {"swift": "scaler, swift", "hpa": "scaler, hpa", "kubernetes": "Kubernetes HPA"}


def limits(result: Result, lane: str, minutes: int) -> np.ndarray:
    """Return a lane's limit at every minute."""
    return np.array([one.limit[lane] for one in result.minutes[:minutes]])


def compare(load: Load, courses: dict[str, Result], minutes: int) -> dict[str, Any]:
    """Return the figures of all, and how far the profile ``hpa`` decides from the autoscaler."""
    scenario = SCENARIOS["day"]
    figures: dict[str, Any] = {"runs": len(load.arrive), "minutes": minutes, "profiles": {}, "wait": {}, "apart": {}}
    for who, result in courses.items():
        here = {lane: limits(result, lane, minutes) for lane in LANES}
        figures["profiles"][who] = {
            "billed_environment_hours": round(sum(lane.busy_s for lane in result.lanes.values()) / 3600, 1),
            "allowed_environment_hours": round(sum(float(one.sum()) for one in here.values()) / 60, 1),
            "peak_environments": result.peak_active,
            "changes_by_minute": {lane: int((np.diff(one) != 0).sum()) for lane, one in here.items()},
            "usd_per_1000_runs_aws": round(
                sum(v for k, v in costs.per_thousand(scenario, load, result).items() if k != costs.SERVICES["tokens"]),
                4,
            ),
        }
        figures["wait"][who] = summary.waits(scenario, load, result)
    billed = {who: one["billed_environment_hours"] for who, one in figures["profiles"].items()}
    figures["environment_hours_ratio"] = round(billed["swift"] / billed["hpa"], 3)
    for lane in LANES:
        ours, theirs = (limits(courses[who], lane, minutes) for who in ("hpa", "kubernetes"))
        count = min(len(ours), len(theirs))
        apart = np.abs(ours[:count] - theirs[:count])
        figures["apart"][lane] = {
            "mean_difference": round(float(apart.mean()), 2),
            "within_one_ratio": round(float((apart <= 1).mean()), 3),
        }
    return figures


def draw(load: Load, courses: dict[str, Result], minutes: int, *, png: bool = False) -> list[Path]:
    """Draw load, environments at work, and the tasks waiting."""
    drawn, axes = drawing.figure(4, "A recorded day: the scaler's two profiles and a Kubernetes HPA")
    hours = np.arange(minutes) / 60
    arrivals = np.bincount(np.array(load.arrive, dtype=int) // 60, minlength=minutes)[:minutes]
    axes[0].plot(hours, arrivals, color="#334155", lw=0.7)
    axes[0].set_ylabel("runs submitted\nper minute")
    for axis, lane in zip(axes[1:3], reversed(LANES), strict=True):
        for who, result in courses.items():
            sizes = np.array([one.active[lane] for one in result.minutes[:minutes]])
            shade = drawing.COLORS[lane] if who == "swift" else "#0f172a"
            axis.step(hours[: len(sizes)], sizes, color=shade, ls=STYLES[who], lw=0.9, where="post", label=NAMES[who])
        axis.set_ylabel(f"environments at\nwork, {lane} lane")
        axis.set_ylim(bottom=0)
        axis.legend(frameon=False, fontsize=8, ncols=3, loc="upper left")
    for who, result in courses.items():
        waiting = [sum(one.waiting.values()) for one in result.minutes[:minutes]]
        axes[3].plot(hours[: len(waiting)], waiting, color="#334155", ls=STYLES[who], lw=0.7, label=NAMES[who])
    axes[3].set_ylabel("tasks waiting")
    axes[3].set_xlabel("hour of the day")
    axes[3].legend(frameon=False, fontsize=8, ncols=3, loc="upper left")
    for axis in axes:
        axis.set_xlim(0, minutes / 60)
    return drawing.save(drawn, "hpa_day", png=png)


def text(figures: dict[str, Any]) -> str:
    """Lay the figures out for a terminal."""
    lines = [f"{figures['runs']:,} runs over {figures['minutes']} minutes"]
    for who, one in figures["profiles"].items():
        lines.append(
            f"  {NAMES[who]:<16} environment hours: {one['billed_environment_hours']} billed, "
            f"{one['allowed_environment_hours']} allowed; at most {one['peak_environments']} at work; "
            f"AWS USD {one['usd_per_1000_runs_aws']:.4f} per 1,000 runs"
        )
    for lane, one in figures["apart"].items():
        lines.append(
            f"  {lane:<7} hpa and Kubernetes: {one['mean_difference']} apart on average, at most one in "
            f"{one['within_one_ratio']:.0%} of the minutes"
        )
    lines.append(f"  {'wait, s':<20}{'':<16}{'p50':>8}{'p95':>8}{'p99':>8}{'max':>8}")
    for who, tiers in figures["wait"].items():
        for tier, wait in tiers.items():
            cells = "".join(f"{wait[key]:>8.1f}" for key in ("p50_s", "p95_s", "p99_s", "max_s"))
            lines.append(f"  {tier:<20}{NAMES[who]:<16}{cells}")
    return "\n".join(lines)


def simulate(minutes: int) -> tuple[Load, dict[str, Result]]:
    """Run the day once for each of the three."""
    scenario = replace(SCENARIOS["day"], minutes=minutes)
    load = generate(scenario)
    swift, seed = (profiled(scenario, profile) for profile in ("swift", "hpa"))
    return load, {
        "swift": Engine(swift, load, Sluice(swift.config)).run(),
        "hpa": Engine(seed, load, Sluice(seed.config)).run(),
        "kubernetes": Engine(seed, load, Kubernetes(seed.config)).run(),
    }


def main(arguments: list[str] | None = None) -> int:
    """Simulate the day three times, print and draw; returns the exit status."""
    parser = argparse.ArgumentParser(prog="benchmarks.hpa_day", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--minutes", type=int, default=1440)
    parser.add_argument("--png", action="store_true", help="draw PNG as well as SVG")
    options = parser.parse_args(sys.argv[1:] if arguments is None else arguments)
    load, courses = simulate(options.minutes)
    figures = compare(load, courses, options.minutes)
    print(text(figures))
    drawing.RESULTS.mkdir(parents=True, exist_ok=True)
    (drawing.RESULTS / "hpa_day.json").write_text(json.dumps(figures, indent=2) + "\n")
    for path in draw(load, courses, options.minutes, png=options.png):
        print(f"  drawn: {path.relative_to(drawing.RESULTS.parent.parent)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
