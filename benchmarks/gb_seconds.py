"""GB-seconds per 1,000 runs: a naive Lambda against Sluice with plain batches and with slots that refill.

Each contender works off a backlog of runs, of equal length (2 or 10 s) or spread evenly over 1 to 10 s, on the same
local system; what counts is the time that its own log lines give for its invocations, as Lambda would bill them. The
first invocation of an environment is left out for all: it imports. Memory is the smallest size, of those on offer,
that holds one and a half times the measured peak. The local AWS is an emulator whose calls take longer than AWS's.

    python -m benchmarks.gb_seconds      (about twelve minutes; --draw draws the stored figures only)
"""

from __future__ import annotations

import argparse
import json
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

from benchmarks.capacity_model import drawing
from benchmarks.capacity_model.stack import Stack
from benchmarks.faults.own import own_system
from benchmarks.naive import deployed
from benchmarks.naive.deployed import Naive

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "benchmarks" / "results" / "gb_seconds.json"
SIZES_MB = (256, 512, 1024, 1536, 2048, 3008)
"""Memory sizes on offer; below 256 MB a Python function with an SDK does not start well."""
HEADROOM = 1.5
LENGTHS = {"equal": (2.0, 2.0), "spread": (1.0, 10.0), "long": (10.0, 10.0)}
"""Seconds of the shortest and the longest run. 100 runs of 2 s at once are more than the emulator can serve, so
environments of 50 slots have the other two."""


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to run the work; ``environments`` at once, each with so many ``slots``."""

    name: str
    slots: int
    refill_s: float
    environments: int
    runs: int
    kinds: tuple[str, ...] = ("equal", "spread")


SLUICE = [
    Contender("batch of 1", 1, 0, 10, 60),
    Contender("batch of 10", 10, 0, 2, 160),
    Contender("10 slots, refilled", 10, 60, 2, 300),
    Contender("50 slots, refilled", 50, 60, 2, 600, ("spread", "long")),
]


def lengths(kind: str, runs: int) -> list[float]:
    """Return the lengths of so many runs, the same each time: spread ones evenly, in random order."""
    low, high = LENGTHS[kind]
    spread = [low + (high - low) * (n + 0.5) / runs for n in range(runs)]
    random.Random(7).shuffle(spread)
    return [round(length, 2) for length in spread]


class Bench:
    """The local system, its worker's knobs and everybody's log lines."""

    def __init__(self, outputs: dict[str, Any]) -> None:
        """Connect."""
        self.outputs = outputs
        self.stack = Stack(outputs)
        self.functions: Any = boto3.client("lambda")
        self.logs: Any = boto3.client("logs")
        self.worker = next(name for name in self._functions() if "worker" in name.lower())
        self._seen: set[str] = set()
        events: Any = boto3.client("events")
        for rule in events.list_rules()["Rules"]:  # the scaler would size what is held here
            if "scaler" in rule["Name"].lower():
                events.disable_rule(Name=rule["Name"])
                break
        else:
            raise SystemExit("the scaler's schedule was not found")

    def _functions(self) -> list[str]:
        return [function["FunctionName"] for function in self.functions.list_functions()["Functions"]]

    def _group(self, function: str) -> str:
        config = self.functions.get_function_configuration(FunctionName=function)
        group: str = config["LoggingConfig"]["LogGroup"]
        return group

    def lines(self, function: str, message: str) -> list[dict[str, Any]]:
        """Return a function's log lines with this message that were not returned before, with their stream."""
        found: list[dict[str, Any]] = []
        pages = self.logs.get_paginator("filter_log_events").paginate(logGroupName=self._group(function))
        for event in (event for page in pages for event in page["events"]):
            for text in event["message"].splitlines():
                if f'"message": "{message}"' not in text:
                    continue
                mark = f"{event['logStreamName']}{event['timestamp']}{text}"
                if mark not in self._seen:
                    self._seen.add(mark)
                    found.append(json.loads(text))
        return found

    def sluice(self, contender: Contender, kind: str) -> dict[str, Any]:
        """Let Sluice work off the runs; returns its figures."""
        found = self.functions.get_function_configuration(FunctionName=self.worker)["Environment"]["Variables"]
        knobs = {
            "RUNS_PER_ENVIRONMENT": str(contender.slots),
            "BATCH_SIZE": str(min(10, contender.slots)),
            "REFILL_SECONDS": str(contender.refill_s),
        }
        self.functions.update_function_configuration(FunctionName=self.worker, Environment={"Variables": found | knobs})
        uuid = self.outputs["mappings"]["normal"]
        self.functions.update_event_source_mapping(
            UUID=uuid,
            BatchSize=min(10, contender.slots),
            ScalingConfig={"MaximumConcurrency": contender.environments},
        )
        time.sleep(2)
        self.stack.measure([0.2] * contender.environments * min(10, contender.slots))  # imports
        self.settled()
        self.lines(self.worker, "batch done")
        # The backlog stands before anybody works on it.
        self.functions.update_event_source_mapping(UUID=uuid, Enabled=False)
        time.sleep(2)
        asked = lengths(kind, contender.runs)
        ids = self.stack.submit_all(asked)
        self.functions.update_event_source_mapping(UUID=uuid, Enabled=True)
        self.stack.wait_for(ids)
        lines = self.settled()
        runs = sum(line["records"] + line["refilled"] for line in lines)
        if runs < contender.runs:  # whose seconds would be missing, too
            raise SystemExit(f"{contender.name}: the log tells of {runs} messages of {contender.runs}; measure again")
        return figures(contender.name, lines, contender.runs, sum(asked), peak_mb(self.worker)) | {"messages": runs}

    def settled(self) -> list[dict[str, Any]]:
        """Wait until no invocation ends any more; returns the lines of those that did."""
        lines: list[dict[str, Any]] = []
        quiet = 0
        while quiet < 3:
            time.sleep(1.5)
            new = self.lines(self.worker, "batch done")
            lines += new
            quiet = 0 if new else quiet + 1
        return lines

    def naive(self, naive: Naive, kind: str, runs: int, warm: int) -> dict[str, Any]:
        """Let the naive function work off the runs; returns its figures."""
        naive.send([0.5] * warm * 2)
        naive.lines(warm * 2)
        asked = lengths(kind, runs)
        naive.send(asked)
        return figures("naive", naive.lines(runs), runs, sum(asked), peak_mb(deployed.NAME))


