"""How long one flooding user delays the others, on the running local stack (`make fairness`).

User A submits 500 runs at once; users B to K submit one each every two seconds, meanwhile and in an empty system
before. What counts is the wait from submit to the run's first line. The quota is lifted by keys of the `load` tier
with a running cap of their own: the cap is what keeps the flood from filling the lanes.

A second case is about runs of ten minutes: user L, whom no running cap holds, has more of them than the lane has slots,
each of eight model calls of 75 s (``--call-seconds``). No slot comes free by itself while the others are measured: each
of theirs is given back by one of L's runs when it begins its next call, and that is how long they may wait.

    make up && make fairness            (about seven minutes)
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import boto3
import httpx2

from benchmarks.hostile_cases import calls
from localstack.deployment import STACK
from localstack.environ import outputs, use
from shared.limits.lane import HAND_S

RUN_SECONDS = 1.0
OTHERS = 10
EVERY_SECONDS = 2.0
LONG_CALL_SECONDS = 75.0
LONG_CALLS = 8
MORE_THAN_SLOTS = 10
"""How many long runs wait when every slot is taken."""
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

    def submit_long(self, call_seconds: float) -> str:
        """Submit one run of `LONG_CALLS` calls."""
        return self._submit({"message": calls(call_seconds), "agent": "tools"})

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
            answer = self.http.get(f"/result/{task_id}", params={"wait": 20})
            if answer.status_code in (429, 503):  # as many as may be are held, or a service is away
                time.sleep(float(answer.headers["Retry-After"]))
                continue
            answer.raise_for_status()
            found = answer.json()
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


def lane_slots() -> int:
    """Return how many runs the deployed stack's normal lane holds at once."""
    shown = boto3.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"][0]["Parameters"]
    given = {one["ParameterKey"]: one["ParameterValue"] for one in shown}
    return int(given["NormalConcurrency"]) * int(given["RunsPerEnvironment"])


def beside_long_runs(long: Client, others: list[Client], seconds: float, *, runs: int, call: float) -> dict[str, Any]:
    """Fill every slot with one owner's long runs and measure the others' waits; the long runs are cancelled then."""
    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(lambda _: long.submit_long(call), range(runs)))
    time.sleep(call)  # environments start, and the runs are spread over their calls
    found = waits(others_submit(others, seconds))
    shown = Counter(long.http.get(f"/result/{task_id}").json()["status"] for task_id in ids)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(long.cancel, ids))
    return {
        "runs": runs,
        "run_s": LONG_CALLS * call,
        "call_s": call,
        "when_measured": dict(shown),
        "others_p50_s": round(statistics.median(found), 3),
        "others_p95_s": round(p95(found), 3),
        "others_longest_s": round(max(found), 3),
    }


def p95(values: list[float]) -> float:
    """Return the 95th percentile."""
    return statistics.quantiles(values, n=20)[18]


def beside_a_flood(flooder: Client, others: list[Client], flood: int, seconds: float) -> dict[str, Any]:
    """Measure the others' waits in an empty system, and while one user's ``flood`` of runs is worked off."""
    empty = waits(others_submit(others, seconds))
    began = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        flood_ids = list(pool.map(flooder.submit, range(flood)))
    flood_took = time.monotonic() - began
    flooded = waits(others_submit(others, seconds))
    still_open = flooder.http.get(f"/result/{flood_ids[-1]}").json()["status"] == "queued"
    flood_waits = waits([(flooder, task_id) for task_id in flood_ids])
    return {
        "flood": flood,
        "flood_submitted_s": round(flood_took, 1),
        "flood_still_waiting_when_measured": still_open,
        "running_cap": RUNNING_CAP,
        "others": {"users": OTHERS, "runs_empty": len(empty), "runs_flooded": len(flooded)},
        "others_p95_empty_s": round(p95(empty), 3),
        "others_p95_flooded_s": round(p95(flooded), 3),
        "others_p95_added_s": round(p95(flooded) - p95(empty), 3),
        "flooder_p95_s": round(p95(flood_waits), 1),
        "flooder_to_others_wait_ratio": round(p95(flood_waits) / max(p95(flooded), 0.001), 1),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flood", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--call-seconds", type=float, default=LONG_CALL_SECONDS)
    parser.add_argument("--only-long", action="store_true", help="the second case alone; its part of the results")
    asked = parser.parse_args()
    from shared.limits.keys import create_key

    found = outputs()
    use(found)
    stamp = int(time.time())
    limits = {"running": RUNNING_CAP}

    def user(name: str, **more: int) -> Client:
        key = create_key(f"fair-{name}-{stamp}", "load", "make fairness", limits=limits | more)
        return Client(found["api_url"], key)

    others = [user(f"b{n}") for n in range(OTHERS)]
    waits([(client, client.submit(0)) for client in others])  # warm up
    target = Path(__file__).parent / "results" / "fairness.json"
    result: dict[str, Any] = json.loads(target.read_text()) if asked.only_long else {}
    if not asked.only_long:
        result |= beside_a_flood(user("a"), others, asked.flood, asked.seconds)
    runs = lane_slots() + MORE_THAN_SLOTS
    long = user("l", running=2 * runs, queued=2 * runs)
    result["long_runs"] = beside_long_runs(long, others, asked.seconds, runs=runs, call=asked.call_seconds)
    print(json.dumps(result, indent=2))
    target.write_text(json.dumps(result, indent=2) + "\n")
    if result["others_p95_added_s"] > 3:
        raise SystemExit("the others wait more than 3 s longer than in an empty system")
    beside = result["long_runs"]
    if beside["others_p95_s"] > asked.call_seconds + 1 or beside["others_longest_s"] > asked.call_seconds + HAND_S:
        raise SystemExit("beside long runs, the others wait longer than one model call and a moment")


if __name__ == "__main__":
    main()
