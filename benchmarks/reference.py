"""Sluice's side of the reference work: submit through its API, release the lane, and read what became of the tasks."""

from __future__ import annotations

import contextlib
import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import psutil


class Sluice:
    """A system that is up, used by one user of the ``load`` tier."""

    def __init__(self, outputs: dict[str, Any]) -> None:
        """Talk to it."""
        import boto3

        self._outputs = outputs
        self._lambda: Any = boto3.client("lambda")

    def _enable(self, enabled: bool) -> None:
        self._lambda.update_event_source_mapping(UUID=self._outputs["mappings"]["normal"], Enabled=enabled)

    def pause(self) -> None:
        """Stop the normal lane's poller: what is submitted waits."""
        self._enable(False)
        time.sleep(1.5)  # the poll under way ends

    def resume(self) -> None:
        """Let the poller go on, and tell environments so.

        The scaler may have found the lane paused, at its minute: they would give everything back until its next look.
        """
        self._enable(True)
        function = self._outputs["functions"]["scaler"]
        answer = self._lambda.invoke(FunctionName=function, Payload=json.dumps({"only": "pauses"}))
        assert "FunctionError" not in answer, answer["Payload"].read()

    def release(self, key: str, *, stream: bool) -> str:
        """Let the poller go on, with one more run, whose message wakes it; returns that run's user."""
        self.resume()
        return self.submit(1, key, stream=stream)

    def submit(self, number: int, key: str, *, stream: bool = False) -> str:
        """Submit runs as a user of their own; returns the user."""
        from shared.limits.keys import create_key

        user = f"bench-{key}-{time.time_ns()}"
        headers = {"Authorization": f"Bearer {create_key(user, 'load', 'benchmark')}"}
        with (
            httpx2.Client(base_url=self._outputs["api_url"], headers=headers, timeout=60) as client,
            ThreadPoolExecutor(6) as pool,
        ):

            def one(n: int) -> None:
                # The peers' tasks remember nothing.
                body = {"message": f"[[sim key={key}]] {n}", "session_id": None, "stream": stream}
                client.post("/agent", json=body).raise_for_status()

            list(pool.map(one, range(number)))
        return user

    def ended(self, user: str, seconds: float = 60) -> list[float]:
        """Wait until all of a user's tasks are complete; returns when each ended, epoch seconds.

        Raises:
            TimeoutError: some are not.
        """
        from shared.tasks import listing

        give_up = time.monotonic() + seconds
        while True:
            rows, cursor = listing.list_tasks(user, limit=1000)
            while cursor:
                more, cursor = listing.list_tasks(user, limit=1000, cursor=cursor)
                rows += more
            if all(row["status"] == "complete" for row in rows):
                return [float(row["ended_at"]) for row in rows]
            if time.monotonic() > give_up:
                raise TimeoutError(f"not complete: {[row for row in rows if row['status'] != 'complete'][:3]}")
            time.sleep(1)

    def environments(self, emulator: psutil.Process) -> list[psutil.Process]:
        """Return the processes of the worker function's environments."""
        name, found = self._outputs["functions"]["worker"], []
        for process in emulator.children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if f"ministack-lambda-{name}-" in " ".join(process.cmdline()):
                    found.append(process)
        return found
