"""This build beside the one before it: every figure of both in interleaved rounds, medians with ranges, in one table.

    make bench-before-after            (ROUNDS=5; about 20 minutes on two idle cores)
    python -m benchmarks.before_after --rounds 1 --only waits,writes

The older build is a commit, checked out into a temporary folder with environments of its own; each build is measured
by its own benchmarks in its own process (`benchmarks.against`). Each round measures both, the one that begins changing.
Processor time is a ratio to what Celery's threads take for the same calls, unstreamed, in the same round. Write units
and simulated figures are exact: they are measured once. Results: ``benchmarks/results/before_after.json`` and ``.svg``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
import time
from typing import TYPE_CHECKING, Any

from benchmarks.against.trees import ROOT, Probe, ProbeError, checkout
from benchmarks.capacity_model import drawing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

BEFORE = "dd766a9"
TARGETS: dict[str, float] = {
    "write_units_per_call": 4,
    "write_units_per_run": 10,
    "usd_per_1000_million": 0.05,
    "usd_per_1000_default": 0.07,
    "p99_wait_step_s": 10,
    "p95_wait_default_s": 5,
    "cpu_one_environment_ratio": 0.8,
    "cpu_two_environments_ratio": 1.0,
    "cpu_streamed_one_environment_ratio": 1.0,
    "cpu_streamed_two_environments_ratio": 1.3,
    "cold_api_ratio": 1.0,
    "cold_worker_ratio": 1.0,
    "submit_ratio": 1.25,
}
"""What each figure of this build is to be at most. All are better when smaller."""
PARTS = ("writes", "waits", "cpu", "cold", "submit")
_TWO = (
    "of a run in an environment whose slots refill, calls to AWS are a quarter and Valkey a twelfth (before ends were "
    "gathered: 0.27 transactions a run and 0.19 claims, for 0.1 of each where ten always came together), the change of "
    "threads a tenth, the notes of calls under way a twentieth; streamed, the model call is over a third of it, and of "
    "that a third the reading of the stream and a third the sending of the request (py-spy)"
)
_ONE = (
    "a model call is 0.5 ms of it, streamed 1.2 ms (a bare openai.AsyncOpenAI: 2.5 ms, not streamed), AWS and Valkey "
    "0.8 ms; the rest are the event loop and the hand-overs between threads, no large part in a profile"
)
WHY: dict[str, str] = {
    "cpu_one_environment_ratio": _ONE,
    "cpu_streamed_one_environment_ratio": _ONE,
    "cpu_two_environments_ratio": _TWO,
    "cpu_streamed_two_environments_ratio": _TWO,
    "submit_ratio": "43 % of it is waiting for DynamoDB and 43 % for SQS, one after the other, as the row is to be "
    "there before the message is (py-spy); a bare route that does these two and nothing else takes 1.25 to 1.68 x the "
    "one that does neither (python -m benchmarks.submit_overhead), and the local AWS is one process",
}
"""Why a target is missed, by figure; the table says so beside the figure, and only if it is."""
RUNS, COLD_SAMPLES, SUBMITS = 300, 3, 100
"""Measured in each round."""

Figures = dict[str, float]


def exact(probe: Probe, parts: Sequence[str]) -> Figures:
    """Measure what does not vary."""
    found: Figures = {}
    if "writes" in parts:
        from benchmarks import write_meter

        units = write_meter.figures(write_meter.measure(probe.tree))
        found |= {name: float(str(units[name])) for name in ("write_units_per_call", "write_units_per_run")}
    if "waits" in parts:
        million, default = probe.ask("simulate", "million"), probe.ask("simulate", "default")
        found |= {
            "usd_per_1000_million": million["usd_per_1000"],
            "usd_per_1000_default": default["usd_per_1000"],
            "p99_wait_step_s": million["p99_s"],
            "p95_wait_default_s": default["p95_s"],
        }
    return found


def one_round(probes: Mapping[str, Probe], parts: Sequence[str], number: int) -> dict[str, Figures]:
    """Measure both builds once, one after the other, part by part."""
    found: dict[str, Figures] = {name: {} for name in probes}
    order = list(probes) if number % 2 == 0 else list(reversed(probes))
    if "cpu" in parts:
        celery = [probes["after"].ask("celery", f"{number}-first", RUNS)]
        times = {name: probes[name].ask("cpu", str(number), RUNS) for name in order}
        celery.append(probes["after"].ask("celery", f"{number}-last", RUNS))
        base = statistics.mean(celery)
        for name, each in times.items():
            found[name] |= {f"{figure}_ratio": round(value / base, 3) for figure, value in each.items()}
    for part, size in (("cold", COLD_SAMPLES), ("submit", SUBMITS)):
        if part in parts:
            for name in order:
                ratios = probes[name].ask(part, size)
                found[name] |= {f"{figure}_ratio": round(value, 3) for figure, value in ratios.items()}
    return found


def table(exact_ones: Mapping[str, Figures], rounds: Sequence[Mapping[str, Figures]]) -> dict[str, Any]:
    """Put the figures together: medians, ranges, and each target that is missed."""
    result: dict[str, Any] = {"before": {}, "after": {}, "ranges": {"before": {}, "after": {}}}
    for build in ("before", "after"):
        for name in TARGETS:
            values = [one[build][name] for one in rounds if name in one.get(build, {})]
            if name in exact_ones.get(build, {}):
                values = [exact_ones[build][name]]
            if values:
                result[build][name] = round(statistics.median(values), 4)
                result["ranges"][build][name] = [min(values), max(values)]
    result["rounds"] = len(rounds)
    result["before_commit"] = BEFORE
    result["targets"] = TARGETS
    result["missed"] = missed(result["after"])
    result["worse"] = [
        name for name, value in result["after"].items() if value > result["before"].get(name, float("inf"))
    ]
    return result


def missed(after: Figures) -> dict[str, str]:
    """Return every target that is missed, with why."""
    return {
        name: f"{after[name]:g} instead of {most:g}: {WHY.get(name, 'not explained yet')}"
        for name, most in TARGETS.items()
        if name in after and after[name] > most
    }


def text(result: Mapping[str, Any]) -> str:
    """Lay the table out."""
    lines = [f"{'':<38}{'before':>10}{'after':>10}{'range':>20}{'target':>9}"]
    for name, most in TARGETS.items():
        if name in result["after"]:
            low, high = result["ranges"]["after"][name]
            was = result["before"].get(name)
            before = "" if was is None else f"{was:g}"
            mark = "  missed" if name in result["missed"] else ""
            after, spread = f"{result['after'][name]:g}", f"{low:g} - {high:g}"
            lines.append(f"{name:<38}{before:>10}{after:>10}{spread:>20}{most:>9g}{mark}")
    lines += [f"  {name}: {why}" for name, why in result["missed"].items()]
    return "\n".join([*lines, f"{result['rounds']} rounds; before: {result['before_commit']}"])


def draw(result: Mapping[str, Any]) -> list[Path]:
    """Draw each figure of this build as a part of what it was, with its range, and its target."""
    names = [name for name in TARGETS if name in result["after"] and result["before"].get(name)]
    drawn, axes = drawing.figure(2, "This build beside the one before it: smaller is better", [6.0, 0.01])
    axis, rest = axes
    rest.axis("off")
    for place, name in enumerate(reversed(names)):
        base = result["before"][name]
        low, high = (edge / base for edge in result["ranges"]["after"][name])
        value = result["after"][name] / base
        color = "#c2410c" if name in result["missed"] else "#1d4ed8"
        axis.barh(place, value, color=color, height=0.6, xerr=[[max(0.0, value - low)], [max(0.0, high - value)]])
        axis.plot([TARGETS[name] / base] * 2, [place - 0.4, place + 0.4], color="#0f172a", lw=1.2)
        axis.annotate(f"  {base:g} → {result['after'][name]:g}", (max(value, high), place), va="center", fontsize=8)
    axis.set_yticks(range(len(names)), reversed(names), fontsize=8)
    axis.axvline(1.0, color="#64748b", lw=0.8, ls=(0, (3, 2)))
    axis.set_xlabel("after ÷ before; black: the target")
    return drawing.save(drawn, "before_after")


def measure(rounds: int, parts: Sequence[str]) -> dict[str, Any]:
    """Measure both builds."""
    with contextlib.ExitStack() as until:
        trees = {"before": until.enter_context(checkout(BEFORE)), "after": ROOT}
        probes = {name: Probe(tree) for name, tree in trees.items()}
        for probe in probes.values():
            until.callback(probe.close)
        exact_ones = {name: exact(probe, parts) for name, probe in probes.items()}
        found: list[dict[str, Figures]] = []
        for number in range(rounds if {"cpu", "cold", "submit"} & set(parts) else 0):
            began = time.monotonic()
            found.append(one_round(probes, parts, number))
            print(f"round {number + 1}, {time.monotonic() - began:.0f} s: {found[-1]}", file=sys.stderr, flush=True)
        return table(exact_ones, found)


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, draw and write; a part alone is only printed. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="benchmarks.before_after", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default=",".join(PARTS), help=f"some of {', '.join(PARTS)}, with commas")
    options = parser.parse_args(sys.argv[1:] if arguments is None else arguments)
    parts = [part for part in options.only.split(",") if part]
    if unknown := set(parts) - set(PARTS):
        parser.error(f"--only knows {', '.join(PARTS)}, not {', '.join(sorted(unknown))}")
    try:
        result = measure(options.rounds, parts)
    except ProbeError as error:
        print(error, file=sys.stderr)
        return 1
    print(text(result))
    if set(parts) == set(PARTS):
        drawing.RESULTS.mkdir(parents=True, exist_ok=True)
        (drawing.RESULTS / "before_after.json").write_text(json.dumps(result, indent=2) + "\n")
        draw(result)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