def peak_mb(function: str) -> int:
    """Return the most memory that an environment of a function ever held, of those that live, in MB."""
    peaks: list[int] = []
    for process in Path("/proc").iterdir():
        try:
            command = (process / "cmdline").read_bytes()
            if process.name.isdigit() and f"ministack-lambda-{function}-".encode() in command:
                status = (process / "status").read_text()
                peaks += [int(line.split()[1]) // 1024 for line in status.splitlines() if line.startswith("VmHWM")]
        except OSError:
            continue  # it ended meanwhile
    if not peaks:
        raise SystemExit(f"no environment of {function} was found")
    return max(peaks)


def figures(name: str, lines: list[dict[str, Any]], runs: int, run_seconds: float, peak: int) -> dict[str, Any]:
    """Add up what invocations took."""
    memory = next(size for size in SIZES_MB if size >= peak * HEADROOM)
    seconds = sum(line["seconds"] for line in lines)
    return {
        "name": name,
        "runs": runs,
        "run_seconds": round(run_seconds, 1),
        "invocations": len(lines),
        "billed_s": round(seconds, 1),
        "peak_mb": peak,
        "memory_mb": memory,
        "gb_s_per_1000_runs": round(seconds * memory / 1024 / runs * 1000, 1),
    }


def draw(results: dict[str, Any]) -> list[Path]:
    """Draw what 1,000 runs take, a panel for each kind of length."""
    kinds = [kind for kind in LENGTHS if kind in results]
    heights = [len(results[kind]) + 1.0 for kind in kinds]
    drawn, axes = drawing.figure(len(kinds), "GB-seconds per 1,000 runs beside a naive Lambda", heights)
    for axis, kind in zip(axes, kinds, strict=True):
        rows = results[kind][::-1]
        colors = ["#64748b" if row["name"] == "naive" else "#c2410c" for row in rows]
        bars = axis.barh([row["name"] for row in rows], [row["gb_s_per_1000_runs"] for row in rows], color=colors)
        labels = [f"{row['gb_s_per_1000_runs']:,.0f} (naive / {row['times_fewer_ratio']:.2g})" for row in rows]
        axis.bar_label(bars, labels, padding=3, fontsize=8)
        low, high = LENGTHS[kind]
        axis.set_ylabel(f"{kind} runs,\n" + (f"{low:g} s" if low == high else f"{low:g} to {high:g} s"))
        axis.margins(x=0.2)
    return drawing.save(drawn, "gb_seconds")


def main() -> None:
    """Measure, print, store, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kinds", default="equal,spread,long")
    parser.add_argument("--draw", action="store_true")
    asked = parser.parse_args()
    if asked.draw:
        draw(json.loads(RESULT.read_text()))
        return
    parameters = {"MaxReplicas": "14", "NormalConcurrency": "10", "ReservedConcurrency": "18"}
    results: dict[str, Any] = {"date": time.strftime("%Y-%m-%d", time.gmtime()), "memory_headroom": HEADROOM}
    with own_system(parameters) as (_, outputs):
        bench = Bench(outputs)
        naive = Naive(bench.worker, 10, bench.lines)
        for kind in asked.kinds.split(","):
            rows = [bench.naive(naive, kind, 60, 10), *(bench.sluice(one, kind) for one in SLUICE if kind in one.kinds)]
            floor = rows[0]["gb_s_per_1000_runs"]
            for row in rows:
                row["times_fewer_ratio"] = round(floor / row["gb_s_per_1000_runs"], 2)
            results[kind] = rows
            print(f"\n{kind} runs, {LENGTHS[kind][0]:g} to {LENGTHS[kind][1]:g} s")
            print(
                f"{'':22}{'runs':>6}{'invoc.':>8}{'billed s':>10}{'peak MB':>9}{'MB':>6}{'GB-s/1000':>11}{'fewer':>8}"
            )
            for row in rows:
                print(
                    f"{row['name']:22}{row['runs']:6}{row['invocations']:8}{row['billed_s']:10}{row['peak_mb']:9}"
                    f"{row['memory_mb']:6}{row['gb_s_per_1000_runs']:11}{row['times_fewer_ratio']:7}x"
                )
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(results, indent=2) + "\n")
    draw(results)


if __name__ == "__main__":
    main()
