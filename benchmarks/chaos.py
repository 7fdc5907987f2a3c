"""The fault campaign: thousands of runs while everything that can fail does. `make chaos`, about five minutes.

It starts a system of its own, with times shortened by deploy parameters (lease 6 s instead of 60, heartbeat 2 s instead
of 20, retry base 1 s instead of 30, breaker open 3 s instead of 30), so that a campaign fits into minutes. Retries and
crashes are allowed generously: the question is not how often a run may fail, but whether one is lost, ends twice, or
repeats what it had finished. Exits non-zero if so. All chances are drawn from ``--seed``.

    python -m benchmarks.chaos [--runs 2000] [--kills 50] [--seed 1]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2

from benchmarks.faults.inflict import Inflictor
from benchmarks.faults.verify import Verdict, verify

if TYPE_CHECKING:
    from localstack.system import System

PARAMETERS = {
    "LeaseSeconds": "6",
    "HeartbeatSeconds": "2",
    "RetryBaseSeconds": "1",
    "BreakerOpenSeconds": "3",
    "ModelTimeoutSeconds": "6",
    "WorkerTimeoutSeconds": "60",
    "MaxRetries": "12",
    "MaxCrashes": "20",
    "HighConcurrency": "2",
    "NormalConcurrency": "5",
    "QuarantineConcurrency": "3",
    "MaxReplicas": "10",
    "ReservedConcurrency": "13",
    "IngressRate": "0",
}
STEPS = 'tools=calculator,current_time args=[{"expression":"6*7"},{}]'
"""What a run does: three model calls and two tools, five recorded steps."""
CALLS_NEEDED = 3
LEASE_SECONDS = 6
GIVE_UP_SECONDS = 1500
ENDED = ("complete", "failed", "cancelled")


def free_ports(environment: dict[str, str]) -> None:
    """Let the campaign's system use free ports and a state folder of its own."""
    import socket

    for name in ("AWS_PORT", "REDIS_PORT", "LLM_PORT"):
        with socket.create_server(("127.0.0.1", 0)) as probe:
            environment[name] = str(probe.getsockname()[1])
    for name in ("REDIS_URL", "OPENAI_API_KEY", "OPENAI_BASE_URL", "AWS_ENDPOINT_URL", "SLUICE_AWS_ENDPOINT_URL"):
        environment.pop(name, None)


def submit_all(outputs: dict[str, Any], runs: int, prefix: str) -> list[str]:
    """Submit every run, again and again where the system does not answer; the same key makes one task."""
    key = outputs["api_keys"]["load"]
    client = httpx2.Client(base_url=outputs["api_url"], headers={"Authorization": f"Bearer {key}"}, timeout=30)

    def one(n: int) -> str:
        body = {
            "message": f"[[sim key={prefix}-{n} words=6 latency=0.05-0.4 {STEPS}]] run {n}",
            "agent": "tools",
            "session_id": f"{prefix}-{n}",
        }
        while True:
            try:
                answer = client.post("/agent", json=body, headers={"Idempotency-Key": f"{prefix}-{n}"})
                if answer.status_code == 202:
                    return str(answer.json()["task_id"])
            except httpx2.HTTPError:
                pass  # the system is paused or busy: ask again
            time.sleep(0.5)

    with ThreadPoolExecutor(4) as pool:
        ids = list(pool.map(one, range(runs)))
    client.close()
    return ids


def await_end(ids: list[str]) -> set[str]:
    """Wait until every task has ended; returns those that had not when patience was over."""
    from shared.errors import SluiceError
    from shared.tasks import store

    give_up = time.monotonic() + GIVE_UP_SECONDS
    live = set(ids)
    while live and time.monotonic() < give_up:
        for task_id in list(live)[:200]:
            try:
                if store.get(task_id).status.terminal:
                    live.discard(task_id)
            except SluiceError:
                break
        time.sleep(1)
    return live


def campaign(system: System, outputs: dict[str, Any], runs: int, kills: int, seed: int) -> dict[str, Any]:
    """Run the campaign on a system that is up; returns the figures."""
    prefix = f"chaos{seed}"
    sim = httpx2.Client(base_url=outputs["llm_url"].removesuffix("/v1") + "/_sim", timeout=10)
    faults = {"seed": seed, "fault_rate": 0.2, "faults": ["429", "500", "garbage", "hang"], "hang": 3, "retry_after": 1}
    sim.post("/config", json=faults).raise_for_status()
    began = time.time()
    submitted: list[str] = []
    done = threading.Event()
    inflictor = Inflictor(system, outputs, sim, random.Random(seed), kills, submitted)
    worker = threading.Thread(target=inflictor.run, args=(done,))

    def submitting() -> None:
        submitted.extend(submit_all(outputs, runs, prefix))

    submitter = threading.Thread(target=submitting)
    inflictor.expected = (prefix, runs)
    submitter.start()
    worker.start()
    submitter.join()
    live = await_end(submitted)
    done.set()
    worker.join()
    took = time.time() - began
    sim.post("/config", json={"fault_rate": 0, "outage": False})
    verdict: Verdict = verify(submitted, live, sim, prefix, inflictor)
    sim.close()
    return {
        "seed": seed,
        "seconds": round(took),
        "parameters": PARAMETERS,
        "submitted": len(submitted),
        **verdict.figures(),
        "inflicted": inflictor.counts(),
        "model_calls_needed": runs * CALLS_NEEDED,
        "model_calls_ratio": round(verdict.calls / (runs * CALLS_NEEDED), 3),
        "worst_recovery_bound_s": LEASE_SECONDS + 10,
    }


def main() -> int:
    """Start a system, run the campaign, print and judge it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    free_ports(os.environ)  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory(prefix="sluice-chaos-") as folder:
        os.environ["SLUICE_STATE"] = folder
        from localstack.environ import use
        from localstack.system import System

        system = System(Path(folder))
        try:
            outputs = system.up(PARAMETERS)
            use(outputs)
            result = campaign(system, outputs, asked.runs, asked.kills, asked.seed)
        finally:
            system.down()
    print(json.dumps(result, indent=2))
    target = Path(__file__).parent / "results" / "chaos.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(result, indent=2) + "\n")
    broken = [name for name in ("lost", "ended_twice", "completed_steps_repeated", "sequence_gaps") if result[name]]
    if broken:
        print(f"BROKEN: {', '.join(broken)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
