"""Half an hour of steady load: does memory grow, do waits grow, is a run lost? `make soak`.

A system of its own on loopback takes `--rate` runs a second, of three model calls and two tools each, in fifty
sessions, or in as many more as long calls need to go beside each other. The resident memory of each part's processes
is sampled: the functions' environments, Valkey, and the local stand-ins for AWS and the provider, which keep everything
and are only told. After a warm-up (a fifth of the time, at
most five minutes) the median of the last third is held against that of the first, without what the runs that workers
hold at the moment cost (`RUN_MB`): their environments come and go, and hold few or many. The exit code is not 0 if a
process of a judged part grew by more than a tenth, or if a run was lost or failed.

    python -m benchmarks.soak [--minutes 30] [--rate 2] [--latency 0.2-1]

Calls of 20 to 36 s keep the environments near the runs that each may hold (``RunsPerEnvironment``): `make soak-full`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.faults.own import own_system
from benchmarks.steady.load import LATENCY, Load
from benchmarks.steady.memory import STAND_INS, Sampler, growing

if TYPE_CHECKING:
    from localstack.system import System

PARAMETERS = {"IngressRate": "0", "GlobalQueueLimit": "0"}
MOST_RATIO = 1.1
WINDOW_SECONDS = 300.0
WARM_UP_SHARE, WARM_UP_SECONDS = 0.2, 300.0
SAMPLES = 180
"""Samples in all, at most one every two seconds."""


def soak(
    system: System, outputs: dict[str, Any], minutes: float, rate: float, latency: str = LATENCY
) -> tuple[dict[str, Any], bool]:
    """Load a system that is up; returns the figures and whether all is well."""
    seconds = minutes * 60
    warm_up_s = min(seconds * WARM_UP_SHARE, WARM_UP_SECONDS)
    load = Load(outputs, rate, latency)
    sampler = Sampler(system, max(2.0, seconds / SAMPLES), outputs["mappings"], lambda: load.held_now)
    sampler.start()
    lost = load.run(seconds)
    sampler.stop()
    statuses = Counter(one.status for one in load.ended)
    memory = {name: found for name, part in sorted(sampler.parts.items()) if (found := part.figures(warm_up_s))}
    grew = growing(memory, MOST_RATIO)
    figures = {
        "minutes": minutes,
        "rate_per_s": rate,
        "model_call_s": latency,
        "warm_up_s": round(warm_up_s),
        "submitted": load.submitted,
        "answers": dict(load.answers),
        "ended": dict(statuses),
        "lost": lost,
        "failed": load.submitted - lost - statuses["complete"],
        "waits": load.waits(min(WINDOW_SECONDS, seconds / 2)),
        "runs_held_at_once": load.held(),
        "environments_allowed": sampler.allowed,
        "memory": memory,
        "only_told": list(STAND_INS),
        "growing": grew,
    }
    return figures, not (lost or figures["failed"] or grew) and load.submitted > 0


def main() -> int:
    """Start a system, load it, print and judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--rate", type=float, default=2)
    parser.add_argument("--latency", default=LATENCY, help="seconds of a model call, LO-HI")
    parser.add_argument("--name", default="soak", help="of the file of results")
    asked = parser.parse_args()
    with own_system(PARAMETERS) as (system, outputs):
        result, good = soak(system, outputs, asked.minutes, asked.rate, asked.latency)
    print(json.dumps(result, indent=2))
    target = Path(__file__).parent / "results" / f"{asked.name}.json"
    target.write_text(json.dumps(result, indent=2) + "\n")
    if not good:
        print("memory grows, or runs were lost or failed", file=sys.stderr)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
