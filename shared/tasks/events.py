"""The numbered event log of a task: append-only, gapless, the same for every way of watching.

Event 1, ``queued``, is the row itself. Later ones are stored in batches, one item a batch, keyed by the batch's first
number, where no other is put (`shared.tasks.records`): two writers can never take one number. What a run still had to
tell when it ended goes with its end, and the last event is the ended row itself. "Everything after N" is one query; one
more where N is no end of a batch, or nothing came after it. Versions before 0.2 keyed a batch by its last number.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from shared import wire
from shared.clock import iso
from shared.errors import NotFound
from shared.tasks import blobs, ending, records, table
from shared.tasks.items import read_task, row_key
from shared.tasks.model import Task, dumps
from shared.tasks.ranges import under

EVENT_BYTES = 96 * 1024
"""Largest JSON of one event's data; longer strings in it are cut. It must fit a WebSocket message (128 KB)."""

READS = 3
"""How often a log is read whose row knows of more."""

WRITTEN = frozenset({"token", "reasoning", "tool_arguments"})
"""What a model writes, told in pieces: the text of each is in ``text``, and its model call in ``call``."""
_OF_A_CALL = {"n": int, "id": str, "tool": str}

TERMINAL_EVENTS = frozenset({"complete", "failed", "cancelled"})
OWN = TERMINAL_EVENTS | WRITTEN | {"queued", "started", "step", "tool_call", "tool_result", "waiting", "woken", "retry"}
OWN |= {"deferred", "resumed", "signal_refused", "budget_raised"}
"""Types that say how a run goes: whoever follows one acts on them, so that no agent may tell of its own under these."""


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


def is_written(event: Event) -> bool:
    """Tell whether an event is a piece of what a model writes, and none that an agent tells by the same name."""
    data = event.data
    if event.type not in WRITTEN or not (isinstance(data.get("call"), str) and isinstance(data.get("text"), str)):
        return False
    return event.type != "tool_arguments" or all(isinstance(data.get(key), kind) for key, kind in _OF_A_CALL.items())


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


def numbered(last_seq: int, events: Sequence[Event]) -> list[dict[str, Any]]:
    """Return events as they are stored behind number ``last_seq``."""
    return [
        {"seq": last_seq + n, "type": event.type, "at": event.at, "data": bounded(event.data)}
        for n, event in enumerate(events, 1)
    ]


def append_op(task: Task, events: Sequence[Event], *, expires: float) -> tuple[dict[str, Any], int]:
    """Make the Put that appends events after ``task.last_seq``; returns it with the new ``last_seq``."""
    batch = numbered(task.last_seq, events)
    return records.put_op(task, batch, expires=expires), task.last_seq + len(batch)


expires = records.expires


def read(task_id: str, after: int, *, most_bytes: int | None = None) -> Page:
    """Read a task and its events after number ``after``, in one query.

    With ``most_bytes`` the page ends before it would take more of an answer, but never before its first event.

    The query is consistent but no snapshot: a write may come between the events, which are read first, and the row. Its
    row then knows of events that were not seen, and they are read again. A gap that stays is of events that expired.
    The other way round the page's task knows what its events tell (`records.adopt`).

    Raises:
        NotFound: no such task.
    """
    for _ in range(READS):
        page = _read(task_id, after, most_bytes)
        reached = page.events[-1].seq if page.events else after
        if page.full or reached >= page.task.last_seq:
            break
    return page


def _read(task_id: str, after: int, most_bytes: int | None) -> Page:
    found = _Found(after, most_bytes)
    task: Task | None = None
    said: list[dict[str, Any]] = []
    for item in records.items(task_id, records.sk(after + 1), "TASK"):
        if item["sk"]["S"] == "TASK":
            task = read_task(item)
            break
        if not item["sk"]["S"].startswith(records.PREFIX):
            continue
        told = records.content(item)
        if told["events"] and not said and int(told["events"][0]["seq"]) > after + 1:
            found.take(_holding(task_id, after))
        said.append(told)
        if not found.take(told["events"]):  # the row comes last, and is not waited for
            row = table.get(row_key(task_id))
            task = read_task(row) if row is not None else None
            break
    if task is None:
        raise NotFound("no such task")
    if not any(told["events"] for told in said) and not (task.status.terminal and after >= task.last_seq):
        said.append({"events": _holding(task_id, after)})
        found.take(said[-1]["events"])
    if task.status.terminal:
        found.end(task)
    else:
        for told in said:
            records.adopt(task, told)
    first = Event("queued", task.created, {"lane": task.first_lane or task.lane}, seq=1)
    return Page(task, found.gapless(first), found.full)


def _holding(task_id: str, seq: int) -> list[dict[str, Any]]:
    """Return the events of the batch that holds a number, unless it begins behind it."""
    if seq < 2:
        return []
    asked = under(f"TASK#{task_id}", between=(records.sk(0), records.sk(seq)), Limit=1, ConsistentRead=True)
    page = table.query_page(**asked, ScanIndexForward=False)
    return [event for item in page["Items"] for event in records.content(item)["events"]]


def _end(task: Task, kept: dict[str, Any]) -> dict[str, Any]:
    """Return what the last event of a task says."""
    if task.error is not None:
        return {"error": task.error}
    if task.result is None:
        return {}
    response = kept["response"] if "response" in kept else task.result.get("response")
    if response is None:
        response = blobs.unpack(
            table.get({**row_key(task.task_id), "sk": {"S": "BLOB#response"}}) or {"text": {"S": ""}}
        )
    return {"response": response, "tokens": task.usage.tokens}


class _Found:
    """Events after a number, as they are read, up to a size."""

    def __init__(self, after: int, most_bytes: int | None) -> None:
        self.full = False
        self._after = after
        self._most_bytes = most_bytes
        self._taken = 0
        self._stored: list[Event] = []

    def take(self, batch: Sequence[dict[str, Any]]) -> bool:
        """Add the events of a batch; False when they are too many."""
        for e in batch:
            event = Event(seq=e["seq"], type=e["type"], at=e["at"], data=e["data"])
            if event.seq <= self._after:
                continue
            self._taken += 0 if self._most_bytes is None else wire.wire_bytes(event.public())
            self.full = self.full or (
                self._most_bytes is not None and self._taken > self._most_bytes and bool(self._stored)
            )
            if self.full:
                return False
            self._stored.append(event)
        return True

    def end(self, task: Task) -> None:
        """Add what goes with the end of a task: its last events, and the one that is the end itself."""
        if self.full or task.last_seq <= self._after:
            return
        if any(event.seq == task.last_seq and event.type in TERMINAL_EVENTS for event in self._stored):
            return  # one that no worker held, or that an older version ended
        kept = ending.read(task)
        with_it = kept.get("events", [])
        first = int(with_it[0]["seq"]) if with_it else task.last_seq
        self._stored = [event for event in self._stored if event.seq < first]
        last = {"seq": task.last_seq, "type": str(task.status), "at": task.ended_at, "data": bounded(_end(task, kept))}
        self.take([*with_it, last])

    def gapless(self, first: Event) -> list[Event]:
        """Return the events up to a gap."""
        found: list[Event] = []
        expected = self._after + 1
        for event in [first, *self._stored]:
            if event.seq < expected:
                continue
            if event.seq != expected:
                break
            found.append(event)
            expected += 1
        return found
