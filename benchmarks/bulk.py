"""How long a batch keeps another user's single runs waiting, on the running local stack (`make bulk`).

User B submits one short run every half second: first alone, then while a batch of user A's works through its lines, by
the `openai` client's own `client.batches`. A's key has no running cap: what holds the lines back is only that they take
what others leave (`shared.bulk.room`). What counts of B's runs is the wait from submit to the first line, and the time
to the answer. All of it is one run on one machine, whose processor the lines use as well: on AWS each environment has
its own.

    make up && make bulk LINES=10000            (a line takes about 0.1 s; LINES=1000 by default)

Exits non-zero where B's wait at p95 grows by more than 0.5 s, or the files do not tell of every line once.
"""

from __future__ import annotations

import argparse
import json
import statistics
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import openai

from localstack.environ import outputs, use
from shared.clock import epoch
from shared.limits import keys

EVERY_SECONDS = 0.5
ALONE_SECONDS = 45.0
LINE_SECONDS = 3.0
"""How long a line's model call takes: the slots, not this machine's processor, are to be what is short."""
RUN_SECONDS = 0.2
WARM_UP = 10
TRIES = 30
AGAIN_SECONDS = 1.0
MOST_GROWTH_SECONDS = 0.5
ENDED = ("completed", "failed", "expired", "cancelled")


class Single:
    """A user who submits single runs and times them."""

    def __init__(self, api_url: str, key: str) -> None:
        """Talk to the API with the user's key."""
        self._http = httpx2.Client(base_url=api_url, headers={"Authorization": f"Bearer {key}"}, timeout=60)

    def once(self, n: int) -> tuple[float, float]:
        """Submit a run; returns the seconds to its first line, and to its answer."""
        began = time.time()
        body = {"message": f"[[sim latency={RUN_SECONDS} words=3]] {n}"}
        key = {"Idempotency-Key": f"{began}-{n}"}
        answer = self._asked("POST", "/agent", json=body, headers=key)
        while True:
            found = self._asked("GET", f"/result/{answer['task_id']}", params={"wait": 20})
            if found["status"] == "complete":
                return epoch(found["started_at"]) - epoch(found["created_at"]), time.time() - began
            if found["status"] in ("failed", "cancelled"):
                raise RuntimeError(f"a single run ended as {found}")

    def _asked(self, method: str, path: str, **more: Any) -> Any:
        """Ask as clients do: again after a moment when the machine is too busy to answer; the wait counts."""
        for _ in range(TRIES):
            answer = self._http.request(method, path, **more)
            if answer.status_code not in (429, 503):
                return answer.raise_for_status().json()
            time.sleep(AGAIN_SECONDS)
        return answer.raise_for_status().json()

    def during(self, goes_on: threading.Event, longest: float) -> list[tuple[float, float]]:
        """Submit at a steady pace until the event is set or the time is over; returns what `once` does of each."""
        until, began, n = time.monotonic() + longest, time.monotonic(), 0
        with ThreadPoolExecutor(64) as pool:
            waiting = []
            while time.monotonic() < until and not goes_on.is_set():
                waiting.append(pool.submit(self.once, n))
                n += 1
                time.sleep(max(0.0, began + n * EVERY_SECONDS - time.monotonic()))
            return [one.result() for one in waiting]


def run_batch(client: openai.OpenAI, lines: int) -> dict[str, Any]:
    """Work through so many lines; returns how it went."""
    body = {"model": "gpt-4o-mini", "input": f"[[sim latency={LINE_SECONDS} words=3]] hello"}
    rows = [
        json.dumps({"custom_id": f"line-{n}", "method": "POST", "url": "/v1/responses", "body": body})
        for n in range(lines)
    ]
    file = client.files.create(file=("lines.jsonl", "\n".join(rows).encode()), purpose="batch")
    began = time.monotonic()
    batch = client.batches.create(input_file_id=file.id, endpoint="/v1/responses", completion_window="24h")
    shown = 0
    while batch.status not in ENDED:
        time.sleep(1)
        batch = client.batches.retrieve(batch.id)
        counts = batch.request_counts
        if counts is not None and counts.completed + counts.failed >= shown + lines // 10:
            shown = counts.completed + counts.failed
            print(f"{time.monotonic() - began:6.0f} s  {shown} of {lines}", flush=True)
    seconds = time.monotonic() - began
    told: Counter[str] = Counter()
    for file_id in (batch.output_file_id, batch.error_file_id):
        if file_id:
            told.update(json.loads(one)["custom_id"] for one in client.files.content(file_id).text.splitlines())
    once = told == Counter(f"line-{n}" for n in range(lines))
    assert batch.request_counts is not None
    counts_of = batch.request_counts.to_dict()
    return {"status": batch.status, **counts_of, "batch_seconds": round(seconds, 1), "each_line_once": once}


def percentiles(values: list[float]) -> dict[str, float]:
    """Return p50 and p95 in seconds."""
    cuts = statistics.quantiles(values, n=100)
    return {"p50": round(cuts[49], 3), "p95": round(cuts[94], 3)}


def measure(lines: int, alone_seconds: float) -> dict[str, Any]:
    """Measure single runs alone, then beside a batch; returns the figures."""
    found = outputs()
    use(found)
    single = Single(found["api_url"], keys.create_key("bench-bulk", "load", name="bulk"))
    client = openai.OpenAI(base_url=found["openai_base_url"], api_key=found["api_keys"]["load"], max_retries=10)
    for n in range(WARM_UP):
        single.once(n)
    alone = single.during(threading.Event(), alone_seconds)
    over = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        beside = pool.submit(single.during, over, 7200)
        try:
            batch = run_batch(client, lines)
        finally:
            over.set()
        both = beside.result()
    figures: dict[str, Any] = {"lines": lines, "line_seconds": LINE_SECONDS, **batch}
    figures["lines_per_second"] = round(lines / batch["batch_seconds"], 2)
    for name, runs in (("alone", alone), ("beside", both)):
        figures[f"{name}_runs"] = len(runs)
        for what, values in (("wait", [one[0] for one in runs]), ("answer", [one[1] for one in runs])):
            figures |= {f"{name}_{what}_{p}_s": value for p, value in percentiles(values).items()}
    for what in ("wait", "answer"):
        growth = figures[f"beside_{what}_p95_s"] - figures[f"alone_{what}_p95_s"]
        figures[f"{what}_p95_growth_s"] = round(growth, 3)
    return figures


def main() -> None:
    """Measure, print, write and judge."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--lines", type=int, default=1_000)
    parser.add_argument("--alone", type=float, default=ALONE_SECONDS, help="seconds without the batch")
    asked = parser.parse_args()
    figures = measure(asked.lines, asked.alone)
    print(json.dumps(figures, indent=2))
    (Path(__file__).parent / "results" / "bulk.json").write_text(json.dumps(figures, indent=2) + "\n")
    if figures["wait_p95_growth_s"] > MOST_GROWTH_SECONDS or not figures["each_line_once"]:
        raise SystemExit("the batch keeps others waiting, or its files do not tell of every line once")


if __name__ == "__main__":
    main()
