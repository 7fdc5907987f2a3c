"""200 watchers on 50 runs at once, against the same 50 runs with nobody watching, on the running local stack.

Rounds alternate (none, watched, watched, none, ...), so that both meet the same machine. Watchers are real WebSocket
clients, four on each run. What counts is how long a run takes from start to end, and whether each watcher was told
every event of its run, once, in order. Exits non-zero if runs take 10 % longer or an event is missed or repeated.

    make up && python -m benchmarks.watchers [--rounds 4]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2

from benchmarks.sockets import Watcher, open_watcher
from localstack.environ import outputs, use

if TYPE_CHECKING:
    from shared.tasks.model import Task

RUNS = 50
WATCHERS = 200
RUN_SECONDS = 15
WORDS = 150
GIVE_UP_SECONDS = 120
MOST_RATIO = 1.10
MESSAGE = f"[[sim latency={RUN_SECONDS} words={WORDS}]] tell a story"


async def submit(http: httpx2.AsyncClient, runs: int) -> list[str]:
    """Submit runs, ten at a time."""
    room = asyncio.Semaphore(10)

    async def one(n: int) -> str:
        async with room:
            body = {"message": MESSAGE, "session_id": f"watched-{n}"}
            while (answer := await http.post("/agent", json=body)).status_code == 503:  # noqa: ASYNC110 - as long as the loaded machine says
                await asyncio.sleep(float(answer.headers["Retry-After"]))
            answer.raise_for_status()
            return str(answer.json()["task_id"])

    return await asyncio.gather(*(one(n) for n in range(runs)))


def ended(task_ids: list[str]) -> list[Task]:
    """Wait until all have ended. Read from the table: long polls would hold one API environment each."""
    from shared.tasks import store

    time.sleep(RUN_SECONDS)
    give_up = time.monotonic() + GIVE_UP_SECONDS
    tasks: list[Task] = []
    for task_id in task_ids:
        while not (task := store.get(task_id)).status.terminal:
            if time.monotonic() > give_up:
                raise SystemExit(f"{task_id} is still {task.status}")
            time.sleep(1)
        tasks.append(task)
    return tasks


def judge(task_ids: list[str], watchers: list[Watcher]) -> dict[str, int]:
    """Compare what watchers were told with the log."""
    from shared.tasks import events

    found = {"events": 0, "missed": 0, "repeated": 0, "out_of_order": 0}
    logs = {task_id: [event.seq for event in events.read(task_id, 0).events] for task_id in task_ids}
    for n, watcher in enumerate(watchers):
        log, told = logs[task_ids[n % len(task_ids)]], watcher.numbers()
        found["events"] += len(told)
        found["missed"] += len(set(log) - set(told))
        found["repeated"] += len(told) - len(set(told))
        found["out_of_order"] += sum(b < a for a, b in pairwise(told))
    return found


async def one_round(http: httpx2.AsyncClient, ws_url: str, *, watched: bool) -> tuple[list[float], dict[str, int]]:
    """Do the runs once; returns how long each took and what watchers were told."""
    watchers: list[Watcher] = []
    if watched:
        for _ in range(WATCHERS // 10):
            watchers += await asyncio.gather(*(open_watcher(http, ws_url) for _ in range(10)))
    task_ids = await submit(http, RUNS)
    following = [asyncio.create_task(w.follow(task_ids[n % RUNS])) for n, w in enumerate(watchers)]
    tasks = await asyncio.to_thread(ended, task_ids)
    if following:
        await asyncio.wait(following, timeout=30)  # who misses the end counts as missing it
        for follower in following:
            follower.cancel()
        await asyncio.gather(*(watcher.socket.close() for watcher in watchers))
    told = await asyncio.to_thread(judge, task_ids, watchers)
    if any(task.status != "complete" or task.crashes for task in tasks):
        raise SystemExit(f"runs went wrong: {[str(task.status) for task in tasks]}")
    return [(task.ended_at or 0) - (task.started_at or 0) for task in tasks], told


async def measure(found: dict[str, Any], rounds: int) -> dict[str, Any]:
    """Alternate rounds and sum them up."""
    from shared.limits.keys import create_key

    key = create_key(f"watchers-{int(time.time())}", "load", "benchmark", limits={"running": RUNS})
    times: dict[bool, list[float]] = {False: [], True: []}
    told = {"events": 0, "missed": 0, "repeated": 0, "out_of_order": 0}
    limits = httpx2.Limits(max_connections=20)
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx2.AsyncClient(base_url=found["api_url"], headers=headers, timeout=60, limits=limits) as http:
        await one_round(http, found["ws_url"], watched=True)  # starts the environments
        for n in range(rounds):
            watched = n % 4 in (1, 2)
            took, round_told = await one_round(http, found["ws_url"], watched=watched)
            times[watched] += took
            told = {name: told[name] + round_told[name] for name in told}
            print(f"{'watched' if watched else 'none':8} p50 {statistics.median(took):.3f} s {round_told}", flush=True)
    none, watched_times = times[False], times[True]
    return {
        "runs": RUNS,
        "watchers": WATCHERS,
        "rounds": rounds,
        "run_time_ratio": round(statistics.mean(watched_times) / statistics.mean(none), 4),
        "run_time_p95_ratio": round(p95(watched_times) / p95(none), 4),
        "run_s_mean": {"none": round(statistics.mean(none), 3), "watched": round(statistics.mean(watched_times), 3)},
        "run_s_p95": {"none": round(p95(none), 3), "watched": round(p95(watched_times), 3)},
        **{f"events_{name}" if name != "events" else "events_received": count for name, count in told.items()},
    }


def p95(values: list[float]) -> float:
    """Return the 95th percentile."""
    return statistics.quantiles(values, n=20)[18]


def main() -> None:
    """Measure, print and judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=4, help="a multiple of 4, so that both halves see the same drift")
    asked = parser.parse_args()
    found = outputs()
    use(found)
    result = asyncio.run(measure(found, asked.rounds))
    print(json.dumps(result, indent=2))
    (Path(__file__).parent / "results" / "watchers.json").write_text(json.dumps(result, indent=2) + "\n")
    if result["run_time_ratio"] >= MOST_RATIO or result["events_missed"] or result["events_repeated"]:
        raise SystemExit("watching costs runs too much, or a watcher missed or repeated an event")


if __name__ == "__main__":
    main()
