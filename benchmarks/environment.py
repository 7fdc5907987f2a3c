"""One worker environment as a plain process: processor time per run by part, memory by number of concurrent runs.

It takes the place of the emulator's environments on a local stack whose normal lane is paused: the same handler, given
batches of the size wanted. Started by `benchmarks.reference_work`; by itself:

    python -m benchmarks.environment 300 100      (300 runs, 100 at once, on a system of its own)
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import httpx2
import psutil

from deploy.paths import WORK

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parent.parent
BUILT = WORK / ".aws-sam" / "build"


class Meter:
    """Adds up calls and processor time by part. Only the thread that works is charged, not the one that waits."""

    def __init__(self) -> None:
        """Start at nought."""
        self.calls: Counter[str] = Counter()
        self.seconds: Counter[str] = Counter()

    def wrap(self, owner: Any, name: str, part: Callable[..., str]) -> None:
        """Charge every call of a method to the part that ``part`` makes of its arguments."""
        inner = getattr(owner, name)

        def measured(*args: Any, **kwargs: Any) -> Any:
            began = time.thread_time()
            try:
                return inner(*args, **kwargs)
            finally:
                label = part(*args, **kwargs)
                self.calls[label] += 1
                self.seconds[label] += time.thread_time() - began

        setattr(owner, name, measured)


def metered() -> Meter:
    """Put meters on everything that goes out."""
    from redis.client import Redis

    from functions.worker.model.sse import Assembler
    from shared import aws

    meter = Meter()
    for client in (aws.dynamodb(), aws.sqs()):
        meter.wrap(client, "_make_api_call", lambda operation, _arguments: f"AWS {operation}")
    meter.wrap(Redis, "execute_command", lambda _client, *words, **_: f"Redis {words[0]}")
    meter.wrap(Assembler, "feed", lambda *_: "model: reading the stream")
    return meter


def records(queue: str, wanted: int) -> list[dict[str, Any]]:
    """Take messages off the lane, as Lambda's poller does."""
    from shared import aws

    found: list[dict[str, Any]] = []
    give_up = time.monotonic() + 30
    while len(found) < wanted:
        if time.monotonic() > give_up:
            raise SystemExit(f"the lane has {len(found)} of {wanted} messages")
        answer: Any = aws.sqs().receive_message(
            QueueUrl=queue, MaxNumberOfMessages=min(10, wanted - len(found)), VisibilityTimeout=900
        )
        found += [
            {
                "messageId": message["MessageId"],
                "receiptHandle": message["ReceiptHandle"],
                "body": message["Body"],
                "attributes": {"ApproximateReceiveCount": "1"},
                "eventSourceARN": f"arn:aws:sqs:us-east-1:000000000000:{queue.rsplit('/', 1)[-1]}",
            }
            for message in answer.get("Messages", [])
        ]
    return found


def delete(queue: str, done: list[dict[str, Any]]) -> None:
    """Delete what the handler is done with, as the poller does."""
    from shared.tasks import lanes

    lanes.delete(queue, [record["receiptHandle"] for record in done])


def let_run() -> None:
    """Say that no lane is paused, as far as environments know: the emulator's poller is, but this one is to work."""
    from shared.limits.lane import Lanes

    Lanes().pause({})


