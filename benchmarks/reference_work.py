"""The reference work on Sluice and on its peers, one after the other on one machine (`make bench-reference`).

1,000 runs, each one model call of 1 s against the simulator, at most 100 at once: 10.0 s is ideal. Everything is
queued before the clock starts. Of each system only the worker processes are measured. Sluice's side of the machine also
carries MiniStack, an emulator in one Python process that stands in for SQS, DynamoDB and Lambda: what that takes is not
counted as processor time, but it does slow Sluice's makespan. The peers' Valkey and the simulator serve all of them.
Processes that share a core also slow each other: Celery's threads are measured a second time beside a neighbour that is
as busy as MiniStack was.

The lane is released by the last of the runs, whose message wakes the local poller; it would sleep up to a second more.

Beyond what the peers do, a Sluice run checkpoints, holds a lease, meters and keeps an event log. Its model call streams
by default, for watchers; the peers' do not, so Sluice is measured with `"stream": false` and, by itself, with streams.

    python -m benchmarks.reference_work [--runs 1000] [--rounds 1]
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx2
import psutil
import redis

from benchmarks import environment
from benchmarks.capacity_model import drawing
from benchmarks.faults.own import own_system
from benchmarks.peers import neighbour
from benchmarks.peers.fleet import PEERS, Fleet, Memory, Peer, cpu_seconds, memory_mb, wait_until
from benchmarks.reference import Sluice

RUN_SECONDS = 1.0
AT_ONCE = 100
PER_ENVIRONMENT = 50
SLOW_PEER_RUNS = 240
"""Runs of a peer that has only twelve slots: 20 s, as ideal."""
PARAMETERS = {
    "RunsPerEnvironment": str(PER_ENVIRONMENT),
    "PoolProfile": "high",  # keeps a connection for each of them; the peers' client keeps 100
    "NormalConcurrency": "2",
    "HighConcurrency": "2",
    "MinReplicas": "2",  # the scaler leaves both lanes as they are
    "MaxReplicas": "6",
    "ReservedConcurrency": "12",
}
OURS, STREAMED = "sluice", "sluice, text streamed"
BASE = "celery threads"
BESIDE = "celery threads beside a neighbour"


class Bench:
    """What all of them share: the simulator and Valkey."""

    def __init__(self, outputs: dict[str, Any], log: Path) -> None:
        """Set the simulator's latency."""
        self.outputs, self.log = outputs, log
        self.redis_url = outputs["redis_url"].rsplit("/", 1)[0] + "/1"
        self.redis = redis.Redis.from_url(self.redis_url)
        self.sim = httpx2.Client(base_url=outputs["llm_url"].removesuffix("/v1") + "/_sim", timeout=10)
        self.sim.post("/config", json={"latency": RUN_SECONDS}).raise_for_status()

    def done(self, key: str) -> int:
        """Return how many of a key's model calls were answered."""
        counted = self.sim.get("/stats", params={"prefix": key}).json()["by_key"].get(key, {})
        return int(counted.get("completed", 0))

    def peer(self, peer: Peer, runs: int, tag: str) -> dict[str, Any]:
        """Measure one peer: all its slots, and a worker of one slot for the memory that a slot takes."""
        one = self._fleet(peer, 1, 3, f"{tag}-one")
        many = self._fleet(peer, peer.slots, runs, f"{tag}-all")
        return many | {"one_slot_mb": one["memory_mb"]}

    def _fleet(self, peer: Peer, slots: int, runs: int, key: str) -> dict[str, Any]:
        self.redis.flushdb()
        fleet = Fleet(peer, slots, self.redis_url, self.outputs["llm_url"], self.log)
        try:
            fleet.submit(slots, f"{key}-warm")
            wait_until(lambda: self.done(f"{key}-warm") >= slots, 60, f"{peer.name} does not start")
            time.sleep(1)
            with fleet.held():
                fleet.submit(runs, key)
            before, began = cpu_seconds(fleet.processes()), time.monotonic()
            with Memory(fleet.processes) as memory:
                wait_until(lambda: self.done(key) >= runs, 120, f"{peer.name} does not end")
            took = time.monotonic() - began
            time.sleep(0.5)  # its last acknowledgements
            return figures(runs, slots, took, cpu_seconds(fleet.processes()) - before, memory.peak_mb)
        finally:
            fleet.stop()

    def sluice(
        self, sluice: Sluice, emulator: psutil.Process, runs: int, tag: str, *, stream: bool = False
    ) -> dict[str, Any]:
        """Measure Sluice."""
        sluice.ended(sluice.submit(AT_ONCE, f"{tag}-warm", stream=stream))
        sluice.pause()
        user = sluice.submit(runs - 1, tag, stream=stream)
        before = {process.pid: cpu_seconds([process]) for process in sluice.environments(emulator)}
        idle_mb = memory_mb(sluice.environments(emulator))
        emulated = cpu_seconds([emulator])
        with Memory(lambda: sluice.environments(emulator)) as memory:
            began = time.time()
            last = sluice.release(tag, stream=stream)
            wait_until(lambda: self.done(tag) >= runs, 180, "Sluice does not end")
            took = max(sluice.ended(user) + sluice.ended(last)) - began
        now = {process.pid: cpu_seconds([process]) for process in sluice.environments(emulator)}
        used = sum(seconds - before.get(pid, 0.0) for pid, seconds in now.items())
        return figures(runs, AT_ONCE, took, used, memory.peak_mb) | {
            "environments": len(now),
            "idle_mb": round(idle_mb, 1),
            "emulator_cpu_ms_per_run": round((cpu_seconds([emulator]) - emulated) / runs * 1000, 2),
        }


