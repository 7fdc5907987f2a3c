"""How soon text reaches a client by server-sent events, and how soon a cut stream goes on, on the local stack.

*First text*: from when the provider (the model simulator) sends the first of its text to when the client has some.
What lies between is the worker, which stores it first, the message and the front. *Resume*: a client's connection is
cut, and it comes again after a moment with the place where it was; from its request, or from when the event happened if
that was later, to its first message. And, apart from what happens next in the run, *missed*: another connection asks
for what is stored already; from its request to the first message. The floor is a bare streaming function of one chunk
behind the same kind of front, asked in between: what an answer that streams costs here, whatever it says.

Exits non-zero above 50 ms (p50) or 150 ms (p95) of first text, or above 100 ms (p50) of a resume
or of what was missed.

Written: ``benchmarks/results/sse_latency.json``.

    make up && python -m benchmarks.sse_latency [--runs 100] [--cuts 3]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2

from benchmarks.bare_streaming import bare_function, first_bytes
from benchmarks.sse_reader import Reader
from benchmarks.stream_latency import ms
from localstack.environ import outputs, use
from shared.clock import epoch

if TYPE_CHECKING:
    from benchmarks.sse_reader import Resumed

MESSAGE = "[[sim key={key} latency={seconds} words={words} ttft=0.5]] tell a story"
WORDS_PER_SECOND = 20
SIDE_BY_SIDE = 2
BETWEEN_CUTS = 0.5
"""Seconds of a run that a cut takes: a few messages, and the client's pause."""
MESSAGES = 4
PAUSE_S = 0.1
MOST_P50_MS, MOST_P95_MS = 50, 150
MOST_RESUME_P50_MS = 100


class Samples:
    """What was measured."""

    def __init__(self) -> None:
        """Start empty."""
        self.from_provider: list[float] = []
        self.from_worker: list[float] = []
        self.resumed: list[Resumed] = []
        self.missed: list[float] = []


async def sample(http: httpx2.AsyncClient, sim: httpx2.AsyncClient, runs: int, cuts: int) -> Samples:
    """Follow runs, two beside each other, and cut each so many times after its first text."""
    found, stamp, chance = Samples(), int(time.time()), random.Random(7)
    seconds = 1.0 + cuts * BETWEEN_CUTS

    async def one(key: str) -> None:
        text = MESSAGE.format(key=key, seconds=seconds, words=round((seconds - 0.5) * WORDS_PER_SECOND))
        answer = (await http.post("/agent", json={"message": text})).raise_for_status()
        reader = Reader(http, answer.json()["task_id"])
        while cuts and not reader.first_text:
            await reader.read(2)
        if cuts:
            found.missed.append(await missed(http, reader.task_id))
        for _ in range(cuts):
            await asyncio.sleep(chance.uniform(0, 2 * PAUSE_S))
            if await reader.read(chance.randint(1, MESSAGES)):
                break
        while reader.end is None:
            await reader.read()
        first = next(event for event in reader.log if event["type"] == "token")
        calls = (await sim.get("/calls", params={"key": key})).json()["calls"]
        found.from_worker.append(reader.first_text - epoch(first["at"]))
        found.from_provider.append(reader.first_text - min(call["first_sent"] for call in calls))
        found.resumed += reader.resumed

    async def column(part: int) -> None:
        for n in range(runs // SIDE_BY_SIDE):
            await one(f"sse-{stamp}-{part}-{n}")

    await asyncio.gather(*(column(part) for part in range(SIDE_BY_SIDE)))
    return found


async def missed(http: httpx2.AsyncClient, task_id: str) -> float:
    """Ask for what comes behind a run's first event, which is stored by then; returns how long its message takes, s."""
    asked = time.monotonic()
    async with http.stream("GET", f"/result/{task_id}/stream", headers={"Last-Event-ID": "1"}) as answer:
        async for line in answer.raise_for_status().aiter_lines():
            if line.startswith("data:"):
                return time.monotonic() - asked
    raise SystemExit(f"{task_id} has no message behind its first event")


async def measure(found: dict[str, Any], bare: str, runs: int, cuts: int) -> dict[str, Any]:
    """Measure first texts on runs that are not cut, then resumes on others, and the floor beside both."""
    headers = {"Authorization": f"Bearer {found['api_keys']['load']}"}
    limits = httpx2.Limits(max_connections=None)
    over = asyncio.Event()
    async with (
        httpx2.AsyncClient(base_url=found["stream_url"], headers=headers, timeout=120, limits=limits) as http,
        httpx2.AsyncClient(base_url=found["llm_url"].removesuffix("/v1") + "/_sim") as sim,
    ):
        await sample(http, sim, SIDE_BY_SIDE, 1)  # warms up
        floor = asyncio.create_task(first_bytes(bare, over))
        first = await sample(http, sim, runs, 0)
        cut = await sample(http, sim, max(SIDE_BY_SIDE, runs // max(1, cuts)), cuts)
        resumed = cut.resumed
        over.set()
        floor_s = await floor
    late = [each.late for each in resumed if each.late is not None]
    return {
        "samples": {
            "first_text": len(first.from_provider),
            "resume": len(late),
            "missed": len(cut.missed),
            "bare": len(floor_s),
        },
        "first_text_after_the_providers_ms": spread(first.from_provider),
        "first_text_after_the_worker_has_it_ms": spread(first.from_worker),
        "resume_to_first_byte_ms": spread([each.first_byte for each in resumed]),
        "resume_to_missed_message_ms": spread(cut.missed),
        "resume_to_message_ms": spread(late),
        "resume_to_message_silence_included_ms": spread([each.message for each in resumed]),
        "bare_streaming_function_ms": spread(floor_s),
        "load_average": round(os.getloadavg()[0], 1),
    }


def spread(seconds: list[float]) -> dict[str, float]:
    """Return a figure's median and 95th percentile, ms."""
    return {"p50": ms(seconds, 50), "p95": ms(seconds, 95)}


def main() -> None:
    """Measure, print and judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100, help="samples of first text, and about as many resumes")
    parser.add_argument("--cuts", type=int, default=3, help="of each run that is cut")
    asked = parser.parse_args()
    found = outputs()
    use(found)
    with bare_function(Path(found["state_dir"])) as bare:
        result = asyncio.run(measure(found, bare, asked.runs, asked.cuts))
    print(json.dumps(result, indent=2))
    (Path(__file__).parent / "results" / "sse_latency.json").write_text(json.dumps(result, indent=2) + "\n")
    first = result["first_text_after_the_providers_ms"]
    resumed = max(result[f"resume_to_{what}_ms"]["p50"] for what in ("message", "missed_message"))
    if first["p50"] > MOST_P50_MS or first["p95"] > MOST_P95_MS:
        raise SystemExit(f"first text later than {MOST_P50_MS} ms (p50) or {MOST_P95_MS} ms (p95)")
    if resumed > MOST_RESUME_P50_MS:
        raise SystemExit(f"a stream goes on later than {MOST_RESUME_P50_MS} ms after its client is back (p50)")


if __name__ == "__main__":
    main()
