"""Steady load: runs at an even rate, each followed to its end in the table, every fifth through the API."""

from __future__ import annotations

import contextlib
import math
import statistics
import threading
import time
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx2
from botocore.exceptions import BotoCoreError, ClientError

from benchmarks.faults.watch import rows
from shared.tasks.model import Status

LATENCY = "0.2-1"
STEPS = 'tools=calculator,current_time args=[{"expression":"6*7"},{}]'
CALLS = 3
"""Model calls of such a run."""
LEAST_SESSIONS = 50
FOLLOW_EVERY = 5
HIGH_EVERY = 4
LOOK_EVERY_SECONDS = 2.0
SENDERS = 8
PATIENCE_SECONDS = 120.0
"""How long after the last submit a run may still be under way before it counts as lost."""


def sessions(rate: float, latency: str) -> int:
    """Return in how many sessions runs go whose calls last so many seconds (``LO-HI``).

    A session's runs go one after the other: with fewer, they would wait for each other and not for a worker. Twice as
    many as runs are under way when each call takes longest.
    """
    return max(LEAST_SESSIONS, math.ceil(2 * rate * CALLS * float(latency.rpartition("-")[2])))


@dataclass(frozen=True, slots=True)
class Ended:
    """A run that ended; times are seconds since the load began."""

    submitted: float
    wait_s: float
    status: str


class Load:
    """Submits, and collects what came of it."""

    def __init__(self, outputs: dict[str, Any], rate: float, latency: str = LATENCY) -> None:
        """Use the key without a quota; ``rate``: runs a second, ``latency``: seconds (``LO-HI``) of a model call."""
        headers = {"Authorization": f"Bearer {outputs['api_keys']['load']}"}
        self.http = httpx2.Client(base_url=outputs["api_url"], headers=headers, timeout=60)
        self.table: str = outputs["table"]
        self.rate = rate
        self.latency = latency
        self.sessions = sessions(rate, latency)
        self.submitted = 0
        self.answers: Counter[str] = Counter()
        self.ended: list[Ended] = []
        self.at_once: defaultdict[str, list[int]] = defaultdict(list)
        """Runs that workers held, by lane, at each look."""
        self.held_now = 0
        """Runs that workers held at the last look."""
        self._live: dict[str, float] = {}
        self._lock = threading.Lock()
        self._began_at = time.time()

    def run(self, seconds: float) -> int:
        """Submit for so long and wait for what is under way; returns how many runs did not end."""
        began = time.monotonic()
        self._began_at = time.time()
        looking = threading.Event()
        looker = threading.Thread(target=self._look, args=(looking,))
        looker.start()
        with ThreadPoolExecutor(SENDERS + 4) as pool:
            n = 0
            while time.monotonic() - began < seconds:
                pool.submit(self._submit, n)
                n += 1
                time.sleep(max(0.0, began + n / self.rate - time.monotonic()))
        give_up = time.monotonic() + PATIENCE_SECONDS
        while self._live and time.monotonic() < give_up:
            time.sleep(0.5)
        looking.set()
        looker.join()
        return len(self._live)

    def _submit(self, n: int) -> None:
        body: dict[str, Any] = {"message": f"[[sim words=20 latency={self.latency} {STEPS}]] {n}", "agent": "tools"}
        body |= {"session_id": f"soak-{n % self.sessions}"} | ({"priority": "high"} if n % HIGH_EVERY == 0 else {})
        try:
            answer = self.http.post("/agent", json=body)
        except httpx2.HTTPError as error:
            self.answers[type(error).__name__] += 1
            return
        self.answers[str(answer.status_code)] += 1
        if answer.status_code != 202:
            return
        task_id = answer.json()["task_id"]
        with self._lock:
            self.submitted += 1
            self._live[task_id] = time.time()
        if n % FOLLOW_EVERY == 0:
            with contextlib.suppress(httpx2.HTTPError):
                self.http.get(f"/result/{task_id}", params={"wait": 5})
                self.http.get(f"/result/{task_id}/events")

    def _look(self, done: threading.Event) -> None:
        while not done.wait(LOOK_EVERY_SECONDS):
            with self._lock:
                asked = list(self._live)
            with contextlib.suppress(BotoCoreError, ClientError):  # asked again
                found = rows(self.table, asked)
                held = Counter(task.lane for task in found if task.status is Status.PROCESSING)
                self.held_now = held.total()
                for lane, n in held.items():
                    self.at_once[lane].append(n)
                for task in found:
                    if task.status.terminal:
                        began = task.started_at or task.ended_at or task.created
                        one = Ended(task.created - self._began_at, began - task.created, str(task.status))
                        with self._lock:
                            self.ended.append(one)
                            self._live.pop(task.task_id, None)

    def waits(self, window_s: float) -> list[dict[str, Any]]:
        """Return the waits from submit to the run's start, by window."""
        windows: dict[int, list[float]] = {}
        for one in self.ended:
            windows.setdefault(int(one.submitted // window_s), []).append(one.wait_s)
        return [
            {
                "from_minute": round(n * window_s / 60, 1),
                "runs": len(waits),
                "p50_s": round(statistics.median(waits), 3),
                "p95_s": round(sorted(waits)[int(len(waits) * 0.95)], 3),
            }
            for n, waits in sorted(windows.items())
        ]

    def held(self) -> dict[str, dict[str, float]]:
        """Return the runs that workers held at once, by lane: the median of all looks and the most."""
        return {
            lane: {"p50": statistics.median(seen), "most": max(seen)} for lane, seen in sorted(self.at_once.items())
        }