def figures(runs: int, slots: int, took_s: float, cpu_s: float, peak_mb: float) -> dict[str, Any]:
    """Name one measurement's figures."""
    ideal = runs * RUN_SECONDS / slots
    return {
        "runs": runs,
        "slots": slots,
        "ideal_s": round(ideal, 2),
        "makespan_s": round(took_s, 2),
        "makespan_ideal_ratio": round(took_s / ideal, 3),
        "cpu_ms_per_run": round(cpu_s / runs * 1000, 2),
        "memory_mb": round(peak_mb, 1),
    }


def middle(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Take the median of every figure, and derive what is derived."""
    found = {name: round(statistics.median(one[name] for one in rounds), 3) for name in rounds[0]}
    if "one_slot_mb" in found:
        found["mb_per_additional_run"] = round((found["memory_mb"] - found["one_slot_mb"]) / (found["slots"] - 1), 3)
    return found


def measure(runs: int, rounds: int) -> dict[str, Any]:
    """Measure everything, round by round."""
    found: dict[str, list[dict[str, Any]]] = {}
    inside: dict[str, list[dict[str, Any]]] = {OURS: [], STREAMED: []}
    with tempfile.NamedTemporaryFile(suffix=".log") as log, own_system(PARAMETERS) as (system, outputs):
        bench, sluice = Bench(outputs, Path(log.name)), Sluice(outputs)
        emulator = system.processes.running("aws")
        assert emulator is not None
        for n in range(rounds):
            for peer in PEERS:
                wanted = runs if peer.slots >= AT_ONCE else min(runs, SLOW_PEER_RUNS)
                found.setdefault(peer.name, []).append(bench.peer(peer, wanted, f"{peer.app}{len(peer.name)}-{n}"))
                print(f"  {peer.name}: {found[peer.name][-1]}", flush=True)
                if peer.name == BASE:  # side by side in time, too
                    for name, stream in ((OURS, False), (STREAMED, True)):
                        ours = bench.sluice(sluice, emulator, runs, f"sluice-{n}-{stream}", stream=stream)
                        found.setdefault(name, []).append(ours)
                        print(f"  {name}: {ours}", flush=True)
                    ours = found[OURS][-1]
                    share = min(0.95, ours["emulator_cpu_ms_per_run"] / 1000 * runs / ours["makespan_s"])
                    with neighbour.busy(share):
                        control = bench.peer(peer, runs, f"beside-{n}")
                    found.setdefault(BESIDE, []).append(control | {"neighbour_share": round(share, 2)})
                    print(f"  {BESIDE}: {found[BESIDE][-1]}", flush=True)
                    sluice.pause()
                    for name, each in inside.items():
                        sluice.submit(4 * AT_ONCE + 1, f"environment-{n}", stream=name == STREAMED)
                        each.append(environment.measure(outputs, 3 * AT_ONCE, AT_ONCE))
                        print(f"  {name}, one environment: {each[-1]['cpu_ms_per_run']} ms a run", flush=True)
                    sluice.resume()
    result: dict[str, Any] = {name: middle(each) for name, each in found.items()}
    for name, each in inside.items():
        result[name]["one_environment"] = sorted(each, key=lambda one: one["cpu_ms_per_run"])[len(each) // 2]
    return {"run_s": RUN_SECONDS, "rounds": rounds, "systems": result, "ratios": ratios(result)}


def ratios(systems: dict[str, Any]) -> dict[str, float]:
    """Put Sluice beside the others."""
    ours, streamed, base = systems[OURS], systems[STREAMED], systems[BASE]["cpu_ms_per_run"]
    found = {"sluice_makespan_ideal_ratio": ours["makespan_ideal_ratio"]}
    for name, theirs in systems.items():
        if name not in (OURS, STREAMED):
            short = name.replace(" ", "_")
            found[f"sluice_to_{short}_cpu_ratio"] = round(ours["cpu_ms_per_run"] / theirs["cpu_ms_per_run"], 3)
            found[f"sluice_to_{short}_makespan_ratio"] = round(
                ours["makespan_ideal_ratio"] / theirs["makespan_ideal_ratio"], 3
            )
    found["sluice_one_environment_to_celery_threads_cpu_ratio"] = round(
        ours["one_environment"]["cpu_ms_per_run"] / base, 3
    )
    found["sluice_streamed_makespan_ideal_ratio"] = streamed["makespan_ideal_ratio"]
    found["sluice_streamed_to_celery_threads_cpu_ratio"] = round(streamed["cpu_ms_per_run"] / base, 3)
    found["sluice_streamed_one_environment_to_celery_threads_cpu_ratio"] = round(
        streamed["one_environment"]["cpu_ms_per_run"] / base, 3
    )
    return found


def table(result: dict[str, Any]) -> str:
    """Lay the figures out."""
    lines = [
        f"{'':<34}{'runs':>6}{'ideal s':>9}{'makespan s':>12}{'CPU ms/run':>12}{'MB':>8}{'MB per further run':>20}"
    ]
    for name, row in result["systems"].items():
        further = row.get("mb_per_additional_run", row.get("one_environment", {}).get("mb_per_additional_run"))
        lines.append(
            f"{name:<34}{row['runs']:>6.0f}{row['ideal_s']:>9}{row['makespan_s']:>12}"
            f"{row['cpu_ms_per_run']:>12}{row['memory_mb']:>8}{further:>20}"
        )
    lines.append(
        "Worker processes only. Sluice's MB are those of all its environments; a further run is one more in the"
    )
    lines.append(f"same environment, up to {AT_ONCE}. Its environments hold {PER_ENVIRONMENT} runs each.")
    return "\n".join(lines)


def draw(result: dict[str, Any]) -> list[Path]:
    """Draw makespan over ideal, processor time and memory."""
    drawn, axes = drawing.figure(3, "1,000 runs of one 1 s model call, 100 at once: worker processes only")
    names = list(result["systems"])
    colors = ["#c2410c" if name in (OURS, STREAMED) else "#64748b" for name in names]
    for axis, (figure, label) in zip(
        axes,
        {
            "makespan_ideal_ratio": "makespan / ideal",
            "cpu_ms_per_run": "CPU ms per run",
            "memory_mb": "memory, MB",
        }.items(),
        strict=True,
    ):
        bars = axis.barh(names[::-1], [result["systems"][name][figure] for name in names[::-1]], color=colors[::-1])
        axis.bar_label(bars, fmt="%.4g", padding=3, fontsize=8)
        axis.set_xlabel(label)
    return drawing.save(drawn, "reference_work")


def main() -> None:
    """Measure, print, draw and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=1)
    asked = parser.parse_args()
    result = measure(asked.runs, asked.rounds)
    print(table(result))
    print(environment.table(result["systems"][OURS]["one_environment"]))
    print(json.dumps(result["ratios"], indent=2))
    drawing.RESULTS.mkdir(parents=True, exist_ok=True)
    (drawing.RESULTS / "reference_work.json").write_text(json.dumps(result, indent=2) + "\n")
    for path in draw(result):
        print(f"drawn: {path.relative_to(drawing.RESULTS.parent.parent)}")


if __name__ == "__main__":
    main()
