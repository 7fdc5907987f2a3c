"""How soon runs whose worker was killed are taken over, watched on their rows: a claim raises ``lease_no``."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from shared import aws
from shared.tasks.items import DUE_SHARDS, read_task, row_key
from shared.tasks.model import Status

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shared.tasks.model import Task

LOOK_EVERY_SECONDS = 0.25
KEYS_AT_ONCE = 100


@dataclass(slots=True)
class Victim:
    """A run that a killed worker held; times are epoch seconds."""

    task_id: str
    lease_no: int
    killed_at: float
    back_at: float | None = None

    @property
    def took(self) -> float | None:
        """Seconds until another worker had it."""
        return None if self.back_at is None else self.back_at - self.killed_at


def rows(table: str, task_ids: Iterable[str]) -> list[Task]:
    """Read tasks, consistently; those whose row is gone are left out."""
    wanted = list(task_ids)
    found: list[Task] = []
    for start in range(0, len(wanted), KEYS_AT_ONCE):
        keys = [row_key(task_id) for task_id in wanted[start : start + KEYS_AT_ONCE]]
        while keys:
            answer: Any = aws.dynamodb().batch_get_item(RequestItems={table: {"Keys": keys, "ConsistentRead": True}})
            found += [read_task(row) for row in answer["Responses"][table]]
            keys = answer.get("UnprocessedKeys", {}).get(table, {}).get("Keys", [])
    return found


def running(table: str) -> list[Task]:
    """Return the runs that some worker holds right now; a claim does not move a task in the index."""
    ids: list[str] = []
    for shard in range(DUE_SHARDS):
        asked: dict[str, Any] = {
            "TableName": table,
            "IndexName": "due",
            "KeyConditionExpression": "due = :shard",
            "ExpressionAttributeValues": {":shard": {"S": str(shard)}},
        }
        while asked:
            page: Any = aws.dynamodb().query(**asked)
            ids += [item["pk"]["S"].removeprefix("TASK#") for item in page["Items"]]
            last = page.get("LastEvaluatedKey")
            asked = asked | {"ExclusiveStartKey": last} if last else {}
    return [task for task in rows(table, ids) if task.status is Status.PROCESSING]


@dataclass
class Watch:
    """Follows victims until they are back, in a thread of its own."""

    table: str
    victims: list[Victim] = field(default_factory=list)
    _done: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to look."""
        self._thread = threading.Thread(target=self._run, name="watch")
        self._thread.start()

    def stop(self) -> None:
        """Look a last time and stop."""
        self._done.set()
        if self._thread:
            self._thread.join()
        self._look()

    def add(self, tasks: Iterable[Task], killed_at: float) -> None:
        """Follow the runs that a worker held when it was killed.

        A run that had ended or moved on between the look at its row and the kill is no victim.
        """
        held = {task.task_id: task.lease_no for task in tasks}
        for task in rows(self.table, held):
            if task.status is Status.PROCESSING and task.lease_no == held[task.task_id]:
                self.victims.append(Victim(task.task_id, task.lease_no, killed_at))

    def _run(self) -> None:
        while not self._done.wait(LOOK_EVERY_SECONDS):
            with contextlib.suppress(BotoCoreError, ClientError):  # the local AWS is being paused
                self._look()

    def _look(self) -> None:
        waiting = [victim for victim in self.victims if victim.back_at is None]
        seen = {task.task_id: task.lease_no for task in rows(self.table, {victim.task_id for victim in waiting})}
        at = time.time()
        for victim in waiting:
            if seen.get(victim.task_id, victim.lease_no) > victim.lease_no:
                victim.back_at = at
