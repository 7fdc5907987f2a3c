"""A run's log as it is written: one item a write, with its events and the step that was finished with them.

No transaction and no look at the row: a record is keyed by the number of its first event and only put where nothing
stands, so of two workers that know the same end of the log one loses. Who takes a task over from a dead worker reads
what the log has beyond the row, and puts a fence where the next record goes: only a worker with its lease, or a later
one, can write there. A late worker, which knows an older end, finds that place taken, however late it wakes.

A record of a step tells what the run has used up altogether. The row learns of it with its next write; until then the
record knows better (`catch_up`). All figures only grow, so the larger ones are the newer.
"""

import json
from collections.abc import Iterable
from typing import Any

from shared.clock import now
from shared.errors import Contended, Gone, LeaseLost
from shared.settings import settings
from shared.tasks import blobs, days, table
from shared.tasks.items import Attributes, attribute, plain, row_key
from shared.tasks.model import FIELDS, ITEM_VERSION, Task, Usage, dumps
from shared.tasks.ranges import under

PREFIX, AFTER = "EVENT#", "EVENT$"
"""How the keys of records begin, and what comes after all of them."""
PLAIN_BYTES = 600
"""A record's content up to this size is not compressed: with its other attributes it stays below one write unit."""
WAITS_CHARACTERS = 16_000
"""How much each heartbeat may say of what a run waits for; a hundred sleeps are less. Large schemas of signals would
not fit a row beside all else, and a heartbeat that is refused loses the lease."""
TRIES = 5
"""How often a fence is put; each other try meets a record that a late worker still wrote."""


def sk(first: int) -> str:
    """Return the sort key of the record that begins with an event."""
    return f"{PREFIX}{first:08d}"


def key(task_id: str, first: int) -> Attributes:
    """Return the key of the record that begins with an event."""
    return row_key(task_id, sk(first))


def expires(at: float) -> float:
    """When something written at ``at`` may be deleted."""
    return at + settings().task_ttl_days * 86_400


def put_op(
    task: Task,
    batch: list[dict[str, Any]],
    *,
    expires: float,
    step: dict[str, Any] | None = None,
    failure: dict[str, Any] | None = None,
    state: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Make the Put of a record behind ``task.last_seq``; ``batch`` holds its events, at least one, numbered."""
    content: dict[str, Any] = {"events": batch}
    if step is not None:
        content["step"] = step
    if failure is not None:  # no step for versions that know of no failures: they try it again, as they always did
        content["failure"] = failure
    if state is not None:
        content["state"] = state
    first = task.last_seq + 1
    item = key(task.task_id, first) | {
        "ttl": attribute(int(expires)),
        "lease": attribute(task.lease_no),
        **blobs.pack(dumps(content), f"tasks/{task.task_id}/events/{first}", plain_bytes=PLAIN_BYTES),
    }
    return _guarded(item, task.lease_no)


def _guarded(item: Attributes, lease_no: int) -> dict[str, Any]:
    versioned = {"v": attribute(ITEM_VERSION)} | item
    fenced = "attribute_not_exists(#pk) OR #fence <= :lease"
    return table.put_op(versioned, condition=fenced, values={"lease": lease_no})


def write(op: dict[str, Any]) -> None:
    """Put a record.

    Raises:
        LeaseLost: another worker writes this run's log.
        Contended, DependencyDown: nothing was written; try again.
    """
    mine = op["Put"]["Item"]
    try:
        table.put(op)
    except table.ConditionFailed as refusal:
        there = refusal.items.get(0) or table.get({"pk": mine["pk"], "sk": mine["sk"]})
        # A put whose answer was lost, and that is tried again, finds itself.
        if there is None or there.get("lease") != mine["lease"] or _told(there) != _told(mine):
            raise LeaseLost("another worker writes the log") from refusal


def _told(item: Attributes) -> dict[str, Any]:
    return content(item) | {"state": None}


def content(item: Attributes) -> dict[str, Any]:
    """Return what a record says; older versions wrote a list of events."""
    if "fence" in item:
        return {"events": []}
    found = json.loads(blobs.unpack(item))
    return found if isinstance(found, dict) else {"events": found}


def state(task: Task, use: Usage | None) -> dict[str, Any]:
    """Return what a record tells of its run, ``use`` counted in."""
    found = {
        **days.used(task, use),
        "calls": task.calls + (use is not None),
        "reserved_tokens": task.reserved_tokens,
        "reserved_micro_usd": task.reserved_micro_usd,
        "model_used": task.model_used,
        "started_at": task.started_at,
        "raised": task.raised or None,
        "refused": task.refused or None,
    }
    return {name: value for name, value in found.items() if value is not None}


def progress(task: Task) -> dict[str, Any]:
    """Return what the row may be told of a run that goes on, from another thread; nothing while it may be half true.

    The end of the log is looked at first: what is counted with a record is counted before the end moves.
    """
    last = task.last_seq
    found = state(task, None) | {"last_seq": last, "attempt": task.attempt}
    if task.waiting_for and len(dumps(task.waiting_for)) <= WAITS_CHARACTERS:
        found["waiting_for"] = task.waiting_for  # who takes over must not let a wait begin anew
    return {} if task.unwritten else found


def adopt(task: Task, said: dict[str, Any]) -> None:
    """Let ``task`` know what a record says that came after its row was written."""
    for event in said["events"]:
        task.last_seq = max(task.last_seq, int(event["seq"]))
    if "step" in said and "loose" not in said["step"]:
        task.attempt, task.last_error = 0, None
    told = said.get("state")
    if told and "raised" in told:
        task.raised = told["raised"]
    if told and "refused" in told:
        task.refused = task.refused | told["refused"]  # a row may know of some before the log does
    if told and _used(told) > (task.input_tokens + task.output_tokens, task.micro_usd, task.calls):
        for name, value in told.items():
            if name in FIELDS:
                setattr(task, name, value)


def _used(told: dict[str, Any]) -> tuple[int, int, int]:
    return told["input_tokens"] + told["output_tokens"], told["micro_usd"], told["calls"]


def items(task_id: str, low: str, high: str = AFTER) -> Iterable[Attributes]:
    """Read items of a task's log, in order, from one sort key to another."""
    return table.query(**under(f"TASK#{task_id}", between=(low, high), ConsistentRead=True))


def catch_up(task: Task) -> None:
    """Read what the log has beyond a row that was just read.

    A record whose object is gone counts as one event: its task can be ended all the same, and a run that is to go on
    fails where it reads its steps.

    Raises:
        NewerVersion: a newer version wrote it.
    """
    for item in items(task.task_id, sk(task.last_seq + 1)):
        try:
            said = content(item)
        except Gone:
            said = {"events": [{"seq": item["sk"]["S"].removeprefix(PREFIX)}]}
        adopt(task, said)


def take_over(task: Task) -> None:
    """Know the whole log of a task that was taken from another worker, and let that one write no more of it.

    Raises:
        LeaseLost: another took it over meanwhile.
        Contended, DependencyDown: try again.
    """
    for _ in range(TRIES):
        catch_up(task)
        fence = {"fence": attribute(task.lease_no), "ttl": attribute(int(expires(now())))}
        try:
            table.put(_guarded(key(task.task_id, task.last_seq + 1) | fence, task.lease_no))
        except table.ConditionFailed as refusal:
            there = refusal.items.get(0) or {}
            if "fence" in there and plain(there["fence"]) > task.lease_no:
                raise LeaseLost("another took it over") from refusal
            continue
        return
    raise Contended("a late worker still writes")
