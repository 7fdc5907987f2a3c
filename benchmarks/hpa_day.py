"""The scaler over a recorded day of load, drawn next to a Kubernetes HorizontalPodAutoscaler with the same settings.

    python -m benchmarks.hpa_day

Both drive the same simulated system with the same runs (``capacity_model``). The scaler decides once a minute, the
autoscaler every 15 s, as it does in a cluster; it is a separate implementation (``capacity_model/kubernetes.py``).
Lambda starts environments in seconds, so what differs is the deciding alone.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.capacity_model import drawing, summary
from benchmarks.capacity_model.controllers import Sluice
from benchmarks.capacity_model.engine import Engine
from benchmarks.capacity_model.kubernetes import Kubernetes
from benchmarks.capacity_model.scenario import SCENARIOS
from benchmarks.capacity_model.workload import generate

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.capacity_model.result import Result
    from benchmarks.capacity_model.workload import Load

LANES = ("high", "normal")


def limits(result: Result, lane: str, minutes: int) -> np.ndarray:
    """Return a lane's limit at every minute."""
    return np.array([one.limit[lane] for one in result.minutes[:minutes]])


def compare(load: Load, ours: Result, theirs: Result, minutes: int) -> dict[str, Any]:
    """Return the figures of both, and how far apart their decisions are."""
    scenario = SCENARIOS["day"]
    figures: dict[str, Any] = {"runs": len(load.arrive), "minutes": minutes, "lanes": {}}
    for lane in LANES:
        here, there = limits(ours, lane, minutes), limits(theirs, lane, minutes)
        count = min(len(here), len(there))
        apart = np.abs(here[:count] - there[:count])
        figures["lanes"][lane] = {
            "scaler_environment_hours": round(float(here.sum()) / 60, 1),
            "hpa_environment_hours": round(float(there.sum()) / 60, 1),
            "environment_hours_ratio": round(float(here.sum() / there.sum()), 3),
            "mean_difference": round(float(apart.mean()), 2),
            "within_one_ratio": round(float((apart <= 1).mean()), 3),
            "scaler_changes": int((np.diff(here) != 0).sum()),
            "hpa_changes": int((np.diff(there) != 0).sum()),
        }
    figures["wait"] = {
        "scaler": summary.waits(scenario, load, ours),
        "hpa": summary.waits(scenario, load, theirs),
    }
    return figures


def draw(load: Load, ours: Result, theirs: Result, minutes: int, *, png: bool = False) -> list[Path]:
    """Draw load, both lanes' decisions and the tasks waiting."""
    drawn, axes = drawing.figure(
        4, "A recorded day: the scaler (solid) and a Kubernetes HPA with the same settings (dashed)"
    )
    hours = np.arange(minutes) / 60
    arrivals = np.bincount(np.array(load.arrive, dtype=int) // 60, minlength=minutes)[:minutes]
    axes[0].plot(hours, arrivals, color="#334155", lw=0.7)
    axes[0].set_ylabel("runs submitted\nper minute")
    for axis, lane in zip(axes[1:3], reversed(LANES), strict=True):
        color = drawing.COLORS[lane]
        for result, style, label in ((ours, "-", "scaler"), (theirs, (0, (3, 2)), "HPA")):
            sizes = limits(result, lane, minutes)
            shade = color if result is ours else "#0f172a"
            axis.step(hours[: len(sizes)], sizes, color=shade, ls=style, lw=1.1, where="post", label=label)
        axis.set_ylabel(f"environments,\n{lane} lane")
        axis.set_ylim(bottom=0)
        axis.legend(frameon=False, fontsize=8, ncols=2, loc="upper left")
    for result, style, label in ((ours, "-", "scaler"), (theirs, (0, (3, 2)), "HPA")):
        waiting = [sum(one.waiting.values()) for one in result.minutes[:minutes]]
        axes[3].plot(hours[: len(waiting)], waiting, color="#334155", ls=style, lw=0.7, label=label)
    axes[3].set_ylabel("tasks waiting")
    axes[3].set_xlabel("hour of the day")
    axes[3].legend(frameon=False, fontsize=8, ncols=2, loc="upper left")
    for axis in axes:
        axis.set_xlim(0, minutes / 60)
    return drawing.save(drawn, "hpa_day", png=png)


def text(figures: dict[str, Any]) -> str:
    """Lay the figures out for a terminal."""
    lines = [f"{figures['runs']:,} runs over {figures['minutes']} minutes"]
    for lane, one in figures["lanes"].items():
        lines.append(
            f"  {lane:<7} environment hours: scaler {one['scaler_environment_hours']}, "
            f"HPA {one['hpa_environment_hours']}; on average {one['mean_difference']} apart, "
            f"at most one apart in {one['within_one_ratio']:.0%} of the minutes; "
            f"changes: {one['scaler_changes']} and {one['hpa_changes']}"
        )
    lines.append(f"  {'wait, s':<20}{'':<8}{'p50':>8}{'p95':>8}{'p99':>8}{'max':>8}")
    for who, tiers in figures["wait"].items():
        for tier, wait in tiers.items():
            cells = "".join(f"{wait[key]:>8.1f}" for key in ("p50_s", "p95_s", "p99_s", "max_s"))
            lines.append(f"  {tier:<20}{who:<8}{cells}")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Simulate the day twice, print and draw; returns the exit status."""
    parser = argparse.ArgumentParser(prog="benchmarks.hpa_day", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--minutes", type=int, default=1440)
    parser.add_argument("--png", action="store_true", help="draw PNG as well as SVG")
    options = parser.parse_args(sys.argv[1:] if arguments is None else arguments)
    minutes = options.minutes
    scenario = replace(SCENARIOS["day"], minutes=minutes)
    load = generate(scenario)
    ours = Engine(scenario, load, Sluice(scenario.config)).run()
    theirs = Engine(scenario, load, Kubernetes(scenario.config)).run()
    figures = compare(load, ours, theirs, minutes)
    print(text(figures))
    drawing.RESULTS.mkdir(parents=True, exist_ok=True)
    (drawing.RESULTS / "hpa_day.json").write_text(json.dumps(figures, indent=2) + "\n")
    for path in draw(load, ours, theirs, minutes, png=options.png):
        print(f"  drawn: {path.relative_to(drawing.RESULTS.parent.parent)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
