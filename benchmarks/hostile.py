"""What a hostile user's runs cost the others, on the running local system (`make hostile`).

Each case lets one owner do its worst while another submits a short run every so often; what counts is how much longer
the other takes at p95 than in an empty system. Written: `benchmarks/results/hostile.json`.
"""

from __future__ import annotations

import argparse
import json
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2

from localstack.environ import outputs, use

MOST_ADDED_S = 1.0


class Client:
    """One key."""

    def __init__(self, api_url: str, key: str) -> None:
        """Talk to the API with it."""
        self.http = httpx2.Client(base_url=api_url, headers={"Authorization": f"Bearer {key}"}, timeout=60)

    def submit(self, message: str, **more: Any) -> httpx2.Response:
        """POST /agent."""
        return self.http.post("/agent", json={"message": message, **more})

    def took(self, message: str = "[[sim latency=0.2 words=1]] quick") -> float:
        """Submit a short run and return the seconds until it had ended; refusals count with the wait they ask for."""
        began = time.monotonic()
        while (answer := self.submit(message)).status_code == 429:
            time.sleep(float(answer.headers.get("Retry-After", 5)))
        answer.raise_for_status()
        task_id = answer.json()["task_id"]
        while self.http.get(f"/result/{task_id}").json()["status"] not in ("complete", "failed", "cancelled"):
            time.sleep(0.1)
        return time.monotonic() - began


def p95(values: list[float]) -> float:
    """Return the 95th percentile, the nearest value above."""
    return sorted(values)[math.ceil(0.95 * len(values)) - 1]


def measured(other: Client, times: int, every_s: float) -> list[float]:
    """Let the other submit so many runs, one every so often."""
    found: list[float] = []
    for _ in range(times):
        began = time.monotonic()
        found.append(other.took())
        time.sleep(max(0.0, every_s - (time.monotonic() - began)))
    return found


def streams(hostile: Client, stop: threading.Event) -> None:
    """A1, A1b: ten long answers that stream steadily."""
    for n in range(10):
        hostile.submit(f"[[sim latency=40 words=800]] a very long story {n}", max_output_tokens=16000)
    stop.wait()


def polls(hostile: Client, stop: threading.Event) -> None:
    """A2: long polls without end, five at a time."""
    task_id = hostile.submit("[[sim latency=60 words=1]] x").json()["task_id"]

    def poll() -> None:
        while not stop.is_set():
            answer = hostile.http.get(f"/result/{task_id}", params={"wait": 25})
            stop.wait(float(answer.headers.get("Retry-After", 0)))

    with ThreadPoolExecutor(8) as pool:
        for _ in range(8):
            pool.submit(poll)


def slots(hostile: Client, stop: threading.Event) -> None:
    """A3: a service fills every slot with long runs of many steps."""
    for n in range(30):
        hostile.submit("[[sim latency=2 words=2 tools=calculator]] x", agent="tools", user_id=f"u{n % 3}")
    stop.wait()


def invented(hostile: Client, stop: threading.Event) -> None:
    """A4, A5: a new user for every submit, as fast as it goes."""
    n = 0
    while not stop.is_set():
        n += 1
        hostile.submit("[[sim latency=0.2 words=1]] x", user_id=f"invented-{n}")


CASES: dict[str, tuple[str, Callable[[Client, threading.Event], None]]] = {
    "A1 streams": ("demo", streams),
    "A2 held polls": ("demo", polls),
    "A3 every slot": ("service", slots),
    "A4/A5 invented users": ("service", invented),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--every", type=float, default=1.5)
    asked = parser.parse_args()
    from shared.limits.keys import create_key

    found = outputs()
    use(found)
    stamp = int(time.time())
    loose = {"requests": 0, "tokens_per_day": 0, "usd_per_day": 0}
    keys = {
        "demo": create_key(f"hostile-{stamp}", "standard", "make hostile", limits=loose),
        "service": create_key(f"hostile-svc-{stamp}", "service", "make hostile", limits=loose),
    }
    other = Client(found["api_url"], create_key(f"other-{stamp}", "standard", "make hostile", limits=loose))
    measured(other, 3, 0)
    empty = measured(other, asked.runs, asked.every)
    result: dict[str, Any] = {"others_p95_empty_s": round(p95(empty), 3), "cases": {}}
    for name, (who, act) in CASES.items():
        stop = threading.Event()
        thread = threading.Thread(target=act, args=(Client(found["api_url"], keys[who]), stop), daemon=True)
        thread.start()
        time.sleep(5)
        waits = measured(other, asked.runs, asked.every)
        stop.set()
        thread.join(40)
        added = p95(waits) - p95(empty)
        result["cases"][name] = {"others_p95_s": round(p95(waits), 3), "added_s": round(added, 3)}
        print(name, result["cases"][name], flush=True)
    target = Path(__file__).parent / "results" / "hostile.json"
    target.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))
    late = [name for name, case in result["cases"].items() if case["added_s"] > MOST_ADDED_S]
    if late:
        raise SystemExit(f"the others wait more than {MOST_ADDED_S} s longer: {', '.join(late)}")


if __name__ == "__main__":
    main()
