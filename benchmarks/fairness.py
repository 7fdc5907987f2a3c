"""How long one flooding user delays the others, on the running local stack (`make fairness`).

User A submits 500 runs at once; users B to K submit one each every two seconds, meanwhile and in an empty system
before. What counts is the wait from submit to the run's first line. The quota is lifted by keys of the `load` tier
with a running cap of their own: the cap is what keeps the flood from filling the lanes.

A second case is about runs of ten minutes, a tenth as long here: user L, whom no running cap holds, has more of them
than the lane has slots, each of eight model calls. No slot comes free by itself while the others are measured: each of
theirs is given back by one of L's runs when it begins its next call, and that is how long they may wait.

    make up && make fairness            (about four minutes)
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx2

from benchmarks.hostile_cases import calls
from localstack.environ import outputs, use

RUN_SECONDS = 1.0
OTHERS = 10
EVERY_SECONDS = 2.0
LONG_CALL_SECONDS = 7.5
LONG_RUNS = 70
"""More than the local stack's normal lane has slots (6 environments of 10)."""
RUNNING_CAP = 10
"""Running tasks of one user at most: half of one environment's runs at the local stack's size."""


class Client:
    """One user."""

    def __init__(self, api_url: str, key: str) -> None:
        """Talk to the API with the user's key."""
        self.http = httpx2.Client(base_url=api_url, headers={"Authorization": f"Bearer {key}"}, timeout=60)

    def submit(self, n: int) -> str:
        """Submit one run of `RUN_SECONDS`."""
        return self._submit({"message": f"[[sim latency={RUN_SECONDS} words=3]] {n}", "session_id": f"fair-{n}"})

    def submit_long(self, _: int) -> str:
        """Submit one run of eight calls of `LONG_CALL_SECONDS`."""
        return self._submit({"message": calls(LONG_CALL_SECONDS), "agent": "tools"})

    def cancel(self, task_id: str) -> None:
        """End a run."""
        self.http.post(f"/agent/{task_id}/cancel").raise_for_status()

    def _submit(self, body: dict[str, Any]) -> str:
        answer = self.http.post("/agent", json=body)
        answer.raise_for_status()
        return str(answer.json()["task_id"])

    def wait_of(self, task_id: str) -> float:
        """Return the seconds from submit to the run's first line, once it has ended."""
        while True:
            found = self.http.get(f"/result/{task_id}", params={"wait": 20}).json()
            if found["status"] == "complete":
                return _epoch(found["started_at"]) - _epoch(found["created_at"])
            if found["status"] in ("failed", "cancelled"):
                raise SystemExit(f"{task_id} is {found['status']}: {found.get('error')}")


def _epoch(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def others_submit(clients: list[Client], seconds: float) -> list[tuple[Client, str]]:
    """Let each of the others submit one run every two seconds, spread evenly."""
    submitted: list[tuple[Client, str]] = []
    began = time.monotonic()
    n = 0
    while time.monotonic() - began < seconds:
        due = began + n * EVERY_SECONDS / len(clients)
        time.sleep(max(0.0, due - time.monotonic()))
        client = clients[n % len(clients)]
        submitted.append((client, client.submit(n)))
        n += 1
    return submitted


def waits(submitted: list[tuple[Client, str]]) -> list[float]:
    """Return the waits of submitted runs."""
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(lambda pair: pair[0].wait_of(pair[1]), submitted))


def beside_long_runs(long: Client, others: list[Client], seconds: float) -> dict[str, Any]:
    """Fill every slot with one owner's long runs and measure the others' waits; the long runs are cancelled then."""
    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(long.submit_long, range(LONG_RUNS)))
    time.sleep(LONG_CALL_SECONDS)  # environments start, and the runs are spread over their calls
    found = waits(others_submit(others, seconds))
    shown = [long.http.get(f"/result/{task_id}").json()["status"] for task_id in ids]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(long.cancel, ids))
    return {
        "runs": LONG_RUNS,
        "run_s": 8 * LONG_CALL_SECONDS,
        "call_s": LONG_CALL_SECONDS,
        "still_open_when_measured": sum(status in ("queued", "processing") for status in shown),
        "others_p50_s": round(statistics.median(found), 3),
        "others_p95_s": round(p95(found), 3),
    }


def p95(values: list[float]) -> float:
    """Return the 95th percentile."""
    return statistics.quantiles(values, n=20)[18]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flood", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=30)
    asked = parser.parse_args()
    from shared.limits.keys import create_key

    found = outputs()
    use(found)
    stamp = int(time.time())
    limits = {"running": RUNNING_CAP}

    def user(name: str, **more: int) -> Client:
        key = create_key(f"fair-{name}-{stamp}", "load", "make fairness", limits=limits | more)
        return Client(found["api_url"], key)

    flooder, others = user("a"), [user(f"b{n}") for n in range(OTHERS)]
    waits([(client, client.submit(0)) for client in others])  # warm up
    empty = waits(others_submit(others, asked.seconds))
    began = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        flood_ids = list(pool.map(flooder.submit, range(asked.flood)))
    flood_took = time.monotonic() - began
    flooded = waits(others_submit(others, asked.seconds))
    still_open = sum(
        1 for task_id in flood_ids[-1:] if flooder.http.get(f"/result/{task_id}").json()["status"] == "queued"
    )
    flood_waits = waits([(flooder, task_id) for task_id in flood_ids])
    result: dict[str, Any] = {
        "flood": asked.flood,
        "flood_submitted_s": round(flood_took, 1),
        "flood_still_waiting_when_measured": bool(still_open),
        "running_cap": RUNNING_CAP,
        "others": {"users": OTHERS, "runs_empty": len(empty), "runs_flooded": len(flooded)},
        "others_p95_empty_s": round(p95(empty), 3),
        "others_p95_flooded_s": round(p95(flooded), 3),
        "others_p95_added_s": round(p95(flooded) - p95(empty), 3),
        "flooder_p95_s": round(p95(flood_waits), 1),
        "flooder_to_others_wait_ratio": round(p95(flood_waits) / max(p95(flooded), 0.001), 1),
    }
    result["long_runs"] = beside_long_runs(user("l", running=2 * LONG_RUNS), others, asked.seconds)
    print(json.dumps(result, indent=2))
    target = Path(__file__).parent / "results" / "fairness.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(result, indent=2) + "\n")
    if result["others_p95_added_s"] > 3:
        raise SystemExit("the others wait more than 3 s longer than in an empty system")
    if result["long_runs"]["others_p95_s"] > LONG_CALL_SECONDS + 1:
        raise SystemExit("beside long runs, the others wait longer than one model call and a second")


if __name__ == "__main__":
    main()
