"""The fault campaign: thousands of runs while everything that can fail does. `make chaos`, about five minutes.

It starts a system of its own, with times shortened by deploy parameters so that a campaign fits into minutes: lease 6 s
(60 by default), heartbeat 2 s (20), retry base 1 s (30), breaker open 3 s (30), model call 3 s at most (60). Retries
(12 instead of 3) and crashes (20 instead of 5) are generous: with a fifth of all calls failing, one step in 625 fails
four times in a row by chance alone, and would rightly end its run as failed. The question here is another: whether a
run is lost, ends twice, or does again what it had finished. The exit code says so. Chances are drawn from ``--seed``.

    python -m benchmarks.chaos [--runs 2000] [--kills 50] [--seed 1]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
from botocore.exceptions import BotoCoreError, ClientError

from benchmarks.faults.inflict import Inflictor
from benchmarks.faults.own import own_system
from benchmarks.faults.verify import recovery, verify
from benchmarks.faults.watch import rows
from localstack.receiver import Receiver

if TYPE_CHECKING:
    from localstack.system import System

LEASE_SECONDS = 6
PARAMETERS = {
    "LeaseSeconds": str(LEASE_SECONDS),
    "HeartbeatSeconds": "2",
    "RetryBaseSeconds": "1",
    "BreakerOpenSeconds": "3",
    "ModelTimeoutSeconds": "3",
    "WorkerTimeoutSeconds": "60",
    "MaxRetries": "12",
    "MaxCrashes": "20",
    "HighConcurrency": "2",
    "NormalConcurrency": "4",
    "QuarantineConcurrency": "2",
    "MaxReplicas": "8",
    "ReservedConcurrency": "10",
    "IngressRate": "0",
}
FAULTS = {"fault_rate": 0.2, "faults": ["429", "500", "garbage", "hang"], "hang": 10, "retry_after": 1}
STEPS = 'tools=calculator,current_time args=[{"expression":"6*7"},{}]'
"""What a run does: three model calls and two tools, five recorded steps."""
CALLS_NEEDED = 3
WEBHOOK_EVERY = 20
HIGH_EVERY = 3
RECOVERY_BOUND_SECONDS = LEASE_SECONDS + 10
GIVE_UP_SECONDS = 1200
SUBMITTERS = 4


class Client:
    """Submits runs, again and again where the system does not answer; one ``Idempotency-Key`` makes one task."""

    def __init__(self, outputs: dict[str, Any], prefix: str, webhook_url: str) -> None:
        """Use the key that has no quota."""
        headers = {"Authorization": f"Bearer {outputs['api_keys']['load']}"}
        self.http = httpx2.Client(base_url=outputs["api_url"], headers=headers, timeout=30)
        self.prefix = prefix
        self.webhook_url = webhook_url
        self.ids: dict[str, str] = {}
        """Tasks by the key that the simulator counts them by."""
        self.in_order: list[str] = []

    def submit(self, n: int) -> None:
        """Submit run number ``n``; returns once it is accepted."""
        key = f"{self.prefix}-{n}"
        body = {
            "message": f"[[sim key={key} words=6 latency=0.05-0.4 {STEPS}]] run {n}",
            "agent": "tools",
            "session_id": key,
        }
        if n % HIGH_EVERY == 0:
            body["priority"] = "high"
        if n % WEBHOOK_EVERY == 0:
            body["webhook_url"] = self.webhook_url
        while True:
            try:
                answer = self.http.post("/agent", json=body, headers={"Idempotency-Key": key})
            except httpx2.HTTPError:
                time.sleep(0.5)  # the system is stopped or busy
                continue
            if answer.status_code == 202:
                self.ids[key] = answer.json()["task_id"]
                self.in_order.append(self.ids[key])
                return
            if answer.status_code < 500:
                raise SystemExit(f"a submit was refused: {answer.status_code} {answer.text}")
            time.sleep(0.5)


def await_end(table: str, ids: list[str]) -> None:
    """Wait until every task has ended or patience is over."""
    give_up = time.monotonic() + GIVE_UP_SECONDS
    live = set(ids)
    while live and time.monotonic() < give_up:
        with contextlib.suppress(BotoCoreError, ClientError):  # the local AWS is stopped: ask again
            live -= {task.task_id for task in rows(table, list(live)[:500]) if task.status.terminal}
        time.sleep(1)


def campaign(system: System, outputs: dict[str, Any], runs: int, kills: int, seed: int) -> tuple[dict[str, Any], bool]:
    """Run the campaign on a system that is up; returns the figures and whether every promise held."""
    sim = httpx2.Client(base_url=outputs["llm_url"].removesuffix("/v1") + "/_sim", timeout=30)
    sim.post("/config", json=FAULTS | {"seed": seed}).raise_for_status()
    with Receiver() as receiver:
        client = Client(outputs, f"chaos{seed}", receiver.url)
        inflictor = Inflictor(
            system, outputs, sim, random.Random(seed), kills, runs * CALLS_NEEDED, LEASE_SECONDS, client.in_order
        )
        done = threading.Event()
        inflicting = threading.Thread(target=inflictor.run, args=(done,))
        began = time.monotonic()
        inflicting.start()
        try:
            with ThreadPoolExecutor(SUBMITTERS) as pool:
                list(pool.map(client.submit, range(runs)))
            await_end(outputs["table"], client.in_order)
        finally:
            done.set()
            inflicting.join()
        took = time.monotonic() - began
        sim.post("/config", json={"fault_rate": 0, "outage": False}).raise_for_status()
        verdict = verify(client.ids, sim)
        hooks = _webhooks(receiver, client, runs)
    figures = {
        "seed": seed,
        "seconds": round(took),
        "parameters": PARAMETERS,
        "provider_faults": FAULTS,
        "inflicted": inflictor.counts(),
        "submitted": len(client.ids),
        **verdict.figures(),
        "model_calls_needed": runs * CALLS_NEEDED,
        "model_calls_made_to_needed_ratio": round(verdict.model_calls / (runs * CALLS_NEEDED), 3),
        "model_calls_completed_to_needed_ratio": round(verdict.calls_completed / (runs * CALLS_NEEDED), 4),
        **hooks,
        **recovery(inflictor.watch.victims, inflictor.events, RECOVERY_BOUND_SECONDS),
    }
    sim.close()
    return figures, not verdict.broken and not hooks["webhooks_lost"] and not hooks["webhooks_of_two_outcomes"]


def _webhooks(receiver: Receiver, client: Client, runs: int) -> dict[str, int]:
    """A webhook may arrive again, under the same id; each task has one id."""
    asked = {client.ids[f"{client.prefix}-{n}"] for n in range(0, runs, WEBHOOK_EVERY)}
    give_up = time.monotonic() + 120  # the sweeper sends what a killed worker could not
    while time.monotonic() < give_up:
        ids = {delivery.id for delivery in list(receiver.deliveries)}
        missing = sum(not any(one.startswith(f"msg_{task_id}_") for one in ids) for task_id in asked)
        if not missing:
            break
        time.sleep(1)
    return {
        "webhooks_asked": len(asked),
        "webhooks_delivered": len(receiver.deliveries),
        "webhooks_lost": missing,
        "webhooks_of_two_outcomes": len(ids) - len(asked) + missing,
    }


def main() -> int:
    """Start a system, run the campaign, print and judge it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--log", type=Path, help="where to keep the local AWS's log")
    asked = parser.parse_args()
    with own_system(PARAMETERS, keep_log=asked.log) as (system, outputs):
        result, good = campaign(system, outputs, asked.runs, asked.kills, asked.seed)
    print(json.dumps(result, indent=2))
    target = Path(__file__).parent / "results" / "chaos.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(result, indent=2) + "\n")
    if not good:
        print("a promise was broken", file=sys.stderr)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
