"""Small cases on the running local stack, and the same cases in the model: waits and makespans side by side.

The normal lane is put to two environments, the least there is, so that twenty slots fill up. Every case takes less
than a minute: the scaler needs two ticks to react, so the limit holds for as long as the case lasts. The machine's own
speed (how long an empty system takes to start a run, what a run costs besides its model call, and what neighbours in a
batch add) is measured first, on other cases than those that are compared.
"""

from __future__ import annotations

import json
import statistics
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.capacity_model.engine import Engine
from benchmarks.capacity_model.scenario import SCENARIOS, Platform, RunShape, Tier
from benchmarks.capacity_model.stack import Run, Stack
from benchmarks.capacity_model.workload import Load

RESULTS = Path(__file__).parent.parent / "results"
LIMIT = 2
DISTURBED_S = 20.0
GATHER_S = 0.02
"""The emulator is woken by a message and polls at once."""
ALLOWED = 0.15
"""How far the model may be off."""


@dataclass(frozen=True, slots=True)
class Case:
    """Runs to submit: seconds of each one's model call, and seconds between submits (0: as fast as accepted)."""

    name: str
    calls: tuple[float, ...]
    every_s: float = 0.0


CASES = (
    Case("even: 40 runs of 5 s at once", (5.0,) * 40),
    Case("mixed: 40 runs of 1 to 8 s at once", (1.0, 2.0, 3.0, 4.0, 8.0) * 8),
    # A little more than twenty slots can serve, so that the waits are the queue's and not the emulator's.
    Case("trickle: 90 runs of 4 s, one every 0.17 s", (4.0,) * 90, every_s=0.17),
)


@dataclass(frozen=True, slots=True)
class Speed:
    """What this machine adds: to a start, a run alone, a run per neighbour in its batch; and what a receive takes."""

    start_s: float
    run_s: float
    neighbour_s: float
    receive_s: float


def calibrate(stack: Stack) -> Speed:
    """Measure single runs in an empty system and a burst of full batches."""
    start, own = alone(stack)
    stack.pause()
    burst = sorted(stack.measure([3.0] * 40), key=lambda run: run.started)
    # Those taken out of a full queue came in batches of ten; the first ones were taken as they arrived.
    full = statistics.median(run.ended - run.started - 3.0 for run in burst[-20:])
    return Speed(start, own, max(0.0, full - own) / 9, stack.receive_s())


def alone(stack: Stack) -> tuple[float, float]:
    """Measure what an empty system needs to start a run, and a run besides its call."""
    runs = [stack.measure([1.0])[0] for _ in range(5)]
    start = statistics.median(run.started - run.submitted for run in runs)
    return start, statistics.median(run.ended - run.started - 1.0 for run in runs)


def model(calls: list[float], submitted: list[float], speed: Speed) -> list[Run]:
    """Run a case through the simulation; the submits happen when they really did."""
    base = SCENARIOS["default"]
    scenario = replace(
        base,
        name="validation",
        tiers=(Tier("load", 1.0, 1.0, "normal", 0),),
        shape=RunShape(overhead_s=speed.run_s, call_fails=0.0, call_spread=0.0),
        platform=Platform(
            scaler=False,
            first_limits=(LIMIT, LIMIT),
            gather_s=GATHER_S,
            claim_s=max(0.0, speed.start_s - GATHER_S),
            cold_s=0.0,
            neighbour_s=speed.neighbour_s,
            receive_s=speed.receive_s,
        ),
    )
    count = len(calls)
    load = Load(submitted, [1] * count, [0] * count, list(range(count + 1)), calls)
    result = Engine(scenario, load).run()
    return [
        Run(at, started or at, ended or at)
        for at, started, ended in zip(submitted, result.started, result.ended, strict=True)
    ]


