"""200 event streams at once on 50 runs, against the same 50 runs with nobody watching, on the running local stack.

Rounds alternate (none, streamed, streamed, none, ...), so that both meet the same machine. Four real clients follow
each run to its end; what they were sent is kept as it came and compared with the log afterwards. What counts is how
long a run takes from start to end. Exits non-zero if runs take 5 % longer, or if a client has not what the log has.

Written: ``benchmarks/results/sse_streams.json``.

    make up && python -m benchmarks.sse_streams [--rounds 4] [--runs 50] [--streams 200]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import time
from pathlib import Path
from typing import Any

import httpx2

from benchmarks.sse_reader import Reader
from benchmarks.watchers import ended, p95, submit
from localstack.environ import outputs, use

MOST_RATIO = 1.05


async def kept(http: httpx2.AsyncClient, task_id: str) -> bytes:
    """Return all that one stream of a run says; one that is turned away or ended for another's sake is an error."""
    pieces: list[bytes] = []
    async with http.stream("GET", f"/result/{task_id}/stream") as answer:
        answer.raise_for_status()
        async for piece in answer.aiter_raw():
            pieces.append(piece)
    return b"".join(pieces)


def understood(http: httpx2.AsyncClient, task_id: str, said: bytes) -> Reader:
    """Put together what a stream said."""
    reader = Reader(http, task_id)
    for block in said.decode().split("\n\n")[:-1]:
        lines = [line for line in block.split("\n") if not line.startswith(":")]
        reader.take({name: value for name, _, value in (line.partition(": ") for line in lines)})
    return reader


def judge(http: httpx2.AsyncClient, said: list[tuple[str, bytes]]) -> dict[str, int]:
    """Compare what clients were sent with the log."""
    from shared.tasks import events

    found = {"streams": len(said), "messages": 0, "differ_from_the_log": 0}
    logs: dict[str, list[dict[str, Any]]] = {}
    for task_id, text in said:
        if task_id not in logs:
            logs[task_id] = [event.public() for event in events.read(task_id, 0).events]
        reader = understood(http, task_id, text)
        found["messages"] += len(reader.log) + reader.parts
        found["differ_from_the_log"] += reader.log != logs[task_id] or reader.end != "complete"
    return found


async def one_round(
    http: httpx2.AsyncClient, live: httpx2.AsyncClient, runs: int, streams: int
) -> tuple[list[float], dict[str, int]]:
    """Do the runs once, with so many streams; returns how long each run took and what the streams said."""
    task_ids = await submit(http, runs)
    following = [asyncio.create_task(kept(live, task_ids[n % runs])) for n in range(streams)]
    tasks = await asyncio.to_thread(ended, task_ids)
    texts = await asyncio.gather(*following)
    if any(task.status != "complete" or task.crashes for task in tasks):
        raise SystemExit(f"runs went wrong: {[str(task.status) for task in tasks]}")
    said = [(task_ids[n % runs], text) for n, text in enumerate(texts)]
    told = await asyncio.to_thread(judge, live, said)
    return [(task.ended_at or 0) - (task.started_at or 0) for task in tasks], told


async def measure(found: dict[str, Any], rounds: int, runs: int, streams: int) -> dict[str, Any]:
    """Alternate rounds and sum them up."""
    from shared.limits.keys import create_key

    key = create_key(f"streams-{int(time.time())}", "load", "benchmark", limits={"running": runs})
    times: dict[bool, list[float]] = {False: [], True: []}
    totals = {"streams": 0, "messages": 0, "differ_from_the_log": 0}
    headers = {"Authorization": f"Bearer {key}"}
    limits = httpx2.Limits(max_connections=20)
    async with (
        httpx2.AsyncClient(base_url=found["api_url"], headers=headers, timeout=60, limits=limits) as http,
        httpx2.AsyncClient(
            base_url=found["stream_url"], headers=headers, timeout=120, limits=httpx2.Limits(max_connections=None)
        ) as live,
    ):
        await one_round(http, live, runs, streams)  # starts the environments
        for n in range(rounds):
            streamed = n % 4 in (1, 2)
            took, told = await one_round(http, live, runs, streams if streamed else 0)
            times[streamed] += took
            totals = {name: totals[name] + told[name] for name in totals}
            print(f"{'streamed' if streamed else 'none':8} p50 {statistics.median(took):.3f} s {told}", flush=True)
    none, streamed_times = times[False], times[True]
    return {
        "runs": runs,
        "streams_at_once": streams,
        "rounds": rounds,
        "run_time_ratio": round(statistics.mean(streamed_times) / statistics.mean(none), 4),
        "run_time_p95_ratio": round(p95(streamed_times) / p95(none), 4),
        "run_s_mean": {"none": round(statistics.mean(none), 3), "streamed": round(statistics.mean(streamed_times), 3)},
        "run_s_p95": {"none": round(p95(none), 3), "streamed": round(p95(streamed_times), 3)},
        **totals,
        "load_average": round(os.getloadavg()[0], 1),
    }


def main() -> None:
    """Measure, print and judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=4, help="a multiple of 4, so that both halves see the same drift")
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--streams", type=int, default=200)
    asked = parser.parse_args()
    found = outputs()
    use(found)
    result = asyncio.run(measure(found, asked.rounds, asked.runs, asked.streams))
    print(json.dumps(result, indent=2))
    (Path(__file__).parent / "results" / "sse_streams.json").write_text(json.dumps(result, indent=2) + "\n")
    if result["differ_from_the_log"]:
        raise SystemExit("a client has not what the log has")
    if result["run_time_ratio"] > MOST_RATIO:
        raise SystemExit("streams cost runs too much")


if __name__ == "__main__":
    main()
