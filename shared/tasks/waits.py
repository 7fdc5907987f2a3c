"""Runs that wait: for a time, a signal, their children. Meanwhile they hold no slot, no message, no environment.

A run that comes to wait is given back like a continuation, but with status ``waiting``. What wakes it is durable before
anything is sent: the time is ``next_try_at`` in the row, a signal is an item that is put in the transaction that wakes
the row. So waking is one conditional write, which only one writer is granted: the signal's (`wake_op`) or the claim of
the worker that the timer's message brings (`claims`).

SQS hides a message for 15 minutes at most. The timer of a longer wait is sent by the sweeper when it comes within reach
(`REACH_SECONDS`); waiting tasks stand in partitions of their own of the ``due`` index, so that sweeps meet only those
whose turn it is.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from shared.clock import iso, now
from shared.errors import DependencyDown, LeaseLost
from shared.settings import settings
from shared.tasks import days, events, lanes, owed, spend, table
from shared.tasks.claims import WOKEN
from shared.tasks.items import due_shard, row_key, wait_shard
from shared.tasks.leases import CancelRequested, carried, fenced_write, held
from shared.tasks.model import Status, Task

LONGEST_SECONDS = 366 * 86_400.0
"""Longest wait: a year. One without a limit of its own ends then, too."""
REACH_SECONDS = 840.0
"""How long before its time a long wait's message is sent: several sweeps before SQS's longest delay is too short."""
REPAIR_SECONDS = 30.0
"""How long after its time the sweeper leaves a waiting task to the message that was sent for it."""
GRACE_SECONDS = 30.0
"""How long the sweeper leaves a woken task to whoever woke it and is to send its message."""
SILENT = frozenset({"sleep", "children"})
"""Kinds of waits that nobody outside is asked anything by."""
CHECK_SECONDS = 60.0
"""When the sweeper first looks whether the children of a waiting run have ended unnoticed; then less and less often."""
LISTED = 10
"""Most waits of a task that lists show."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Something that a run waits for. Times are epoch seconds; ``until`` is when it goes on without it."""

    kind: str
    """``sleep``, ``signal``, ``approval`` or ``children``."""
    name: str
    nth: int
    since: float
    until: float
    more: dict[str, Any] | None = None
    """What belongs to its kind: a signal's ``schema``, an approval's ``tool`` and ``fingerprint``."""

    @property
    def key(self) -> tuple[str, str, int]:
        """What identifies it within its run."""
        return self.kind, self.name, self.nth

    def stored(self) -> dict[str, Any]:
        """Return it as the row holds it."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def of_row(task: Task) -> list[Wait]:
    """Return what a task waits, or last waited, for."""
    return [Wait(**{"more": None, **one}) for one in task.waiting_for]


def public(one: dict[str, Any]) -> dict[str, Any]:
    """Return a stored wait as clients see it."""
    shown = {"kind": one["kind"], "name": one["name"], "since": iso(one["since"]), "until": iso(one["until"])}
    return shown | {name: value for name, value in (one.get("more") or {}).items() if name != "schema"}


def in_list(stored: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what lists show of a task's stored waits: the first ones if they are many, approvals before others."""
    first = sorted(stored, key=lambda one: str(one["kind"]))[:LISTED]
    return [
        {"kind": one["kind"], "name": one["name"]}
        | {name: value for name, value in (one.get("more") or {}).items() if name in ("tool", "budget")}
        for one in first
    ]


