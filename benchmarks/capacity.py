"""Capacity simulator: how long runs wait, how much runs at once, and what it costs, before anything is deployed.

    python -m benchmarks.capacity                      every scenario
    python -m benchmarks.capacity --scenario million   one of them; --list names them
    python -m benchmarks.capacity --scenario default --batch 3 --most 40 --peak 300
    python -m benchmarks.capacity --validate           small cases against the running local stack

Figures and drawings land in ``benchmarks/results/``. ``docs/scaling.md`` says what the model covers and what not.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import replace
from typing import Any

from benchmarks.capacity_model import drawing, summary
from benchmarks.capacity_model.engine import Engine
from benchmarks.capacity_model.scenario import SCENARIOS, Scenario, profiled
from benchmarks.capacity_model.workload import generate


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="benchmarks.capacity", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--scenario", action="append", choices=list(SCENARIOS), help="may be given several times")
    parser.add_argument("--list", action="store_true", help="name the scenarios and stop")
    parser.add_argument("--users", type=int, help="how many users there are")
    parser.add_argument("--peak", type=float, help="runs submitted per minute at the peak")
    parser.add_argument("--minutes", type=int, help="how long load arrives")
    parser.add_argument("--run-s", type=float, help="mean seconds of a run's model calls")
    parser.add_argument("--most", type=int, help="MAX_REPLICAS")
    parser.add_argument("--batch", type=int, help="runs per environment")
    parser.add_argument("--profile", choices=["swift", "hpa"], help="ScalingProfile")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--watching", default="poll", choices=["webhook", "poll", "long-poll"])
    parser.add_argument("--png", action="store_true", help="draw PNG as well as SVG")
    parser.add_argument("--no-drawing", action="store_true")
    parser.add_argument("--validate", action="store_true", help="compare with the local stack (make up)")
    return parser.parse_args(arguments)


def adjusted(scenario: Scenario, options: argparse.Namespace) -> Scenario:
    """Apply the options that change a scenario; a changed one gets a name of its own."""
    changes: dict[str, Any] = {name: getattr(options, name) for name in ("users", "peak", "minutes", "seed")}
    changes = {name: value for name, value in changes.items() if value is not None}
    parts = [f"{name}{value:g}" for name, value in changes.items()]
    if options.profile:
        scenario = profiled(scenario, options.profile)
        parts.append(options.profile)
    config, platform = scenario.config, scenario.platform
    if options.run_s:
        changes["shape"] = replace(scenario.shape, calls=max(1.0, options.run_s / scenario.shape.call_s))
        parts.append(f"run_s{options.run_s:g}")
    if options.most:
        config = replace(config, most=options.most)
        parts.append(f"most{options.most}")
    if options.batch:
        config = replace(config, runs_per_environment=options.batch)
        platform = replace(platform, batch=min(10, options.batch), slots=options.batch)
        parts.append(f"batch{options.batch}")
    if not parts:
        return scenario
    return replace(scenario, name="-".join([scenario.name, *parts]), config=config, platform=platform, **changes)


def main(arguments: list[str] | None = None) -> int:
    """Run what the command line asks for; returns the exit status."""
    options = parse(sys.argv[1:] if arguments is None else arguments)
    if options.list:
        for scenario in SCENARIOS.values():
            print(f"{scenario.name:<18}{scenario.about}")
        return 0
    if options.validate:
        from benchmarks.capacity_model.validate import validate

        return validate()
    for name in options.scenario or list(SCENARIOS):
        scenario = adjusted(SCENARIOS[name], options)
        began = time.perf_counter()
        load = generate(scenario)
        result = Engine(scenario, load).run()
        seconds = time.perf_counter() - began
        figures = summary.summarize(scenario, load, result, watching=options.watching, seconds=seconds)
        print(summary.text(figures), flush=True)
        drawing.RESULTS.mkdir(parents=True, exist_ok=True)
        (drawing.RESULTS / f"capacity_{scenario.name}.json").write_text(json.dumps(figures, indent=2) + "\n")
        if not options.no_drawing:
            for path in drawing.draw(scenario, load, result, png=options.png):
                print(f"  drawn: {path.relative_to(drawing.RESULTS.parent.parent)}")
        print()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
