"""A provider that is down for two minutes while 300 tasks wait: what it costs and what is left of them.

A system of its own with the default breaker (5 failures, 30 s) and retry parameters. The provider is down before the
tasks are submitted and comes back two minutes later. Every task must complete, none may reach a dead-letter queue, and
the calls made may exceed those needed by 5 % at most.

    python -m benchmarks.outage [--tasks 300] [--seconds 120]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2

from benchmarks.faults.own import own_system

GIVE_UP_SECONDS = 900
MOST_EXTRA = 0.05


def measure(outputs: dict[str, Any], tasks: int, seconds: float) -> dict[str, Any]:
    """Run the outage on a system that is up."""
    from shared.tasks import lanes, store

    sim = httpx2.Client(base_url=outputs["llm_url"].removesuffix("/v1") + "/_sim", timeout=10)
    headers = {"Authorization": f"Bearer {outputs['api_keys']['load']}"}
    client = httpx2.Client(base_url=outputs["api_url"], headers=headers, timeout=60)
    sim.post("/config", json={"outage": True}).raise_for_status()
    down_at = time.time()
    began = time.monotonic()

    def submit(n: int) -> str:
        body = {"message": f"[[sim key=outage-{n} latency=0.5 words=3]] {n}", "session_id": f"outage-{n}"}
        answer = client.post("/agent", json=body)
        answer.raise_for_status()
        return str(answer.json()["task_id"])

    with ThreadPoolExecutor(4) as pool:
        ids = list(pool.map(submit, range(tasks)))
    time.sleep(max(0.0, began + seconds - time.monotonic()))
    sim.post("/config", json={"outage": False}).raise_for_status()
    back = time.monotonic()
    live = set(ids)
    while live and time.monotonic() < back + GIVE_UP_SECONDS:
        live = {task_id for task_id in live if not store.get(task_id).status.terminal}
        time.sleep(1)
    rows = [store.get(task_id) for task_id in ids]
    calls = sim.get("/calls").json()["calls"]
    failed = [round(call["started"] - down_at, 1) for call in calls if not call["completed"]]
    dead = {lane: lanes.backlog(outputs["queues"][f"{lane}_dlq"]) for lane in ("high", "normal", "quarantine")}
    return {
        "tasks": tasks,
        "outage_s": seconds,
        "complete": sum(row.status == "complete" for row in rows),
        "failed": sum(row.status == "failed" for row in rows),
        "still_live": len(live),
        "in_dead_letter_queues": sum(sum(counts.values()) for counts in dead.values()),
        "deferrals": sum(row.deferrals for row in rows),
        "recovered_within_s": round(time.monotonic() - back, 1),
        "model_calls": len(calls),
        "model_calls_ratio": round(len(calls) / tasks, 4),
        "failed_calls_after_s": failed,
    }


def main() -> int:
    """Print and judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=120)
    asked = parser.parse_args()
    with own_system({}) as (_, outputs):
        result = measure(outputs, asked.tasks, asked.seconds)
    print(json.dumps(result, indent=2))
    (Path(__file__).parent / "results" / "outage.json").write_text(json.dumps(result, indent=2) + "\n")
    good = (
        result["complete"] == asked.tasks
        and result["in_dead_letter_queues"] == 0
        and result["model_calls_ratio"] <= 1 + MOST_EXTRA
    )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
