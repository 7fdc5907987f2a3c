"""Cuts streams at random events while workers are killed; what each client has at its end must equal the log.

A local system of its own is started (`make cuts`). Two clients follow each run: both read its events, or, of every
fourth run, one reads it as a response of OpenAI's. Their connections are cut again and again, after a few messages or
in the middle of one, and taken up where they were. A stream ends by itself after two seconds, too: nothing tells the
function that a client has left, so that is how long the stream of a cut goes on. Meanwhile worker environments that
hold runs get SIGKILL, so that runs are taken over and text that was streamed becomes void.

What a client of events has must equal the log, and what one of responses has must equal what an undisturbed client is
given afterwards. Exits non-zero if one differs, if a run is not complete, or if there were too few cuts in the time.
A bare streaming function is asked beside it; how soon streams go on without such a load, `benchmarks.sse_latency` says.

Written: ``benchmarks/results/sse_cuts.json``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2

from benchmarks.bare_streaming import bare_function, first_bytes
from benchmarks.faults.inflict import holders, worker_processes
from benchmarks.faults.own import own_system
from benchmarks.sse_reader import Client, Reader, ResponsesReader
from benchmarks.stream_latency import ms

if TYPE_CHECKING:
    from collections.abc import Callable

    from localstack.system import System

PARAMETERS = {
    "LeaseSeconds": "6",
    "HeartbeatSeconds": "2",
    "StreamSeconds": "2",
    "MaxCrashes": "20",  # a run may be hit by more kills than a real one ever is
    "QuarantineAfter": "3",
}
MESSAGE = "[[sim latency={seconds} words={words} ttft=0.2]] tell a story"
WORDS_PER_SECOND = 30
MOST_MESSAGES = 3
"""Messages between two cuts, at most."""
MOST_LINES = 2
"""Lines of the next message that a cut leaves, at most."""
RESPONSES_EVERY = 4
TRIES = 20


@dataclass
class Campaign:
    """What is to be done, and what has been."""

    system: System
    found: dict[str, Any]
    http: httpx2.AsyncClient
    runs: int
    cuts: int
    at_once: int
    run_seconds: float
    kill_every: float
    give_up: float
    chance: random.Random = field(default_factory=lambda: random.Random(11))
    clients: list[Client] = field(default_factory=list)
    killed: int = 0

    @property
    def cut_so_far(self) -> int:
        """Return all clients' cuts."""
        return sum(client.cuts for client in self.clients)

    async def go(self) -> None:
        """Follow, cut and kill; more runs than asked for, should they not give enough cuts."""
        over = asyncio.Event()
        killing = asyncio.create_task(self._kill(over))
        made = 0

        async def column() -> None:
            nonlocal made
            while (made < self.runs or self.cut_so_far < self.cuts) and time.monotonic() < self.give_up:
                made += 1
                await self._run(made)

        await asyncio.gather(*(column() for _ in range(self.at_once)))
        over.set()
        await killing

    async def _run(self, n: int) -> None:
        text = MESSAGE.format(seconds=self.run_seconds, words=round(self.run_seconds * WORDS_PER_SECOND))
        as_response = n % RESPONSES_EVERY == 0
        if as_response:
            body = {"model": "gpt-4o-mini", "input": text, "background": True}
            made = await self._submit("/v1/responses", body)
        else:
            made = await self._submit("/agent", {"message": text})
        task_id = made["id"].removeprefix("resp_") if as_response else made["task_id"]
        clients = [Reader(self.http, task_id), (ResponsesReader if as_response else Reader)(self.http, task_id)]
        self.clients += clients
        await asyncio.gather(*(self._follow(client) for client in clients))

    async def _submit(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Submit a run once, on a machine that may be too busy for it."""
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        for _ in range(TRIES):
            try:
                answer = await self.http.post(path, json=body, headers=headers)
            except httpx2.TransportError:
                await asyncio.sleep(1)
                continue
            if answer.status_code not in (429, 503):
                made: dict[str, Any] = answer.raise_for_status().json()
                return made
            await asyncio.sleep(float(answer.headers["Retry-After"]))
        raise SystemExit(f"{path} does not take a run")

    async def _follow(self, client: Client) -> None:
        # Each client gives its part; the later ones make up for those that gave less.
        left = max(1, self.runs * 2 - len(self.clients) + 1)
        most = client.cuts + 2 * max(1.0, (self.cuts - self.cut_so_far) / left)
        over = False
        while not over:
            cut = client.cuts < most and self.cut_so_far < self.cuts
            messages = self.chance.randint(1, MOST_MESSAGES) if cut else float("inf")
            over = await client.read(messages, torn=self.chance.randint(0, MOST_LINES))

    async def _kill(self, over: asyncio.Event) -> None:
        while not over.is_set():
            try:
                await asyncio.wait_for(over.wait(), self.kill_every)
            except TimeoutError:
                self.killed += await asyncio.to_thread(self._kill_one)

    def _kill_one(self) -> bool:
        processes = worker_processes(self.system)
        busy = sorted(holders(self.found["table"]).keys() & processes.keys())
        if not busy:
            return False
        os.kill(self.chance.choice(busy), signal.SIGKILL)
        return True

    async def verdict(self) -> dict[str, Any]:
        """Compare what each client has with the log; returns what happened."""
        wrong: list[str] = []
        kinds: dict[str, list[str]] = {}
        for client in self.clients:
            events = await self._events(client.task_id)
            kinds[client.task_id] = [event["type"] for event in events]
            if isinstance(client, ResponsesReader):
                undisturbed = ResponsesReader(self.http, client.task_id)
                while not await undisturbed.read():
                    pass
                events = undisturbed.log
            if client.log != events:
                wrong.append(f"{type(client).__name__} {client.task_id}")
        resumed = [each for client in self.clients for each in client.resumed]
        late = [each.late for each in resumed if each.late is not None]
        missed = self._missed()
        return {
            "runs": len(kinds),
            "clients": len(self.clients),
            "of_them_responses": sum(isinstance(client, ResponsesReader) for client in self.clients),
            "cuts": self.cut_so_far,
            "ended_by_their_longest_life": sum(client.ended_by_server for client in self.clients),
            "broken_off_by_themselves": sum(client.broken for client in self.clients),
            "workers_killed": self.killed,
            "takeovers": sum(each.count("resumed") for each in kinds.values()),
            "messages": sum(len(client.log) for client in self.clients),
            "parts_before_they_were_stored": sum(client.parts for client in self.clients),
            "complete": sum(each[-1] == "complete" for each in kinds.values()),
            "differ_from_the_log": wrong,
            "first_byte_after_a_cut_ms": spread([each.first_byte for each in resumed]),
            "missed_message_after_a_cut_ms": spread(missed) | {"samples": len(missed)},
            "message_after_a_cut_ms": spread(late),
        }

    def _missed(self) -> list[float]:
        """Return how soon after its request a client had an event that was stored by then, s.

        That it was is known where another client of the run had it. Other first messages tell of what was written
        meanwhile, or of what a worker still had in hand: they wait for the run, too.
        """
        had: dict[tuple[str, int], float] = {}
        for client in self.clients:
            for seq, at in client.had.items():
                had[client.task_id, seq] = min(at, had.get((client.task_id, seq), at))
        return [
            each.message
            for client in self.clients
            for each in client.resumed
            if each.seq is not None and had[client.task_id, each.seq] < each.asked
        ]

    async def _events(self, task_id: str) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = []
        more = True
        while more:
            after = events[-1]["seq"] if events else 0
            page = (await self.http.get(f"/result/{task_id}/events", params={"after": after})).raise_for_status().json()
            events += page["events"]
            more = page.get("has_more", False)
        return events


def spread(seconds: list[float]) -> dict[str, float]:
    """Return a figure's median and 95th percentile, ms."""
    return {"p50": ms(seconds, 50), "p95": ms(seconds, 95)}


async def measure(folder: Path, make: Callable[[httpx2.AsyncClient], Campaign], url: str, key: str) -> dict[str, Any]:
    """Run the campaign beside a bare function and judge it."""
    limits, over = httpx2.Limits(max_connections=None), asyncio.Event()
    headers = {"Authorization": f"Bearer {key}"}
    with bare_function(folder) as bare:
        floor = asyncio.create_task(first_bytes(bare, over))
        async with httpx2.AsyncClient(base_url=url, headers=headers, timeout=60, limits=limits) as http:
            campaign = make(http)
            await campaign.go()
            over.set()
            return await campaign.verdict() | {"bare_streaming_function_ms": spread(await floor)}


def main() -> None:
    """Run the campaign, print and judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--cuts", type=int, default=10_000)
    parser.add_argument("--at-once", type=int, default=10, help="runs at the same time, each with two clients")
    parser.add_argument("--run-seconds", type=float, default=8)
    parser.add_argument("--kill-every", type=float, default=15, help="seconds between two SIGKILLs")
    parser.add_argument("--minutes", type=float, default=9.5, help="when no further run is begun")
    asked = parser.parse_args()
    with own_system(PARAMETERS) as (system, found):
        began = time.monotonic()

        def make(http: httpx2.AsyncClient) -> Campaign:
            return Campaign(
                system, found, http, asked.runs, asked.cuts, asked.at_once, asked.run_seconds, asked.kill_every,
                give_up=began + asked.minutes * 60,
            )  # fmt: skip

        result = asyncio.run(measure(Path(found["state_dir"]), make, found["stream_url"], found["api_keys"]["load"]))
        result["seconds"] = round(time.monotonic() - began)
        result["load_average"] = round(os.getloadavg()[0], 1)
    print(json.dumps(result, indent=2))
    (Path(__file__).parent / "results" / "sse_cuts.json").write_text(json.dumps(result, indent=2) + "\n")
    if result["differ_from_the_log"] or result["complete"] != result["runs"]:
        raise SystemExit("a client has not what the log has, or a run is not complete")
    if result["cuts"] < asked.cuts or result["runs"] < asked.runs:
        raise SystemExit(f"too few within {asked.minutes:g} minutes")


if __name__ == "__main__":
    main()
