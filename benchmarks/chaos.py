"""The fault campaign: thousands of runs while everything that can fail does. `make chaos`, about five minutes.

It starts a system of its own, with times shortened by deploy parameters so that a campaign fits into minutes: lease 6 s
(60 by default), heartbeat 2 s (20), retry base 1 s (30), breaker open 3 s (30), model call 3 s at most (60). Retries
(12 instead of 3) and crashes (20 instead of 5) are generous: with a fifth of all calls failing, one step in 625 fails
four times in a row by chance alone, and would rightly end its run as failed. The question here is another: whether a
run is lost, ends twice, or does again what it had finished. The exit code says so. Chances are drawn from ``--seed``.

A fifth of the runs wait for a time or for signals, are approved, or have children (`benchmarks.faults.kinds`); each of
these is to be woken once, every child to be counted once, and no tree to pass its ceiling. A fifth of the provider's
faults are habits of real providers, and each is to be met as is right for it (`benchmarks.faults.habits`).

    python -m benchmarks.chaos [--runs 2000] [--kills 50] [--seed 1] [--habit-every 5] [--out FILE]

With a habit in every third run, 820 runs meet all that there are.
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

from benchmarks.faults.answerer import Answerer
from benchmarks.faults.branches import children_of, judge
from benchmarks.faults.inflict import Inflictor
from benchmarks.faults.kinds import HABIT_EVERY, Run, runs
from benchmarks.faults.own import own_system
from benchmarks.faults.verify import calls_of, recovery, verify
from benchmarks.faults.watch import rows
from localstack.receiver import Receiver
from shared.webhooks import WAITING

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
PROJECT = Path(__file__).parent / "faults" / "project"
WEBHOOK_EVERY = 20
HIGH_EVERY = 3
RECOVERY_BOUND_SECONDS = LEASE_SECONDS + 10
GIVE_UP_SECONDS = 1200
SUBMITTERS = 4


class Client:
    """Submits runs, again and again where the system does not answer; one ``Idempotency-Key`` makes one task."""

    def __init__(self, outputs: dict[str, Any], webhook_url: str) -> None:
        """Use the key that has no quota."""
        headers = {"Authorization": f"Bearer {outputs['api_keys']['load']}"}
        self.http = httpx2.Client(base_url=outputs["api_url"], headers=headers, timeout=30)
        self.webhook_url = webhook_url
        self.answerer = Answerer(self.http, outputs["table"])
        self.runs: dict[str, Run] = {}
        """By task."""
        self.in_order: list[str] = []

    def submit(self, run: Run) -> None:
        """Submit a run; returns once it is accepted."""
        key = run.key
        body = run.body() | {"session_id": key}
        if run.n % HIGH_EVERY == 0:
            body["priority"] = "high"
        if run.n % WEBHOOK_EVERY == 0:
            body["webhook_url"] = self.webhook_url
        while True:
            try:
                answer = self.http.post("/agent", json=body, headers={"Idempotency-Key": key})
            except httpx2.HTTPError:
                time.sleep(0.5)  # the system is stopped or busy
                continue
            if answer.status_code == 202:
                task_id = answer.json()["task_id"]
                self.runs[task_id] = run
                self.in_order.append(task_id)
                self.answerer.add(task_id, run)
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


def campaign(
    system: System, outputs: dict[str, Any], size: int, kills: int, seed: int, habit_every: int = HABIT_EVERY
) -> tuple[dict[str, Any], bool]:
    """Run the campaign on a system that is up; returns the figures and whether every promise held."""
    sim = httpx2.Client(base_url=outputs["llm_url"].removesuffix("/v1") + "/_sim", timeout=30)
    sim.post("/config", json=FAULTS | {"seed": seed}).raise_for_status()
    planned = runs(size, f"chaos{seed}", random.Random(seed), habit_every)
    needed = sum(run.calls for run in planned)
    with Receiver() as receiver:
        client = Client(outputs, receiver.url)
        chance = random.Random(seed)
        inflictor = Inflictor(system, outputs, sim, chance, kills, needed, LEASE_SECONDS, client.in_order)
        done = threading.Event()
        beside = [threading.Thread(target=one, args=(done,)) for one in (inflictor.run, client.answerer.run)]
        began = time.monotonic()
        for thread in beside:
            thread.start()
        try:
            with ThreadPoolExecutor(SUBMITTERS) as pool:
                list(pool.map(client.submit, planned))
            await_end(outputs["table"], client.in_order)
            children = children_of(client.runs)
            await_end(outputs["table"], list(children.values()))
        finally:
            done.set()
            for thread in beside:
                thread.join()
        took = time.monotonic() - began
        sim.post("/config", json={"fault_rate": 0, "outage": False}).raise_for_status()
        ids = {run.key: task_id for task_id, run in client.runs.items()} | children
        verdict = verify(ids, sim)
        branches = judge(client.runs, calls_of(sim, ids))
        hooks = _webhooks(receiver, client)
    made = verdict.totals["calls"]
    figures = {
        "seed": seed,
        "seconds": round(took),
        "parameters": PARAMETERS,
        "provider_faults": FAULTS,
        "inflicted": inflictor.counts(),
        "submitted": len(client.runs),
        **verdict.figures(),
        "model_calls_needed": made,
        "model_calls_made_to_needed_ratio": round(verdict.model_calls / made, 3),
        "model_calls_completed_to_needed_ratio": round(verdict.calls_completed / made, 4),
        **hooks,
        **recovery(inflictor.watch.victims, inflictor.events, RECOVERY_BOUND_SECONDS),
        **branches.figures(),
        "answers": client.answerer.figures(),
    }
    sim.close()
    lost = hooks["webhooks_lost"] or hooks["webhooks_of_two_outcomes"]
    return figures, not (verdict.broken or branches.wrong or lost or client.answerer.refused)


def _webhooks(receiver: Receiver, client: Client) -> dict[str, int]:
    """A webhook may arrive again, under the same id; each task's end has one id. Those of waits are others."""
    asked = {task_id for task_id, run in client.runs.items() if run.n % WEBHOOK_EVERY == 0}
    give_up = time.monotonic() + 120  # the sweeper sends what a killed worker could not
    while time.monotonic() < give_up:
        told = [delivery for delivery in list(receiver.deliveries) if delivery.type != WAITING]
        ids = {delivery.id for delivery in told}
        missing = sum(not any(one.startswith(f"msg_{task_id}_") for one in ids) for task_id in asked)
        if not missing:
            break
        time.sleep(1)
    return {
        "webhooks_asked": len(asked),
        "webhooks_delivered": len(told),
        "webhooks_lost": missing,
        "webhooks_of_two_outcomes": len(ids) - len(asked) + missing,
    }


def main() -> int:
    """Start a system, run the campaign, print and judge it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--habit-every", type=int, default=HABIT_EVERY, help="one run in so many meets a habit")
    parser.add_argument("--log", type=Path, help="where to keep the local AWS's log")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "chaos.json")
    asked = parser.parse_args()
    with own_system(PARAMETERS, keep_log=asked.log, project=PROJECT) as (system, outputs):
        result, good = campaign(system, outputs, asked.runs, asked.kills, asked.seed, asked.habit_every)
    print(json.dumps(result, indent=2))
    asked.out.write_text(json.dumps(result, indent=2) + "\n")
    if not good:
        print("a promise was broken", file=sys.stderr)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
