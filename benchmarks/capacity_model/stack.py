"""The running local stack as the validation uses it: submit over HTTP, read back when runs started and ended."""

from __future__ import annotations

import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import boto3
import httpx2

if TYPE_CHECKING:
    from collections.abc import Iterator

SUBMITTERS = 4
"""Submits under way at once: more only queue up in the API on a small machine."""
PATIENCE_S = 240.0


class Run(NamedTuple):
    """One run's times, seconds."""

    submitted: float
    started: float
    ended: float


class Stack:
    """Client of the stack whose ``outputs.json`` is given; uses the ``load`` key, which has no quota."""

    def __init__(self, outputs: dict[str, Any]) -> None:
        """Connect."""
        self.http = httpx2.Client(
            base_url=outputs["api_url"],
            headers={"Authorization": f"Bearer {outputs['api_keys']['load']}"},
            timeout=60,
        )
        self.mappings: dict[str, str] = outputs["mappings"]
        session = boto3.Session("test", "test", region_name="us-east-1")
        self.functions: Any = session.client("lambda", endpoint_url=outputs["aws_endpoint_url"])
        self.sqs: Any = session.client("sqs", endpoint_url=outputs["aws_endpoint_url"])
        self.empty_queue: str = outputs["queues"]["quarantine"]

    @contextmanager
    def limited(self, lane: str, environments: int) -> Iterator[None]:
        """Set a lane's limit for a while."""
        uuid = self.mappings[lane]
        before = self.functions.get_event_source_mapping(UUID=uuid)["ScalingConfig"]
        self._limit(uuid, environments)
        try:
            yield
        finally:
            self.functions.update_event_source_mapping(UUID=uuid, ScalingConfig=before)

    def _limit(self, uuid: str, environments: int) -> None:
        self.functions.update_event_source_mapping(UUID=uuid, ScalingConfig={"MaximumConcurrency": environments})
        self._held = (uuid, environments)

    def pause(self) -> None:
        """Let a tick of the scaler see an empty queue, then make sure of the limit."""
        time.sleep(70)
        self._limit(*self._held)

    def measure(self, calls: list[float], *, every_s: float = 0.0) -> list[Run]:
        """Submit runs whose one model call takes so many seconds; return their times in the order given."""
        tag = f"{time.time_ns():x}"
        began = time.monotonic()

        def submit(number: int) -> str:
            delay = began + number * every_s - time.monotonic()
            if delay > 0:
                time.sleep(delay)
            return self._submit(f"{tag}-{number}", calls[number])

        with ThreadPoolExecutor(SUBMITTERS) as pool:
            tasks = list(pool.map(submit, range(len(calls))))
        return [self._times(task) for task in tasks]

    def receive_s(self) -> float:
        """Measure what asking an empty queue takes, s."""
        took = []
        for _ in range(20):
            began = time.monotonic()
            self.sqs.receive_message(QueueUrl=self.empty_queue, WaitTimeSeconds=0)
            took.append(time.monotonic() - began)
        return statistics.median(took)

    def submit_all(self, calls: list[float]) -> list[str]:
        """Submit runs whose one model call takes so many seconds, at once; returns their tasks."""
        tag = f"{time.time_ns():x}"
        with ThreadPoolExecutor(SUBMITTERS) as pool:
            return list(pool.map(lambda n: self._submit(f"{tag}-{n}", calls[n]), range(len(calls))))

    def wait_for(self, tasks: list[str]) -> list[Run]:
        """Wait until tasks are complete; returns when they ran."""
        return [self._times(task) for task in tasks]

    def _submit(self, key: str, seconds: float) -> str:
        body = {
            "message": f"[[sim key=validate-{key} latency={seconds} words=5]] capacity validation",
            "session_id": f"validate-{key}",
        }
        while True:
            answer = self.http.post("/agent", json=body)
            if answer.status_code == 429:
                time.sleep(float(answer.headers["Retry-After"]))
                continue
            answer.raise_for_status()
            task_id: str = answer.json()["task_id"]
            return task_id

    def _times(self, task_id: str) -> Run:
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            task = self.http.get(f"/result/{task_id}").raise_for_status().json()
            if task["status"] == "complete":
                return Run(
                    *(
                        datetime.fromisoformat(task[f"{name}_at"]).timestamp()
                        for name in ("created", "started", "ended")
                    )
                )
            if task["status"] in ("failed", "cancelled"):
                raise RuntimeError(f"a validation run {task['status']}: {task.get('error')}")
            time.sleep(1.0)
        raise TimeoutError(f"{task_id} did not end within {PATIENCE_S:.0f} s")
