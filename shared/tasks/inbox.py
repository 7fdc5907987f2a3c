"""Signals sent to a run: one item each beside its row, kept until the run takes them, however early they come.

Accepting one is a single transaction: the item, and the row, which must not have ended and counts it. If the run waits
for it, the same write wakes it; if it is about to wait, the count keeps it from doing so unseen (`waits.suspend`).
"""

import hashlib
import json
import secrets
from dataclasses import dataclass
from typing import Any

from shared.clock import epoch, iso, now
from shared.errors import Conflict, Contended, IdempotencyMismatch
from shared.tasks import blobs, events, store, table, waits
from shared.tasks.claims import WOKEN
from shared.tasks.items import Attributes, item, plain, row_key, values_of
from shared.tasks.model import Status, Task, dumps
from shared.tasks.ranges import under

PAYLOAD_BYTES = 256 * 1024
"""Largest payload, as JSON in UTF-8."""
SIGNALS_OF_A_RUN = 10_000
"""Most signals that one run is ever sent."""
SIGNAL = "WAIT#SIGNAL#"
"""What their sort keys begin with; a reader of events, which end with the row, does not meet them."""
TRIES = 8
"""How often a signal is tried whose task changes hands meanwhile."""


@dataclass(frozen=True, slots=True)
class Signal:
    """A signal as it was stored; ``id`` names it within its task."""

    id: str
    name: str
    at: float
    payload: Any
    by: str | None = None
    """Who sent it: the id of an API key."""
    n: int = 0
    """Its place among the task's signals; those that came at the same moment may share one."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a signal: its task as it now is, whether it was woken, whether the signal had come before."""

    task: Task
    signal: str
    woken: bool = False
    repeat: bool = False


def prefix(name: str) -> str:
    """Return what the sort keys of all signals of a name begin with."""
    return f"{SIGNAL}{name}#"


def has(task_id: str, name: str, signal_id: str) -> bool:
    """Tell whether a signal was taken before."""
    return table.get(_key(task_id, name, signal_id)) is not None


def _key(task_id: str, name: str, signal_id: str) -> Attributes:
    return row_key(task_id, prefix(name) + signal_id)


def post(
    task_id: str,
    name: str,
    payload: Any,
    *,
    key: str | None = None,
    by: str | None = None,
    early: bool = True,
    seen: Task | None = None,
) -> Receipt:
    """Send a signal to a run; ``key`` makes a repeat harmless: the digest of the client's ``Idempotency-Key``.

    Unless ``early`` it is taken only by a task that waits for it. ``seen`` is the task as the caller just read it: a
    write that finds another reads it again. The caller has made sure that the task is the
    sender's, and sends the task (`waking.send`) if it was ``woken``.

    Raises:
        NotFound: there is no such task.
        Conflict: it has ended, was sent too many, or does not wait for this.
        IdempotencyMismatch: the key came with another payload before.
        Contended: the task changed hands too often to catch; try again.
        DependencyDown: nothing was written.
    """
    text = dumps(payload)
    digest = hashlib.sha256(text.encode()).hexdigest()
    signal_id = key[:32] if key else secrets.token_hex(16)
    where = _key(task_id, name, signal_id)
    packed: Attributes | None = None
    for _ in range(TRIES):
        task, seen = seen or store.get(task_id), None
        try:
            _may_take(task, name, early=early)
        except Conflict:
            if key and (there := table.get(where)) is not None:
                return _repeat(task, there, digest, signal_id)
            raise
        at = now()
        packed = packed or blobs.pack(text, f"tasks/{task_id}/signal/{signal_id}")
        about = {"name": name, "at": iso(at), "by": by, "digest": digest, "ttl": int(events.expires(at))}
        about["n"] = task.signals + 1  # more than of any whose sender was answered before, whatever the clocks say
        put = table.put_op(where | item(about) | packed, condition="attribute_not_exists(pk)")
        wakes = task.status is Status.WAITING and _waits_for(task, name)
        row = waits.wake_op(task) if wakes else _count_op(task)
        try:
            table.transact([row, put])
        except table.ConditionFailed as refusal:
            if key is None and 1 in refusal.items:  # the id is ours alone: written, and only the answer was lost
                task = store.get(task_id)
                return Receipt(task, signal_id, woken=task.status is Status.QUEUED)
            if key and (there := refusal.items.get(1) or table.get(where)) is not None:
                return _repeat(store.get(task_id), there, digest, signal_id)
            continue
        except Contended:
            continue
        if wakes:
            task.status, task.gen, task.next_try_at, task.reason = Status.QUEUED, task.gen + 1, 0.0, WOKEN
        return Receipt(task, signal_id, woken=wakes)
    raise Contended("the task is changing hands; try again")


def _repeat(task: Task, there: Attributes, digest: str, signal_id: str) -> Receipt:
    """Answer a signal whose id is taken: the same one came before, or it is another under the same key."""
    if plain(there["digest"]) != digest:
        message = "this Idempotency-Key came with another signal before"
        raise IdempotencyMismatch(message, param="Idempotency-Key")
    return Receipt(task, signal_id, repeat=True)


def _waits_for(task: Task, name: str) -> bool:
    return any(one.name == name for one in waits.of_row(task))


def _may_take(task: Task, name: str, *, early: bool) -> None:
    if task.status.terminal:
        raise Conflict(f"the task has ended: it is {task.status}")
    if task.signals >= SIGNALS_OF_A_RUN:
        raise Conflict(f"the task was sent {SIGNALS_OF_A_RUN} signals, which is the most")
    if not early and not _waits_for(task, name):
        raise Conflict(f"the task does not wait for {name} (any more)")


def _count_op(task: Task) -> dict[str, Any]:
    return table.update_op(
        row_key(task.task_id),
        adds={"signals": 1},
        same={"status": str(task.status), "gen": task.gen},
    )


def load(task_id: str, name: str | None = None) -> list[Signal]:
    """Read all signals of a task, or those of a name, oldest first."""
    rows = table.query(**under(f"TASK#{task_id}", begins=prefix(name) if name else SIGNAL, ConsistentRead=True))
    return sorted(map(_read, rows), key=lambda one: (one.n, one.at, one.id))


def _read(row: Attributes) -> Signal:
    found = values_of(row)
    signal_id, payload = found["sk"].removeprefix(SIGNAL), json.loads(blobs.unpack(row))
    return Signal(signal_id, found["name"], epoch(found["at"]), payload, found.get("by"), found.get("n", 0))
