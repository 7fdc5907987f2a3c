"""Does an environment's memory grow with what it has served? The API over 50,000 requests, a worker over 20,000 runs.

The functions' own handlers, each in a process of its own, against a system of the benchmark's own on loopback. The API
gets submits, results, lists, events and limits of fifty users, bad input, wrong keys and somebody else's tasks; the
worker takes batches of ten chats off a lane that nobody else reads, from a model without latency. What only this
process holds (USS) is read after a warm-up of a tenth of the requests or runs and then nine times more, each time
after a collection and once the allocator gave free pages back; beside it, how many small objects there are (Python's
allocated blocks). The exit code is not 0 if the median step between readings comes to more than `MOST_MB` per 10,000:
what each request leaves behind raises every step. The line through all readings is told, not judged: Python takes and
returns memory by the megabyte, and a worker's readings lie on two levels, 3 MB apart, and go up and down.

    python -m benchmarks.leaks [--requests 50000] [--runs 20000]
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import itertools
import json
import multiprocessing
import os
import statistics
import sys
import time
import uuid
from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import psutil

from benchmarks import environment
from benchmarks.faults.own import own_system
from benchmarks.reference import Sluice
from shared.clock import day
from shared.limits.keys import PREFIX, create_key
from shared.tasks import lanes, store
from shared.tasks.model import Task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection

PARAMETERS = {"IngressRate": "0", "GlobalQueueLimit": "0"}
READINGS = 10
MOST_MB = 0.5
"""Growth per 10,000 that still counts as flat, MB: 2 MB over 40,000 requests. An object of 100 bytes that each request
left behind would come to 1 MB."""
USERS = 50
BATCH = 10
CONTEXT = SimpleNamespace(get_remaining_time_in_millis=lambda: 600_000, aws_request_id="leaks")
MESSAGE = "[[sim latency=0 words=12]] hello"


def event(method: str, path: str, key: str | None, body: Any = None, query: str = "") -> dict[str, Any]:
    """Return what API Gateway would hand to the API's function."""
    http = {"method": method, "path": path, "sourceIp": "127.0.0.1", "protocol": "HTTP/1.1", "userAgent": "leaks"}
    headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
    return {
        "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": query, "headers": headers,
        "requestContext": {"http": http, "stage": "$default", "requestId": uuid.uuid4().hex, "timeEpoch": 0},
        "isBase64Encoded": False, "body": None if body is None else json.dumps(body),
    }  # fmt: skip


