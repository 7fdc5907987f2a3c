"""Plays the people of a campaign: sends signals, answers approvals, cancels, each as soon as a run waits for it.

Everything is sent twice, as a client does whose first answer was lost: the second must change nothing.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import TYPE_CHECKING, Any

import httpx2
from botocore.exceptions import BotoCoreError, ClientError

from benchmarks.faults.project.agents.branches import SIGNAL, SIGNALS
from benchmarks.faults.watch import rows
from shared.tasks import waits
from shared.tasks.model import Status

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterable

    from benchmarks.faults.kinds import Run
    from shared.tasks.model import Task

LOOK_EVERY_SECONDS = 0.5
EXAMPLES = 5


class Answerer:
    """Looks at the runs that it was given until each has what it waits for, or has ended."""

    def __init__(self, http: httpx2.Client, table: str) -> None:
        """Use a client of the runs' owner."""
        self.http = http
        self.table = table
        self.open: dict[str, Run] = {}
        self.signals: Counter[str] = Counter()
        """By task, signals that were accepted."""
        self.sent: Counter[str] = Counter()
        self.refused: list[str] = []
        """Answers that were refused while the run waited for them."""

    def figures(self) -> dict[str, Any]:
        """Return what was sent."""
        return {"sent": dict(self.sent), "refused": len(self.refused), "refused_examples": self.refused[:EXAMPLES]}

    def add(self, task_id: str, run: Run) -> None:
        """Take over a run that was just accepted; one whose signal is early is sent it at once."""
        if run.does not in ("signal", "approve") and not run.cancelled:
            return
        if run.early:
            with contextlib.suppress(httpx2.HTTPError):
                self._signal(task_id, run)
        self.open[task_id] = run

    def run(self, done: threading.Event) -> None:
        """Answer until ``done``."""
        while not done.wait(LOOK_EVERY_SECONDS):
            with contextlib.suppress(BotoCoreError, ClientError, httpx2.HTTPError):  # it is being paused
                self.answer(rows(self.table, list(self.open)))

    def answer(self, tasks: Iterable[Task]) -> None:
        """Give those that wait what they wait for."""
        for task in tasks:
            if task.status.terminal:
                del self.open[task.task_id]
            elif task.status is Status.WAITING:
                self._give(task, self.open[task.task_id])

    def _give(self, task: Task, run: Run) -> None:
        for one in waits.of_row(task):
            if one.kind == "signal" and self.signals[task.task_id] < SIGNALS:
                self._signal(task.task_id, run)
            elif one.kind == "approval":
                mark = (one.more or {})["fingerprint"]
                decision = {"decision": "deny", "reason": "no"} if run.denied else {"decision": "allow"}
                self._twice("approval", f"/agent/{task.task_id}/approvals/{mark}", decision)
            elif one.kind == "children" and run.cancelled:
                self._twice("cancel", f"/agent/{task.task_id}/cancel", None)

    def _signal(self, task_id: str, run: Run) -> None:
        number = self.signals[task_id] + 1
        path = f"/agent/{task_id}/signals/{SIGNAL}"
        if self._twice("signal", path, number, {"Idempotency-Key": f"{run.key}-{number}"}):
            self.signals[task_id] = number

    def _twice(self, what: str, path: str, body: Any, headers: dict[str, str] | None = None) -> bool:
        """Send something and send it again; tells whether the first was taken."""
        first = self.http.post(path, json=body, headers=headers or {})
        if first.status_code >= 500 or first.status_code == 429:
            return False
        if first.status_code >= 400:
            self.refused.append(f"{what} {path}: {first.status_code} {first.text}")
            return False
        self.sent[what] += 1
        self.http.post(path, json=body, headers=headers or {})
        return True
