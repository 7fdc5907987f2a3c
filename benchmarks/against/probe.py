"""Runs inside a checkout, this one or an older one, and measures that one with its own benchmarks.

Started as a script with the checkout's own interpreter, its folder as working directory and on ``PYTHONPATH``. One
command a line comes in (JSON), one line goes out, beginning with ``MARK``. It imports only what both checkouts have.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

MARK = "@@ "
CELERY = "celery threads"


def simulate(scenario: str) -> dict[str, float]:
    """Simulate a scenario: the waits of the tier with most runs, and what AWS takes for 1,000 runs."""
    from benchmarks.capacity_model import summary
    from benchmarks.capacity_model.engine import Engine
    from benchmarks.capacity_model.scenario import SCENARIOS
    from benchmarks.capacity_model.workload import generate

    chosen = SCENARIOS[scenario]
    load = generate(chosen)
    figures = summary.summarize(chosen, load, Engine(chosen, load).run(), watching="poll", seconds=0.0)
    wait = max(figures["wait"].values(), key=lambda one: one["runs"])
    return {"p95_s": wait["p95_s"], "p99_s": wait["p99_s"], "usd_per_1000": figures["usd_per_1000_runs_aws"]}


class Machine:
    """A local system of this checkout, kept up between commands; not measured while it is idle."""

    def __init__(self, until: contextlib.ExitStack) -> None:
        """Start it; ``until`` ends it."""
        from benchmarks import reference_work
        from benchmarks.faults.own import own_system
        from benchmarks.reference import Sluice

        self.work = reference_work
        log = until.enter_context(tempfile.NamedTemporaryFile(suffix=".log"))  # noqa: SIM115 - `until` ends it
        self.system, self.outputs = until.enter_context(own_system(reference_work.PARAMETERS))
        self.bench = reference_work.Bench(self.outputs, Path(log.name))
        self.sluice = Sluice(self.outputs)
        self.emulator = self.system.processes.running("aws")

    def celery(self, tag: str, runs: int) -> float:
        """Return the processor milliseconds that a run takes Celery's threads, unstreamed."""
        self.latency(self.work.RUN_SECONDS)
        (peer,) = (one for one in self.work.PEERS if one.name == CELERY)
        return float(self.bench._fleet(peer, peer.slots, runs, f"celery-{tag}")["cpu_ms_per_run"])

    def cpu(self, tag: str, runs: int) -> dict[str, float]:
        """Return a run's processor milliseconds in two environments and in one, streamed or not."""
        self.latency(self.work.RUN_SECONDS)
        at_once = self.work.AT_ONCE
        found: dict[str, float] = {}
        for name, stream in (("cpu", False), ("cpu_streamed", True)):
            both = self.bench.sluice(self.sluice, self.emulator, runs, f"both-{tag}-{stream}", stream=stream)
            found[f"{name}_two_environments"] = both["cpu_ms_per_run"]
        self.sluice.pause()
        for name, stream in (("cpu", False), ("cpu_streamed", True)):
            self.sluice.submit(runs + at_once + 1, f"one-{tag}-{stream}", stream=stream)
            alone = self.work.environment.measure(self.outputs, runs, at_once)
            found[f"{name}_one_environment"] = alone["cpu_ms_per_run"]
        self.sluice.resume()
        return found

    def cold(self, samples: int) -> dict[str, float]:
        """Return how much longer cold starts take than the bare functions'."""
        import boto3

        from benchmarks import cold_start

        self.latency(0)
        try:
            found = cold_start.measure(self.outputs, samples)
        finally:  # it switches the pollers off
            client: Any = boto3.client("lambda")
            for mapping in self.outputs["mappings"].values():
                client.update_event_source_mapping(UUID=mapping, Enabled=True)
        return {"cold_api": found["api_cold_start_ratio"], "cold_worker": found["worker_cold_start_ratio"]}

    def submit(self, requests: int) -> dict[str, float]:
        """Return how much longer a submit takes than the bare route."""
        from benchmarks import submit_overhead

        self.latency(0)
        return {"submit": submit_overhead.measure(requests)["submit_overhead_ratio"]}

    def latency(self, seconds: float) -> None:
        """Set how long the simulated model thinks."""
        self.bench.sim.post("/config", json={"latency": seconds}).raise_for_status()


def main() -> None:
    """Carry out commands until there are no more."""
    with contextlib.ExitStack() as until:
        machine: Machine | None = None
        for line in sys.stdin:
            command, *arguments = json.loads(line)
            answer: Any
            try:
                if command == "simulate":
                    answer = simulate(*arguments)
                else:
                    machine = machine or Machine(until)
                    answer = getattr(machine, command)(*arguments)
            except Exception as error:
                answer = {"error": f"{type(error).__name__}: {error}"}
            print(MARK + json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