def suspend(task: Task, waits: Sequence[Wait], log: Sequence[events.Event], *, ends_at: float) -> bool:
    """Let a run that this worker holds wait: the timer's message first, if it is near, then the row.

    ``task.signals`` says how many signals the run has seen. Returns False, with nothing changed but a message too many,
    when there are more by now: the run must look at them instead. The run is over at ``ends_at`` whatever comes.

    Raises:
        LeaseLost: the task is no longer ours.
        CancelRequested: its owner wants it cancelled.
        Contended, DependencyDown: nothing was changed.
    """
    at = now()
    wake_at = min([ends_at, *(one.until for one in waits)])
    gen = task.gen + 1
    due_at = due(task, wake_at, at)
    if wake_at - at <= lanes.MAX_DELAY_SECONDS:
        try:
            send_timer(task, gen, wake_at)
        except DependencyDown:
            due_at = at
    sets: dict[str, Any] = {
        "status": str(Status.WAITING),
        "gen": gen,
        "next_try_at": wake_at,
        "due": wait_shard(task.task_id),
        "due_at": due_at,
        "attempt": 0,
        **carried(task),
        "waiting_for": [one.stored() for one in waits],
        "waiting_since": at,
    }
    if wants_webhook(task, waits):
        sets |= {"untold": True, "due_at": min(due_at, at + GRACE_SECONDS)}
    if any(one.kind == "children" for one in waits):
        sets["due_at"] = min(sets["due_at"], at + CHECK_SECONDS)
    # What it has used is charged now, however long it waits; what it may yet use is reserved anew when it goes on.
    spent = spend.add_ops(task, ended=False)
    charged = days.charge_of(task)
    sets |= {"precharged_tokens": task.usage.tokens, "precharged_micro_usd": task.micro_usd, "charged": charged}
    op, last = events.append_op(task, log, expires=events.expires(at))
    unseen = "#signals = :signals" if task.signals else "(attribute_not_exists(#signals) OR #signals = :signals)"
    row = table.update_op(
        row_key(task.task_id),
        sets=sets | {"last_seq": last},
        removes=("lease_until", "lease_owner", "sweeps", "unsent", "last_error", "reason"),
        same=held(task.lease_no),
        condition=f"attribute_not_exists(#cancel_requested) AND {unseen}",
        values={"signals": task.signals},
    )
    try:
        fenced_write([row, op, *spent], written=lambda old: old.gen == gen and old.lease_no == task.lease_no)
    except LeaseLost as lost:
        found = lost.row
        if found is None or (found.status, found.lease_no) != (Status.PROCESSING, task.lease_no):
            raise
        if found.cancel_requested:
            raise CancelRequested from lost
        if found.signals == task.signals:
            raise
        return False
    task.status, task.gen, task.next_try_at, task.last_seq = Status.WAITING, gen, wake_at, last
    task.waiting_for, task.waiting_since = sets["waiting_for"], at
    task.precharged_tokens, task.precharged_micro_usd = task.usage.tokens, task.micro_usd
    task.charged = charged
    task.unwritten.clear()
    return True


def wants_webhook(task: Task, waits: Sequence[Wait]) -> bool:
    """Whether somebody is to be told that a task waits: not of one that only sleeps."""
    return owed.wants_webhook(task) and any(one.kind not in SILENT for one in waits)


def looked_after(task: Task, due_at: float, **more: Any) -> None:
    """Note when the sweeper should look at a waiting task next, and that its webhook is on its way.

    Raises:
        Contended, DependencyDown: the sweeper looks once more, which does no harm.
    """
    table.change(
        row_key(task.task_id),
        sets={"due_at": due_at, **more},
        removes=("untold",),
        same={"status": str(Status.WAITING), "gen": task.gen},
    )  # it was woken, or ended


def send_timer(task: Task, gen: int, wake_at: float) -> None:
    """Send the message that brings a worker at the end of a wait; it comes up to a second early, never late."""
    lanes.send(task.lane, task.task_id, gen, user=task.user, delay_s=timer_delay(wake_at), trace=task.trace)


def timer_delay(wake_at: float) -> int:
    """Return for how long to hide a timer's message: SQS counts whole seconds, and a worker sees to the rest."""
    return max(0, math.floor(wake_at - now()))


def due(task: Task, wake_at: float, at: float) -> float:
    """Return when the sweeper should look at a waiting task next."""
    if wake_at - at <= lanes.MAX_DELAY_SECONDS:
        return wake_at + REPAIR_SECONDS
    reach = wake_at - REACH_SECONDS
    renew = renew_at(task)
    return reach if wake_at + settings().task_ttl_days * 43_200 <= kept_until(task) else min(reach, max(at, renew))


def kept_until(task: Task) -> float:
    """Return until when a task's items are kept at least."""
    return task.kept_until or events.expires(task.created)


def renew_at(task: Task) -> float:
    """Return when the items of a task that is still alive must be kept for longer: half a life before they go."""
    return kept_until(task) - settings().task_ttl_days * 43_200


def wake_op(task: Task) -> dict[str, Any]:
    """Make the Update that wakes a waiting task, as it was just read, for a signal that comes with it."""
    return table.update_op(
        row_key(task.task_id),
        sets={
            "status": str(Status.QUEUED),
            "gen": task.gen + 1,
            "reason": WOKEN,
            "next_try_at": 0.0,
            "due": due_shard(task.task_id),
            "due_at": now() + GRACE_SECONDS,
        },
        adds={"signals": 1},
        same={"status": str(Status.WAITING), "gen": task.gen},
    )
