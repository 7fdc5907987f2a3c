"""The numbered event log of a task: append-only, gapless, the same for every way of watching.

Event 1, ``queued``, is the row itself. Later ones are stored in batches, one item a batch, keyed by the batch's last
number, so that "everything after N" is one query. Whoever appends also moves ``last_seq`` in the row, in the same
transaction and under the same condition as the rest of the write; two writers can never take one number.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from shared import wire
from shared.clock import iso
from shared.errors import NotFound
from shared.settings import settings
from shared.tasks import blobs, table
from shared.tasks.items import Attributes, attribute, read_task, row_key
from shared.tasks.model import Task, dumps

if TYPE_CHECKING:
    from collections.abc import Sequence

EVENT_BYTES = 96 * 1024
"""Largest JSON of one event's data; longer strings in it are cut. It must fit a WebSocket message (128 KB)."""

READS = 3
"""How often a log is read whose row knows of more."""

TERMINAL_EVENTS = frozenset({"complete", "failed", "cancelled"})


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in a run; ``at`` is epoch seconds."""

    type: str
    at: float
    data: dict[str, Any] = field(default_factory=dict)
    seq: int = 0

    def public(self) -> dict[str, Any]:
        """Return the event as clients see it."""
        return {"seq": self.seq, "type": self.type, "at": iso(self.at), "data": self.data}


@dataclass(frozen=True, slots=True)
class Page:
    """Events after a number, with the task as it stood."""

    task: Task
    events: list[Event]
    full: bool = False
    """The log has more events than fit."""

    @property
    def last_seq(self) -> int:
        """Number of the newest event that the page accounts for."""
        return self.events[-1].seq if self.events else self.task.last_seq


def bounded(data: dict[str, Any]) -> dict[str, Any]:
    """Cut the longest strings until the data fits ``EVENT_BYTES``."""
    room = EVENT_BYTES
    while len(dumps(data).encode()) > EVENT_BYTES and room > 64:
        room //= 2
        data = _cut(data, room)
    return data


def _cut(value: Any, room: int) -> Any:
    if isinstance(value, str):
        return value if len(value) <= room else value[:room] + "…"
    if isinstance(value, dict):
        return {name: _cut(item, room) for name, item in value.items()}
    if isinstance(value, list):
        return [_cut(item, room) for item in value[: max(1, room // 8)]]
    return value


def append_op(task_id: str, last_seq: int, events: Sequence[Event], *, expires: float) -> tuple[dict[str, Any], int]:
    """Make the Put that appends events after ``last_seq``; returns it with the new ``last_seq``."""
    batch = [
        {"seq": last_seq + n, "type": event.type, "at": event.at, "data": bounded(event.data)}
        for n, event in enumerate(events, 1)
    ]
    new_last = last_seq + len(batch)
    item: Attributes = {
        "pk": {"S": f"TASK#{task_id}"},
        "sk": {"S": f"EVENT#{new_last:08d}"},
        "ttl": attribute(int(expires)),
        **blobs.pack(dumps(batch), f"tasks/{task_id}/events/{new_last}"),
    }
    return table.put_op(item, condition="attribute_not_exists(pk)"), new_last


def expires(at: float) -> float:
    """When something written at ``at`` may be deleted."""
    return at + settings().task_ttl_days * 86_400


def read(task_id: str, after: int, *, most_bytes: int | None = None) -> Page:
    """Read a task and its events after number ``after``, in one query.

    With ``most_bytes`` the page ends before it would take more of an answer, but never before its first event.

    The query is consistent but no snapshot: a write may come between the events, which are read first, and the row. Its
    row then knows of events that were not seen, and they are read again. A gap that stays is of events that expired.

    Raises:
        NotFound: no such task.
        DependencyDown: DynamoDB is away.
    """
    for _ in range(READS):
        page = _read(task_id, after, most_bytes)
        reached = page.events[-1].seq if page.events else after
        if page.full or reached >= page.task.last_seq:
            break
    return page


def _read(task_id: str, after: int, most_bytes: int | None) -> Page:
    items = table.query(
        KeyConditionExpression="pk = :pk AND sk BETWEEN :low AND :high",
        ExpressionAttributeValues={
            ":pk": {"S": f"TASK#{task_id}"},
            ":low": {"S": f"EVENT#{after + 1:08d}"},
            ":high": {"S": "TASK"},
        },
        ConsistentRead=True,
    )
    stored: list[Event] = []
    task: Task | None = None
    taken = 0
    full = False
    for item in items:
        if item["sk"]["S"] == "TASK":
            task = read_task(item)
            break
        for e in json.loads(blobs.unpack(item)):
            event = Event(seq=e["seq"], type=e["type"], at=e["at"], data=e["data"])
            taken += 0 if most_bytes is None or event.seq <= after else wire.wire_bytes(event.public())
            full = most_bytes is not None and taken > most_bytes and any(one.seq > after for one in stored)
            if full:
                break
            stored.append(event)
        if full:  # the row comes last, and is not waited for
            row = table.get(row_key(task_id))
            task = read_task(row) if row is not None else None
            break
    if task is None:
        raise NotFound("no such task")
    first = Event("queued", task.created, {"lane": task.lane}, seq=1)
    gapless: list[Event] = []
    expected = after + 1
    for event in [first, *stored]:
        if event.seq < expected:
            continue
        if event.seq != expected:
            break
        gapless.append(event)
        expected += 1
    return Page(task, gapless, full)