def figures(runs: list[Run]) -> dict[str, float]:
    """Return mean wait and makespan in seconds."""
    return {
        "mean_wait_s": statistics.fmean(run.started - run.submitted for run in runs),
        "makespan_s": max(run.ended for run in runs) - min(run.submitted for run in runs),
    }


def compare(case: Case, real: list[Run], speed: Speed) -> dict[str, Any]:
    """Put a case's measured figures beside the model's; ratios are model over measured."""
    ordered = sorted(zip(real, case.calls, strict=True), key=lambda pair: pair[0].submitted)
    first = ordered[0][0].submitted
    simulated = model([call for _, call in ordered], [run.submitted - first for run, _ in ordered], speed)
    measured, modelled = figures(real), figures(simulated)
    row: dict[str, Any] = {"case": case.name}
    for name in measured:
        row[f"measured_{name}"] = round(measured[name], 2)
        row[f"model_{name}"] = round(modelled[name], 2)
        row[f"{name.removesuffix('_s')}_ratio"] = round(modelled[name] / measured[name], 3)
    return row


def undisturbed(stack: Stack, case: Case) -> list[Run]:
    """Measure a case; again if a worker died meanwhile (a deploy), which a run outlives by one lease."""
    for _ in range(3):
        stack.pause()
        runs = stack.measure(list(case.calls), every_s=case.every_s)
        longest = max(run.ended - run.started - call for run, call in zip(runs, case.calls, strict=True))
        if longest < DISTURBED_S:
            return runs
        print(f"  {case.name}: a run took {longest:.0f} s more than its call; measured again")
    return runs


def validate(state: Path = Path(".local")) -> int:
    """Measure, simulate, print and store; 0 if every ratio is within 15 %, 1 if not, 2 without a stack."""
    if not (state / "outputs.json").exists():
        print("no local stack is running: `make up` first")
        return 2
    stack = Stack(json.loads((state / "outputs.json").read_text()))
    with stack.limited("normal", LIMIT):
        stack.measure([1.0] * 30)  # environments start, code is imported
        stack.pause()
        speed = calibrate(stack)
        print(
            f"this machine: {speed.start_s:.2f} s to a run's start, {speed.run_s:.2f} s per run besides its call, "
            f"{speed.neighbour_s:.3f} s more per neighbour in a batch"
        )
        rows = []
        for case in CASES:
            runs = undisturbed(stack, case)
            # Others may use the machine: what a start costs is measured again beside every case.
            start, own = alone(stack)
            rows.append(compare(case, runs, replace(speed, start_s=start, run_s=own)))
            print(text(rows[-1]), flush=True)
    ratios = [value for row in rows for name, value in row.items() if name.endswith("_ratio")]
    within = all(abs(ratio - 1) <= ALLOWED for ratio in ratios)
    RESULTS.mkdir(parents=True, exist_ok=True)
    stored = {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "environments": LIMIT,
        "start_s": round(speed.start_s, 3),
        "run_s": round(speed.run_s, 3),
        "neighbour_s": round(speed.neighbour_s, 4),
        "receive_s": round(speed.receive_s, 4),
        "cases": rows,
        "worst_ratio": max(ratios, key=lambda ratio: abs(ratio - 1)),
        "within": within,
    }
    (RESULTS / "capacity_validation.json").write_text(json.dumps(stored, indent=2) + "\n")
    print(f"{'within' if within else 'NOT within'} {ALLOWED:.0%}; the worst ratio is {stored['worst_ratio']}")
    return 0 if within else 1


def text(row: dict[str, Any]) -> str:
    """Lay one case out for a terminal."""
    return (
        f"  {row['case']:<42} wait {row['measured_mean_wait_s']:>6.2f} s, model {row['model_mean_wait_s']:>6.2f} "
        f"(ratio {row['mean_wait_ratio']:.3f})   makespan {row['measured_makespan_s']:>6.2f} s, "
        f"model {row['model_makespan_s']:>6.2f} (ratio {row['makespan_ratio']:.3f})"
    )
