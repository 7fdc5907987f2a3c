"""How soon the first text reaches a client by server-sent events, beside a bare streaming function, on the local stack.

A token event's `at` is the moment the worker took the text to store it, at once for the first of a call. Measured is
from there to the client: the write, the message, the front. The floor is a request to a bare function of one chunk
behind the same kind of front, in between: what an answer that streams costs here, whatever it says. With
``--at-once 200`` it also runs 200 streams beside each other, and as many runs unwatched, for what watching costs.
Exits non-zero above 50 ms (p50) or 150 ms (p95).

    make up && python -m benchmarks.sse_latency [--runs 40] [--at-once 0]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx2

from benchmarks.sse_reader import Reader
from benchmarks.stream_latency import ms
from localstack.environ import ROOT, outputs, use
from localstack.processes import answers, minimal_environment
from shared.clock import epoch

MESSAGE = "[[sim latency=3 words=60 ttft=0.5]] tell a story"
SIDE_BY_SIDE = 2
MOST_P50_MS, MOST_P95_MS = 50, 150
BARE_PORT = 5149


async def first_texts(http: httpx2.AsyncClient, runs: int) -> list[float]:
    """Return each run's seconds from the worker's first text to the client."""
    took: list[float] = []

    async def column() -> None:
        for _ in range(runs // SIDE_BY_SIDE):
            answer = await http.post("/agent", json={"message": MESSAGE})
            reader = Reader(http, answer.json()["task_id"])
            await reader.read()
            first = next(event for event in reader.log if event["type"] == "token")
            took.append(reader.first_text - epoch(first["at"]))

    await asyncio.gather(*(column() for _ in range(SIDE_BY_SIDE)))
    return took


async def floor(until: asyncio.Event) -> list[float]:
    """Return the seconds that a bare streaming function's first chunk takes, now and then."""
    took: list[float] = []
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{BARE_PORT}", timeout=30) as http:
        while not until.is_set():
            began = time.monotonic()
            async with http.stream("POST", "/echo", content=b"x", headers={"x-sent": "y"}) as answer:
                async for _ in answer.aiter_bytes():
                    break
            took.append(time.monotonic() - began)
            await asyncio.sleep(0.2)
    return took


async def many(http: httpx2.AsyncClient, count: int, *, watched: bool) -> float:
    """Run so many at once, each streamed to a client or none; returns the median run's seconds."""
    tasks = []
    for _ in range(count):
        answer = await http.post("/agent", json={"message": "[[sim latency=20 words=200 ttft=0.5]] tell a story"})
        tasks.append(answer.json()["task_id"])
    if watched:
        await asyncio.gather(*(Reader(http, task_id).read() for task_id in tasks))
    ran = []
    for task_id in tasks:
        while not (found := (await http.get(f"/result/{task_id}?wait=20")).json()).get("ended_at"):
            pass
        ran.append(epoch(found["ended_at"]) - epoch(found["started_at"]))
    return statistics.median(ran)


async def measure(found: dict[str, Any], runs: int, at_once: int) -> dict[str, Any]:
    """Measure all of it."""
    headers = {"Authorization": f"Bearer {found['api_keys']['load']}"}
    limits = httpx2.Limits(max_connections=None)
    over = asyncio.Event()
    async with httpx2.AsyncClient(base_url=found["stream_url"], headers=headers, timeout=120, limits=limits) as http:
        await first_texts(http, SIDE_BY_SIDE)  # warms up
        floors = asyncio.create_task(floor(over))
        took = await first_texts(http, runs)
        over.set()
        floor_s = await floors
        result: dict[str, Any] = {
            "samples": len(took),
            "first_text_ms": {"p50": ms(took, 50), "p95": ms(took, 95)},
            "bare_streaming_function_ms": {"p50": ms(floor_s, 50), "p95": ms(floor_s, 95)},
        }
        if at_once:
            alone = await many(http, at_once, watched=False)
            watched = await many(http, at_once, watched=True)
            result["at_once"] = {
                "streams": at_once,
                "median_run_s": {"unwatched": round(alone, 2), "streamed": round(watched, 2)},
                "run_time_ratio": round(watched / alone, 3),
            }
    return result


def bare(folder: Path) -> subprocess.Popen[bytes]:
    """Start the bare function behind a front of its own."""
    config = {
        "port": BARE_PORT,
        "command": [sys.executable, "-m", "tests.unit.api.streaming_app"],
        "processes": 1,
        "at_once": 4,
        "seconds": 60,
        "variables": minimal_environment(PYTHONPATH=str(ROOT)),
    }
    path = folder / "bare-streaming.json"
    path.write_text(json.dumps(config))
    process = subprocess.Popen([sys.executable, "-m", "localstack.front", str(path)], cwd=ROOT)
    give_up = time.monotonic() + 20
    while not answers(f"http://127.0.0.1:{BARE_PORT}/_front/health", well=True):
        if time.monotonic() > give_up:
            raise SystemExit("the bare function does not start")
        time.sleep(0.1)
    return process


def main() -> None:
    """Measure, print and judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--at-once", type=int, default=0)
    asked = parser.parse_args()
    found = outputs()
    use(found)
    process = bare(Path(found["state_dir"]))
    try:
        result = asyncio.run(measure(found, asked.runs, asked.at_once))
    finally:
        process.terminate()
        process.wait()
    print(json.dumps(result, indent=2))
    (Path(__file__).parent / "results" / "sse_latency.json").write_text(json.dumps(result, indent=2) + "\n")
    if result["first_text_ms"]["p50"] > MOST_P50_MS or result["first_text_ms"]["p95"] > MOST_P95_MS:
        raise SystemExit(f"first text later than {MOST_P50_MS} ms (p50) or {MOST_P95_MS} ms (p95)")


if __name__ == "__main__":
    main()
