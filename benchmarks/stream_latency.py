"""How long an event takes from the worker to a watcher, on the running local stack.

Runs stream tokens to one real WebSocket client each. A token event's `at` is the moment the worker closed the batch, so
the latency holds the DynamoDB write (an event is pushed only once it is stored), the look for watchers and the push.
The floor is a bare `post_to_connection` from this process to a client on the same gateway, measured in between while
the same runs go on: what any push costs here, whatever stands before it. Exits non-zero above 50 ms (p50).

    make up && python -m benchmarks.stream_latency [--runs 20]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2

from benchmarks.sockets import Watcher, open_watcher
from localstack.environ import outputs, use
from shared.clock import epoch

if TYPE_CHECKING:
    from collections.abc import Callable

RUN_SECONDS = 5
MESSAGE = f"[[sim latency={RUN_SECONDS} words=100]] tell a story"
AT_ONCE = 2
"""Runs beside each other: latency is measured on a machine with room; `benchmarks.watchers` fills it."""
FLOOR_EVERY_SECONDS = 0.2
MOST_P50_MS = 50


async def floor(watcher: Watcher, connection: str, until: Callable[[], bool]) -> list[float]:
    """Post to a client of our own until told to stop; returns seconds from call to receipt."""
    from shared import watchers

    took: list[float] = []
    while not until():
        began = time.time()
        await asyncio.to_thread(watchers.push, connection, b'{"type":"floor"}')
        await watcher.socket.recv()
        took.append(time.time() - began)
        await asyncio.sleep(FLOOR_EVERY_SECONDS)
    return took


async def connection_of(http: httpx2.AsyncClient, ws_url: str) -> tuple[Watcher, str]:
    """Open a connection and find its id: the one that its subscription registered."""
    from shared import watchers

    watcher = await open_watcher(http, ws_url)
    submitted = (await http.post("/agent", json={"message": f"[[sim latency={RUN_SECONDS}]] x"})).json()
    await watcher.socket.send(json.dumps({"action": "subscribe", "task_id": submitted["task_id"], "after": 0}))
    connection = ""
    while not connection:
        connection = next(iter(await asyncio.to_thread(watchers.of, submitted["task_id"])), "")
        await asyncio.sleep(0.05)
    while json.loads(await watcher.socket.recv())["type"] != "complete":
        pass
    return watcher, connection


async def one_run(http: httpx2.AsyncClient, watcher: Watcher, n: int) -> list[tuple[float, str]]:
    """Watch one run; returns each live event's seconds to the client and its type."""
    answer = await http.post("/agent", json={"message": MESSAGE, "session_id": f"latency-{n}"})
    answer.raise_for_status()
    await asyncio.wait_for(watcher.follow(answer.json()["task_id"]), RUN_SECONDS + 60)
    subscribed = watcher.received[0][0] if watcher.received else 0.0
    # What happened before the replay began was not waiting for a push.
    return [(at - epoch(e["at"]), e["type"]) for at, e in watcher.received if epoch(e["at"]) > subscribed]


async def measure(found: dict[str, Any], runs: int) -> dict[str, Any]:
    """Run, watch and sum up."""
    from shared.limits.keys import create_key

    key = create_key(f"latency-{int(time.time())}", "load", "benchmark", limits={"running": AT_ONCE + 1})
    headers = {"Authorization": f"Bearer {key}"}
    seen: list[tuple[float, str]] = []
    done = 0
    async with httpx2.AsyncClient(base_url=found["api_url"], headers=headers, timeout=60) as http:
        plain, connection = await connection_of(http, found["ws_url"])
        watchers = [await open_watcher(http, found["ws_url"]) for _ in range(AT_ONCE)]

        async def column(watcher: Watcher) -> None:
            nonlocal done
            await one_run(http, watcher, 0)  # warms up
            for n in range(runs // AT_ONCE):
                seen.extend(await one_run(http, watcher, n))
            done += 1

        floors, *_ = await asyncio.gather(
            floor(plain, connection, lambda: done == AT_ONCE), *(column(watcher) for watcher in watchers)
        )
        for watcher in (plain, *watchers):
            await watcher.socket.close()
    tokens = [seconds for seconds, kind in seen if kind == "token"]
    everything = [seconds for seconds, _ in seen]
    p50 = {"token": ms(tokens, 50), "any_event": ms(everything, 50), "floor": ms(floors, 50)}
    p95 = {"token": ms(tokens, 95), "any_event": ms(everything, 95), "floor": ms(floors, 95)}
    return {
        "floor": "post_to_connection to a client on the same gateway, from this process, in between",
        "samples": {"token": len(tokens), "any_event": len(everything), "floor": len(floors)},
        "p50_ms": p50,
        "p95_ms": p95,
        "token_to_floor_p50_ratio": round(p50["token"] / p50["floor"], 2),
        "token_to_floor_p95_ratio": round(p95["token"] / p95["floor"], 2),
        "any_event_to_floor_p50_ratio": round(p50["any_event"] / p50["floor"], 2),
    }


def ms(values: list[float], percent: int) -> float:
    """Return a percentile in milliseconds."""
    return round(statistics.quantiles(values, n=100)[percent - 1] * 1000, 1)


def main() -> None:
    """Measure, print and judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    asked = parser.parse_args()
    found = outputs()
    use(found)
    result = asyncio.run(measure(found, asked.runs))
    print(json.dumps(result, indent=2))
    (Path(__file__).parent / "results" / "stream_latency.json").write_text(json.dumps(result, indent=2) + "\n")
    if result["p50_ms"]["token"] >= MOST_P50_MS:
        raise SystemExit(f"an event takes more than {MOST_P50_MS} ms to its watcher")


if __name__ == "__main__":
    main()