def work(runs: int, at_once: int) -> dict[str, Any]:
    """Run batches of ``at_once``, the first of one run; returns what they used."""
    from functions.worker.handler import handler
    from shared.settings import settings

    queue = settings().queue_urls["normal"]
    context = SimpleNamespace(get_remaining_time_in_millis=lambda: 600_000)
    process = psutil.Process()
    idle_mb = 0.0
    for number in (1, at_once):  # the second: every thread and connection there is
        batch = records(queue, number)
        let_run()
        handler({"Records": batch}, context)
        idle_mb = idle_mb or process.memory_full_info().uss / 1e6
        delete(queue, batch)
    meter, spent = metered(), Meter()
    left, used, walls, peak_mb = runs, 0.0, [], 0.0
    while left:
        batch = records(queue, min(at_once, left))
        left -= len(batch)
        let_run()
        known = Counter(meter.seconds), Counter(meter.calls)
        before, began = sum(process.cpu_times()[:2]), time.monotonic()
        handler({"Records": batch}, context)
        used += sum(process.cpu_times()[:2]) - before
        _add(spent, meter, known)
        walls.append(time.monotonic() - began)
        peak_mb = max(peak_mb, process.memory_full_info().uss / 1e6)
        delete(queue, batch)
    if spent.calls["AWS SendMessage"] > runs / 2:
        raise SystemExit("the runs were given back, not run: their lane is paused")
    parts = {
        name: {"per_run": round(spent.calls[name] / runs, 3), "cpu_ms_per_run": round(seconds / runs * 1000, 3)}
        for name, seconds in spent.seconds.most_common()
    }
    known = sum(part["cpu_ms_per_run"] for part in parts.values())
    cpu_ms = used / runs * 1000
    parts["everything else: event loop, HTTP client, threads, logs"] = {
        "per_run": 1,
        "cpu_ms_per_run": round(cpu_ms - known, 3),
    }
    return {
        "runs": runs,
        "at_once": at_once,
        "cpu_ms_per_run": round(cpu_ms, 3),
        "batch_s": [round(wall, 2) for wall in walls],
        "one_run_mb": round(idle_mb, 1),
        "all_runs_mb": round(peak_mb, 1),
        "mb_per_additional_run": round((peak_mb - idle_mb) / max(1, at_once - 1), 3),
        "parts": parts,
    }


def _add(spent: Meter, meter: Meter, known: tuple[Counter[str], Counter[str]]) -> None:
    """Add what was metered since ``known``: only the handler counts, not the taking and deleting of messages."""
    for total, now, before in ((spent.seconds, meter.seconds, known[0]), (spent.calls, meter.calls, known[1])):
        for name in now:
            if now[name] > before[name]:
                total[name] += now[name] - before[name]


def measure(outputs: dict[str, Any], runs: int, at_once: int) -> dict[str, Any]:
    """Run ``work`` in a process of its own on a system that is up; ``runs + at_once + 1`` tasks must wait."""
    environment = {
        **os.environ,
        "OPENAI_BASE_URL": outputs["llm_url"],
        "OPENAI_API_KEY": "sk-local",
        "RUNS_PER_ENVIRONMENT": str(at_once),
        "POOL_PROFILE": "high",
        "REFILL_SECONDS": "0",  # it gets batches of the size that is measured
        "MALLOC_ARENA_MAX": "2",  # as template.yaml has it
        "STAGE": "local",
        "AWS_LAMBDA_FUNCTION_NAME": "worker",  # it starts as a function does
        "PYTHONPATH": f"{BUILT / 'WorkerFunction'}:{ROOT}",  # the packages as they are deployed
    }
    command = [sys.executable, "-m", "benchmarks.environment", "--here", str(runs), str(at_once)]
    done = subprocess.run(command, env=environment, cwd=ROOT, check=True, stdout=subprocess.PIPE)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def table(found: dict[str, Any]) -> str:
    """Lay the breakdown out."""
    lines = [f"{'part':<58}{'a run':>9}{'CPU ms a run':>15}"]
    lines += [f"{n:<58}{p['per_run']:>9}{p['cpu_ms_per_run']:>15}" for n, p in found["parts"].items()]
    return "\n".join([*lines, f"{'together':<58}{'':>9}{found['cpu_ms_per_run']:>15}"])


def main() -> None:
    """Run, here or on a system of its own."""
    if sys.argv[1] == "--here":
        print(json.dumps(work(int(sys.argv[2]), int(sys.argv[3]))))
        return
    from benchmarks.faults.own import own_system
    from benchmarks.reference import Sluice

    runs, at_once = int(sys.argv[1]), int(sys.argv[2])
    with own_system({}) as (_, outputs):
        sim = httpx2.Client(base_url=outputs["llm_url"].removesuffix("/v1") + "/_sim")
        sim.post("/config", json={"latency": 1}).raise_for_status()
        sluice = Sluice(outputs)
        sluice.pause()
        sluice.submit(runs + at_once + 1, "environment")
        found = measure(outputs, runs, at_once)
    print(table(found))
    print(json.dumps({name: value for name, value in found.items() if name != "parts"}, indent=2))


if __name__ == "__main__":
    main()
