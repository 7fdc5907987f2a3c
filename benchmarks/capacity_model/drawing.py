"""Drawings of a simulation: load, waiting tasks, limits and environments over time, and the waits by tier."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from benchmarks.capacity_model.result import Result
    from benchmarks.capacity_model.scenario import Scenario
    from benchmarks.capacity_model.workload import Load

RESULTS = Path(__file__).parent.parent / "results"
COLORS = {"high": "#c2410c", "normal": "#1d4ed8"}


def figure(rows: int, title: str, heights: list[float] | None = None) -> tuple[Figure, Any]:
    """Return a figure without a window, and its axes from top to bottom."""
    import matplotlib

    matplotlib.use("agg")
    matplotlib.rcParams["svg.hashsalt"] = "sluice"  # otherwise ids differ from run to run
    from matplotlib import pyplot

    drawn, axes = pyplot.subplots(
        rows, 1, figsize=(11, 2.4 * rows + 0.8), layout="constrained", height_ratios=heights or [1.0] * rows
    )
    drawn.suptitle(title, fontsize=11)
    for one in axes:
        one.grid(alpha=0.25)
        one.spines[["top", "right"]].set_visible(False)
    return drawn, axes


def save(drawn: Figure, name: str, *, png: bool = False) -> list[Path]:
    """Write a figure into the results as SVG, and as PNG if wanted."""
    from matplotlib import pyplot

    RESULTS.mkdir(parents=True, exist_ok=True)
    paths = [RESULTS / f"{name}.{kind}" for kind in (("svg", "png") if png else ("svg",))]
    for path in paths:
        # No date inside: the same simulation gives the same file.
        drawn.savefig(path, dpi=110, metadata={"Date": None} if path.suffix == ".svg" else None)
    pyplot.close(drawn)
    return paths


def draw(scenario: Scenario, load: Load, result: Result, *, png: bool = False) -> list[Path]:
    """Draw one simulation, up to the moment when nearly all has ended."""
    drawn, axes = figure(4, f"{scenario.name}: {scenario.about}")
    minutes = np.array([one.at for one in result.minutes]) / 60
    arrivals = np.bincount(np.array(load.arrive, dtype=int) // 60, minlength=len(minutes))
    axes[0].plot(np.arange(len(arrivals)), arrivals, color="#334155", lw=1)
    axes[0].set_ylabel("runs submitted\nper minute")
    for lane, color in COLORS.items():
        axes[1].plot(minutes, [one.waiting[lane] for one in result.minutes], color=color, lw=1, label=lane)
        axes[2].step(
            minutes, [one.limit[lane] for one in result.minutes], color=color, lw=1.4, where="post", label=lane
        )
        axes[2].plot(minutes, [one.active[lane] for one in result.minutes], color=color, lw=0.8, alpha=0.5)
    axes[1].plot(minutes, [one.parked for one in result.minutes], color="#64748b", lw=1, ls=":", label="parked")
    axes[1].set_ylabel("tasks waiting")
    axes[1].legend(frameon=False, fontsize=8)
    axes[2].set_ylabel("environments:\nlimit (line), in use (thin)")
    axes[2].plot(minutes, [one.ceiling for one in result.minutes], color="#64748b", lw=0.8, ls="--", label="ceiling")
    axes[2].legend(frameon=False, fontsize=8)
    _waits(axes[3], scenario, load, result)
    for one in axes[:3]:
        one.set_xlim(0, _shown(scenario, result))
    axes[2].set_xlabel("minutes")
    return save(drawn, f"capacity_{scenario.name}", png=png)


def _shown(scenario: Scenario, result: Result) -> float:
    ended = [at for at in result.ended if at is not None]
    return max(scenario.minutes, float(np.percentile(ended, 99.5)) / 60 if ended else 1) * 1.02


def _waits(axis: Any, scenario: Scenario, load: Load, result: Result) -> None:
    wait = np.array([np.nan if at is None else at for at in result.started]) - np.array(load.arrive)
    tiers = np.array(load.tier)
    shares = np.linspace(0, 100, 201)
    for number, tier in enumerate(scenario.tiers):
        chosen = wait[(tiers == number) & ~np.isnan(wait)]
        if len(chosen):
            axis.plot(np.percentile(chosen, shares), shares, lw=1.2, label=tier.name)
    axis.set_xscale("symlog", linthresh=1)
    axis.set_xlim(left=0)
    axis.set_xlabel("wait from submit to start, s")
    axis.set_ylabel("% of the runs\nwaited less")
    axis.legend(frameon=False, fontsize=8)
