"""What goes wrong during a campaign: killed workers, doubled messages, a lost Valkey, an outage, a pause."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import boto3
import httpx2
import psutil
from botocore.exceptions import BotoCoreError, ClientError

from shared.tasks.items import DUE_SHARDS

if TYPE_CHECKING:
    import random
    import threading

    from localstack.system import System

KILL_EVERY_SECONDS = 3.0
DUPLICATES_PER_SECOND = 4
OUTAGE_SECONDS = 20.0
PAUSE_SECONDS = 10.0
WARM_UP_SECONDS = 15.0
RESTART_AT, OUTAGE_AT, PAUSE_AT = 40.0, 80.0, 130.0
"""When the one-time faults come, s after the warm-up."""


@dataclass
class Inflictor:
    """Breaks things on a schedule until told to stop."""

    system: System
    outputs: dict[str, Any]
    sim: httpx2.Client
    chance: random.Random
    kills_wanted: int
    submitted: list[str]
    kills: list[tuple[int, float]] = field(default_factory=list)
    victims: list[tuple[str, float]] = field(default_factory=list)
    """Tasks whose worker was killed, and when."""
    duplicates: int = 0
    events: list[tuple[str, float]] = field(default_factory=list)
    expected: tuple[str, int] = ("", 0)

    def counts(self) -> dict[str, Any]:
        """Return what was inflicted."""
        done = [name for name, _ in self.events]
        return {"kills": len(self.kills), "duplicated_messages": self.duplicates, "events": done, "fault_rate": 0.2}

    def run(self, done: threading.Event) -> None:
        """Inflict until `done`; the first kill waits until workers are warm."""
        began = time.monotonic() + WARM_UP_SECONDS
        once = [(RESTART_AT, self._restart_valkey), (OUTAGE_AT, self._outage), (PAUSE_AT, self._pause)]
        next_kill = began
        while not done.wait(0.5):
            at = time.monotonic()
            if at >= next_kill and len(self.kills) < self.kills_wanted:
                self._kill_one()
                next_kill = at + KILL_EVERY_SECONDS * self.chance.uniform(0.6, 1.4)
            if self.chance.random() < 0.5:
                self._duplicate()
            if once and at >= began + once[0][0]:
                once.pop(0)[1]()

    def worker_processes(self) -> list[psutil.Process]:
        """Return the worker environments of the campaign's local AWS."""
        parent = self.system.processes.running("aws")
        if parent is None:
            return []
        found = []
        for child in parent.children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if "WorkerFunction" in " ".join(child.cmdline()):
                    found.append(child)
        return found

    def _kill_one(self) -> None:
        processes = self.worker_processes()
        if not processes:
            return
        victim = self.chance.choice(processes)
        with contextlib.suppress(psutil.Error, OSError, BotoCoreError, ClientError):
            running = self._running_in(victim.pid)
            os.kill(victim.pid, signal.SIGKILL)
            self.kills.append((victim.pid, time.time()))
            self.victims += [(task_id, time.time()) for task_id in running]

    def _running_in(self, pid: int) -> list[str]:
        """Return the tasks that an environment holds right now, by the owner in their rows."""
        table: Any = boto3.client("dynamodb")
        keys = []
        for shard in range(DUE_SHARDS):
            page = table.query(
                TableName=self.outputs["table"],
                IndexName="due",
                KeyConditionExpression="due = :shard AND due_at <= :soon",
                ExpressionAttributeValues={":shard": {"S": str(shard)}, ":soon": {"N": str(time.time() + 45)}},
                ScanIndexForward=False,  # those with a running lease come last
                Limit=100,
            )
            keys += [{"pk": item["pk"], "sk": item["sk"]} for item in page["Items"]]
        found = []
        for start in range(0, len(keys), 100):
            asked = {self.outputs["table"]: {"Keys": keys[start : start + 100]}}
            for row in table.batch_get_item(RequestItems=asked)["Responses"][self.outputs["table"]]:
                owner = row.get("lease_owner", {}).get("S", "")
                if f"/{pid}-" in owner and row["status"]["S"] == "processing":
                    found.append(row["task_id"]["S"])
        return found

    def _duplicate(self) -> None:
        """Deliver tasks again, at any generation, whatever has become of them."""
        from shared.errors import SluiceError
        from shared.tasks import store

        sqs: Any = boto3.client("sqs")
        for task_id in self.chance.sample(self.submitted, min(DUPLICATES_PER_SECOND, len(self.submitted))):
            try:
                gen = max(0, store.get(task_id).gen - self.chance.choice((0, 0, 1)))
                body = json.dumps({"v": 1, "task_id": task_id, "gen": gen})
                sqs.send_message(QueueUrl=self.outputs["queues"]["normal"], MessageBody=body)
                self.duplicates += 1
            except (SluiceError, BotoCoreError, ClientError):
                return  # it is being paused

    def _restart_valkey(self) -> None:
        """Kill Valkey and start an empty one: all its counters are lost."""
        from localstack.system import _valkey

        part = _valkey(self.system.state)
        self.system.processes.stop(["valkey"])
        self.events.append(("valkey lost", time.time()))
        time.sleep(2)
        self.system.processes.start(part)

    def _outage(self) -> None:
        self.sim.post("/config", json={"outage": OUTAGE_SECONDS})
        self.events.append((f"provider outage {OUTAGE_SECONDS:.0f} s", time.time()))

    def _pause(self) -> None:
        """Stop every process of the local AWS for a while, as a stalled host would."""
        parent = self.system.processes.running("aws")
        if parent is None:
            return
        group = [parent, *parent.children(recursive=True)]
        for process in group:
            with contextlib.suppress(psutil.Error):
                process.suspend()
        self.events.append((f"everything paused {PAUSE_SECONDS:.0f} s", time.time()))
        time.sleep(PAUSE_SECONDS)
        for process in group:
            with contextlib.suppress(psutil.Error):
                process.resume()
