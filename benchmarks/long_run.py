"""A run more than three times as long as its function's timeout, on a system of its own.

Near the end of an invocation a run records where it is, sends itself a new message and goes on in another one. No
model call is started that might not end in time, so none is made twice. The function's timeout is set to 15 s, model
calls take 6 s each, and the run makes eight of them. Exits non-zero if it fails, counts an attempt or repeats a call.

    python -m benchmarks.long_run
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import httpx2

from benchmarks.faults.own import own_system

TIMEOUT_SECONDS = 15
PARAMETERS = {
    "WorkerTimeoutSeconds": str(TIMEOUT_SECONDS),
    "ModelTimeoutSeconds": "7",
    "LeaseSeconds": "6",
    "HeartbeatSeconds": "2",
}
CALLS = 8
CALL_SECONDS = 6
GIVE_UP_SECONDS = 300


def measure(outputs: dict[str, Any]) -> dict[str, Any]:
    """Run one long run on a system that is up."""
    from shared.tasks import store

    sim = httpx2.Client(base_url=outputs["llm_url"].removesuffix("/v1") + "/_sim", timeout=10)
    headers = {"Authorization": f"Bearer {outputs['api_keys']['load']}"}
    client = httpx2.Client(base_url=outputs["api_url"], headers=headers, timeout=60)
    message = f"[[sim key=long latency={CALL_SECONDS} words=5 tool=calculator rounds={CALLS - 1}]] think long"
    task_id = client.post("/agent", json={"message": message, "agent": "tools"}).json()["task_id"]
    for _ in range(GIVE_UP_SECONDS // 20):
        if client.get(f"/result/{task_id}", params={"wait": 20}).json()["status"] in ("complete", "failed"):
            break
    task = store.get(task_id)
    calls = sim.get("/calls", params={"key": "long"}).json()["calls"]
    made = Counter(call["request"] for call in calls)
    for used in (sim, client):
        used.close()
    ran = (task.ended_at or 0) - (task.started_at or 0)
    return {
        "function_timeout_s": TIMEOUT_SECONDS,
        "run_s": round(ran, 1),
        "run_to_timeout_ratio": round(ran / TIMEOUT_SECONDS, 2),
        "status": str(task.status),
        "continuations": task.continuations,
        "attempts": task.attempt,
        "crashes": task.crashes,
        "model_calls": len(calls),
        "model_calls_needed": CALLS,
        "model_calls_made_twice": sum(n > 1 for n in made.values()),
    }


def main() -> int:
    """Print and judge."""
    with own_system(PARAMETERS) as (_, outputs):
        result = measure(outputs)
    print(json.dumps(result, indent=2))
    (Path(__file__).parent / "results" / "long_run.json").write_text(json.dumps(result, indent=2) + "\n")
    good = (
        result["status"] == "complete"
        and result["model_calls"] == CALLS
        and result["attempts"] == result["crashes"] == 0
        and result["run_to_timeout_ratio"] >= 3
    )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
