"""What goes wrong during a campaign: killed workers, doubled messages, a lost Valkey, an outage, a pause.

Faults come by progress, not by the clock, so that a campaign on a slow machine meets the same ones at the same places.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psutil
from botocore.exceptions import BotoCoreError, ClientError

from benchmarks.faults.watch import Watch, running
from shared import aws
from shared.errors import SluiceError
from shared.tasks import store

if TYPE_CHECKING:
    import random
    import threading
    from collections.abc import Callable

    import httpx2

    from localstack.system import System
    from shared.tasks.model import Task

DUPLICATES = 1_000
DUPLICATES_AT_ONCE = 10
VALKEY_AWAY_SECONDS = 2.0
OUTAGE_SECONDS = 20.0
PAUSE_SECONDS = 10.0
VALKEY_AT, OUTAGE_AT, PAUSE_AT = 0.2, 0.4, 0.6
"""When the one-time faults come, by the share of the model calls that are done."""
FIRST_KILL_AT, LAST_KILL_AT = 0.02, 0.95


def worker_processes(system: System) -> dict[int, psutil.Process]:
    """Return the worker environments of a system's local AWS by pid: its children that run the worker's bundle."""
    parent = system.processes.running("aws")
    found = {}
    for child in parent.children() if parent else []:
        with contextlib.suppress(psutil.Error):
            if "WorkerFunction" in " ".join(child.cmdline()):
                found[child.pid] = child
    return found


def pid_of(task: Task) -> int:
    """Return the process that holds a task, as its row names it (``function/pid-environment-claim``); 0: none."""
    owner = (task.lease_owner or "").rpartition("/")[2].partition("-")[0]
    return int(owner) if owner.isdigit() else 0


def holders(table: str) -> dict[int, list[Task]]:
    """Return the runs under way by the process that holds them."""
    held: defaultdict[int, list[Task]] = defaultdict(list)
    for task in running(table):
        held[pid_of(task)].append(task)
    return held


@dataclass
class Inflictor:
    """Breaks things on a schedule until told to stop. ``submitted`` grows meanwhile."""

    system: System
    outputs: dict[str, Any]
    sim: httpx2.Client
    chance: random.Random
    kills_wanted: int
    calls_needed: int
    lease_seconds: float
    submitted: list[str]
    kills: int = 0
    killed_idle: int = 0
    warm: set[int] = field(default_factory=set)
    duplicates: int = 0
    events: list[tuple[str, float, float]] = field(default_factory=list)
    """One-time faults: what, from when, until when."""

    def __post_init__(self) -> None:
        self.watch = Watch(self.outputs["table"])

    def counts(self) -> dict[str, Any]:
        """Return what was inflicted."""
        return {
            "kills": self.kills,
            "kills_of_idle_environments": self.killed_idle,
            "runs_hit_by_kills": len(self.watch.victims),
            "duplicated_messages": self.duplicates,
            "events": [name for name, _, _ in self.events],
        }

    def run(self, done: threading.Event) -> None:
        """Inflict until `done`."""
        self.watch.start()
        places = [
            FIRST_KILL_AT + (LAST_KILL_AT - FIRST_KILL_AT) * (n + self.chance.random()) / self.kills_wanted
            for n in range(self.kills_wanted)
        ]
        once: list[tuple[float, Callable[[], None]]] = [
            (VALKEY_AT, self._lose_valkey), (OUTAGE_AT, self._outage), (PAUSE_AT, self._pause),
        ]  # fmt: skip
        while not done.wait(0.5):
            place = self.progress()
            if self.kills < self.kills_wanted and place >= places[self.kills]:
                with contextlib.suppress(psutil.Error, BotoCoreError, ClientError):
                    self._kill()
            if self.duplicates < DUPLICATES * place:
                with contextlib.suppress(SluiceError, BotoCoreError, ClientError):
                    self._duplicate()
            if once and place >= once[0][0]:
                once.pop(0)[1]()
        self.watch.stop()

    def progress(self) -> float:
        """Return the share of the model calls needed that are done."""
        found = self.sim.get("/stats", params={"prefix": "none"}).json()
        return float(found["completed"] / self.calls_needed)

    def _kill(self) -> None:
        """Kill an environment that holds runs; one in ten times any that ever held one, also when it is idle.

        Those that are just starting are spared: when one of them dies, MiniStack ends all of its function's
        environments, and what they had unpacked, which no real fault does.
        """
        processes = worker_processes(self.system)
        held = holders(self.outputs["table"])
        self.warm = (self.warm | held.keys()) & processes.keys()
        busy = self.warm & held.keys()
        choice = sorted(self.warm if self.chance.random() < 0.1 else busy)
        if not choice:
            return
        pid = self.chance.choice(choice)
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:  # it was ended meanwhile
            return
        at = time.time()
        self.kills += 1
        self.killed_idle += pid not in held
        self.watch.add(held.get(pid, []), at)

    def _duplicate(self) -> None:
        """Deliver tasks once more, at their generation or an older one, whatever has become of them."""
        pool = self.submitted
        for task_id in self.chance.sample(
            pool[-100:] + pool[: len(pool) // 4], min(DUPLICATES_AT_ONCE, len(pool) // 4)
        ):
            task = store.get(task_id)
            gen = max(0, task.gen - self.chance.choice((0, 0, 1)))
            body = json.dumps({"v": 1, "task_id": task_id, "gen": gen})
            aws.sqs().send_message(QueueUrl=self.outputs["queues"][task.lane], MessageBody=body)
            self.duplicates += 1

    def _lose_valkey(self) -> None:
        """Kill Valkey and start an empty one: every counter, slot and breaker is lost."""
        from localstack import parts

        at = time.time()
        process = self.system.processes.running("valkey")
        if process:
            process.kill()
        self.system.processes.stop(["valkey"])
        time.sleep(VALKEY_AWAY_SECONDS)
        self.system.processes.start(parts.valkey(self.system.state))
        self.events.append(("Valkey killed and started empty", at, time.time()))

    def _outage(self) -> None:
        at = time.time()
        self.sim.post("/config", json={"outage": OUTAGE_SECONDS}).raise_for_status()
        self.events.append((f"provider down for {OUTAGE_SECONDS:.0f} s", at, at + OUTAGE_SECONDS))

    def _pause(self) -> None:
        """Stop every process of the local AWS for a while, as a stalled host would."""
        parent = self.system.processes.running("aws")
        if parent is None:
            return
        at = time.time()
        stopped: list[psutil.Process] = []
        for process in [parent, *parent.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                process.suspend()
                stopped.append(process)
        time.sleep(PAUSE_SECONDS)
        for process in reversed(stopped):
            with contextlib.suppress(psutil.Error):
                process.resume()
        self.events.append((f"everything stopped for {PAUSE_SECONDS:.0f} s", at, time.time()))