def requests(keys: list[str], made: deque[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield requests in turn, each with the status due. ``made`` are the newest tasks, each with its owner's key."""
    for n in itertools.count():
        key = keys[n % len(keys)]
        submit = {"message": f"{MESSAGE} {n}", "session_id": f"s{n % 200}", "metadata": {"n": str(n)}}
        yield 202, event("POST", "/agent", key, submit)
        yield 202, event("POST", "/agent", key, submit | {"agent": "tools", "max_output_tokens": 50})
        task_id, owner = made[n % len(made)].split()
        stranger = keys[(keys.index(owner) + 1) % len(keys)]
        for _ in range(3):
            yield 200, event("GET", f"/result/{task_id}", owner)
        yield 200, event("GET", f"/result/{task_id}/events", owner, query="after=0")
        yield 200, event("GET", "/agent", key, query="limit=20")
        yield 200, event("GET", "/limits", key)
        yield 404, event("GET", f"/result/{task_id}", stranger)
        yield 422, event("POST", "/agent", key, {"message": "", "surplus": n})
        yield 422, event("GET", "/agent", key, query=f"limit={1000 + n}")
        yield 401, event("GET", "/limits", PREFIX + f"{n % 100:043d}")
        yield 401, event("GET", "/limits", None)


def serve(keys: list[str]) -> Callable[[int], None]:
    """Import the API; returns what answers so many requests."""
    from functions.api.app import handler

    made: deque[str] = deque(maxlen=500)
    stream = requests(keys, made)

    def some(number: int) -> None:
        for status, asked in itertools.islice(stream, number):
            answer = handler(asked, CONTEXT)
            if answer["statusCode"] != status:
                raise SystemExit(f"{asked['rawPath']} answered {answer} and not {status}")
            if status == 202:
                made.append(json.loads(answer["body"])["task_id"] + " " + asked["headers"]["authorization"][7:])

    return some


def work(_: list[str]) -> Callable[[int], None]:
    """Import the worker; returns what does so many runs that wait in the lane."""
    from functions.worker.handler import handler
    from shared.settings import settings

    queue = settings().queue_urls["normal"]

    def some(number: int) -> None:
        for _ in range(number // BATCH):
            batch = environment.records(queue, BATCH)
            handler({"Records": batch}, CONTEXT)
            environment.delete(queue, batch)

    return some


def process(pipe: Connection, name: str, keys: list[str]) -> None:
    """Do as much as the pipe says, and answer with megabytes, blocks and what became more. Logs go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    some = {"api": serve, "worker": work}[name](keys)
    known: Counter[str] = Counter()
    while number := pipe.recv():
        some(number)
        gc.collect()
        if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):  # glibc's
            trim(0)
        mb = psutil.Process().memory_full_info().uss / 1e6
        blocks = sys.getallocatedblocks()
        counts = Counter(type(one).__qualname__ for one in gc.get_objects())
        pipe.send((mb, blocks, (counts - known).most_common(4)))
        known = counts


def fill(number: int) -> None:
    """Put runs into the lane, past the API."""
    at = time.time()

    def one(n: int) -> None:
        task = Task(
            task_id=f"task_{uuid.uuid4().hex}", user=f"leaks-{n % USERS}", lane="normal", agent="chat", tier="load",
            model="gpt-4o-mini", created=at, day=day(at), reserved_tokens=9_000, reserved_micro_usd=9_000,
            session_id=f"s{n % 200}",
        )  # fmt: skip
        store.submit(task, MESSAGE)
        lanes.send(task.lane, task.task_id, task.gen, user=task.user)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(one, range(number)))


def watch(name: str, number: int, keys: list[str]) -> dict[str, Any]:
    """Have a process do so much in tenths; returns its memory after each and how that rises."""
    step = max(BATCH, number // READINGS // BATCH * BATCH)
    spawning = multiprocessing.get_context("spawn")
    ours, its = spawning.Pipe()
    child = spawning.Process(target=process, args=(its, name, keys), daemon=True)
    child.start()
    its.close()
    began, readings, blocks = time.monotonic(), [], []
    for n in range(1, READINGS + 1):
        if name == "worker":
            fill(step)
        ours.send(step)
        mb, alive, more = ours.recv()
        readings.append(round(mb, 2))
        blocks.append(alive)
        print(f"{name:<8}{n * step:>8,}{mb:>9.2f} MB{alive:>10,} blocks   more: {more}", flush=True)
    ours.send(0)
    child.join()
    return {
        "counted": step * READINGS, "warm_up": step, "mb": readings, "blocks": blocks,
        **judged(step, readings), "seconds": round(time.monotonic() - began),
    }  # fmt: skip


def judged(step: int, readings: list[float]) -> dict[str, Any]:
    """Say how readings rise that lie `step` requests apart."""
    done = [n * step for n in range(len(readings))]
    rise = statistics.median(after - before for before, after in itertools.pairwise(readings)) / step * 10_000
    return {
        "grew_mb": round(readings[-1] - readings[0], 2),
        "mb_per_10000": round(rise, 3),
        "line_mb_per_10000": round(statistics.linear_regression(done, readings).slope * 10_000, 3),
        "flat": rise <= MOST_MB,
    }


def main() -> int:
    """Watch both, print, keep and judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=50_000)
    parser.add_argument("--runs", type=int, default=20_000)
    asked = parser.parse_args()
    with own_system(PARAMETERS) as (_, outputs):
        os.environ |= {
            "OPENAI_BASE_URL": outputs["llm_url"], "OPENAI_API_KEY": "sk-local", "STAGE": "local",
            "AWS_LAMBDA_FUNCTION_NAME": "leaks", "REFILL_SECONDS": "0", "INGRESS_RATE": "0", "GLOBAL_QUEUE_LIMIT": "0",
        }  # fmt: skip
        Sluice(outputs).pause()
        keys = [create_key(f"leaks-{n}", "load", "benchmark") for n in range(USERS)]
        # The worker first: what the API is sent stays in the lane.
        found = {"worker": watch("worker", asked.runs, keys), "api": watch("api", asked.requests, keys)}
    good = all(each["flat"] for each in found.values())
    text = json.dumps({**found, "most_mb_per_10000": MOST_MB, "flat": good}, indent=2)
    (Path(__file__).parent / "results" / "leaks.json").write_text(text + "\n")
    print(text)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
