"""Cuts streams at random events while workers are killed; what each client has at its end must equal the log.

Many runs are followed at once on the running local stack, each by one client whose connection is cut again and again
after a few messages, until the wanted number of cuts is reached. Meanwhile worker environments get SIGKILL, so that
runs are taken over and text that was streamed becomes void. Exits non-zero if one client's events differ from the log.

    make up PARAMS="LeaseSeconds=6 HeartbeatSeconds=2" && python -m benchmarks.sse_cuts [--runs 200] [--cuts 10000]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import statistics
import time
from pathlib import Path
from typing import Any

import httpx2

from benchmarks.faults.inflict import worker_processes
from benchmarks.sse_reader import Reader
from localstack.environ import outputs, use
from localstack.system import System

MESSAGE = "[[sim latency={seconds} words=200 ttft=0.2]] tell a story"
RUN_SECONDS = 5
AT_ONCE = 4
"""Runs followed at the same time. As on Lambda nothing tells the function that a client has left: the stream of every
cut goes on to its run's end, and holds a place."""
MOST_MESSAGES = 4
"""Messages between two cuts, at most."""


async def campaign(found: dict[str, Any], runs: int, cuts: int, kill_every: float) -> dict[str, Any]:
    """Follow, cut and kill; returns what happened."""
    chance = random.Random(11)
    headers = {"Authorization": f"Bearer {found['api_keys']['load']}"}
    limits = httpx2.Limits(max_connections=None)
    readers: list[Reader] = []
    gate = asyncio.Semaphore(AT_ONCE)
    over = asyncio.Event()
    async with httpx2.AsyncClient(base_url=found["stream_url"], headers=headers, timeout=60, limits=limits) as http:

        async def one() -> None:
            async with gate:
                body = {"message": MESSAGE.format(seconds=RUN_SECONDS)}
                answer = await http.post("/agent", json=body)
                answer.raise_for_status()
                reader = Reader(http, answer.json()["task_id"])
                readers.append(reader)
                while reader.end is None:
                    enough = sum(each.cuts for each in readers) >= cuts
                    await reader.read(float("inf") if enough else chance.randint(1, MOST_MESSAGES))

        killing = asyncio.create_task(_kill(kill_every, over, chance))
        await asyncio.gather(*(one() for _ in range(runs)))
        over.set()
        killed = await killing
        wrong = []
        for reader in readers:
            events = (await http.get(f"/result/{reader.task_id}/events")).json()["events"]
            if reader.log != events:
                wrong.append(reader.task_id)
    resumed = [seconds for reader in readers for seconds in reader.resumed]
    kinds = [event["type"] for reader in readers for event in reader.log]
    return {
        "runs": runs,
        "cuts": sum(reader.cuts for reader in readers),
        "workers_killed": killed,
        "takeovers": kinds.count("resumed"),
        "parts_before_they_were_stored": sum(reader.parts for reader in readers),
        "complete": sum((reader.end or {}).get("status") == "complete" for reader in readers),
        "differ_from_the_log": wrong,
        "first_message_after_a_cut_ms": {
            "p50": round(statistics.median(resumed) * 1000, 1),
            "p95": round(statistics.quantiles(resumed, n=20)[18] * 1000, 1),
        },
    }


async def _kill(every: float, over: asyncio.Event, chance: random.Random) -> int:
    killed = 0
    while not over.is_set():
        try:
            await asyncio.wait_for(over.wait(), every)
        except TimeoutError:
            environments = list((await asyncio.to_thread(worker_processes, System())).values())
            if environments:
                chance.choice(environments).send_signal(signal.SIGKILL)
                killed += 1
    return killed


def main() -> None:
    """Run the campaign, print and judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--cuts", type=int, default=10_000)
    parser.add_argument("--kill-every", type=float, default=20)
    asked = parser.parse_args()
    found = outputs()
    use(found)
    began = time.monotonic()
    result = asyncio.run(campaign(found, asked.runs, asked.cuts, asked.kill_every))
    result["seconds"] = round(time.monotonic() - began)
    print(json.dumps(result, indent=2))
    (Path(__file__).parent / "results" / "sse_cuts.json").write_text(json.dumps(result, indent=2) + "\n")
    if result["differ_from_the_log"]:
        raise SystemExit("a client has not what the log has")


if __name__ == "__main__":
    main()
