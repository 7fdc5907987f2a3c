"""The end of a task, written once: status, result, session turn and spending in one transaction.

The last event of a run that its worker ends is the ended row itself. Where nobody holds the task it is a record of the
log, whose place a late worker then finds taken.
"""

import json
from collections.abc import Sequence
from typing import Any

from shared import wire
from shared.clock import now
from shared.errors import NotFound, TooLarge
from shared.settings import settings
from shared.tasks import conversations, days, ending, events, family, owed, records, sessions, spend, store, table
from shared.tasks.claims import environment
from shared.tasks.conditions import If
from shared.tasks.items import due_shard, row_key
from shared.tasks.leases import Fenced, fenced_write, held
from shared.tasks.model import ITEM_VERSION, Status, Task, dumps
from shared.tasks.model import Outcome as Outcome

RESPONSE_INLINE_BYTES = 32 * 1024
"""A response, and data, up to this size are never given an object of their own."""
DATA_BYTES = 1024 * 1024
"""Largest JSON of a result's data: twice what a model may write of tool arguments (128,000 tokens), a sixth of what an
answer of Lambda may hold."""
SHOWN_BYTES = {"response": 4_000_000, "data": 1_400_000}
"""How much of an answer each may take; what is larger is fetched by a presigned URL. Together `wire.ANSWER_BYTES`."""
CONTENT_TYPES = {"response": "text/plain; charset=utf-8", "data": "application/json"}
LIVE = (
    *("due", "due_at", "lease_until", "lease_owner", "parked", "next_try_at", "reason", "sweeps", "unsent"),
    *("waiting_for", "waiting_since", "untold", "reserved_tokens", "reserved_micro_usd"),
)
"""Attributes that only a live task has; one whose webhook is still to be sent stays due."""
CEILINGS = ("running_cap", "cap_tokens", "cap_micro_usd", "cap_key_tokens", "cap_key_micro_usd")
"""What bounded a run, which nobody asks of one that is complete: its answer may have the room."""
AFTER_SECONDS = 0.002
"""How much later than the turns that it saw a run ended, at least, whatever the clocks say; turns count by 1 ms."""
UNSTORED_SECONDS = 3600
"""How long the answer of a run is kept whose client said ``store: false``; DynamoDB deletes it soon after."""


def settle(
    task: Task,
    outcome: Outcome,
    *,
    message: str = "",
    asked: Sequence[dict[str, Any]] | None = None,
    log: Sequence[events.Event] = (),
) -> None:
    """End a run that this worker holds; on return ``task`` says what the row says.

    ``message`` is what its session remembers of its user, ``asked`` the message list if it was one.

    Raises:
        LeaseLost: the task is no longer ours: somebody else ends it.
        TooLarge: the result is larger than can be kept; nothing was written, and it can end otherwise.
        Contended, DependencyDown: nothing was written; try again.
    """
    end = ready(task, outcome, message=message, asked=asked, log=log)
    fenced_write(end.ops, written=end.written)
    end.note()


def ready(
    task: Task, outcome: Outcome, *, message: str, asked: Sequence[dict[str, Any]] | None, log: Sequence[events.Event]
) -> Fenced:
    """Return the write that ``settle`` does, and what it notes then; raises what it raises before it writes."""
    when, by = If(same=held(task.lease_no)), f"{environment()}#{task.lease_no}"
    return _end(task, outcome, when, by=by, by_worker=True, message=message, asked=asked, log=log)


def end_unheld(task: Task, outcome: Outcome) -> None:
    """End a task that no worker holds, as it was just read: a cancelled queued one, a dead letter.

    Raises:
        LeaseLost: it changed since it was read: read again.
        Contended, DependencyDown: nothing was written; try again.
    """
    same = {"status": str(task.status), "lease_no": task.lease_no, "gen": task.gen}
    if task.status is Status.PROCESSING:
        when = If(same=same, condition="#lease_until <= :now", values={"now": now()})
        records.catch_up(task)  # its worker died, or is late
        from shared.tasks import flights  # here: few tasks end so

        for use in flights.recover(task, task.lease_no):
            days.begin(task, use.day)
            days.count(task, use)
    else:
        when = If(same=same | {"last_seq": task.last_seq})
    end = _end(task, outcome, when, by=f"{environment()}#unheld", by_worker=False)
    fenced_write(end.ops, written=end.written)
    end.note()


def _end(
    task: Task,
    outcome: Outcome,
    when: If,
    *,
    by: str,
    by_worker: bool,
    message: str = "",
    asked: Sequence[dict[str, Any]] | None = None,
    log: Sequence[events.Event] = (),
) -> Fenced:
    at = max(now(), task.newest_turn + AFTER_SECONDS)
    expires = events.expires(at)
    kept = at + UNSTORED_SECONDS if task.params.get("store") is False else expires
    sets: dict[str, Any] = {"status": str(outcome.status), "ended_at": at, "ended_by": by, "ttl": int(kept)}
    sets |= days.used(task)
    sets["calls"] = task.calls
    if task.model_used and task.model_used != task.model:
        sets["model_used"] = task.model_used
    if started_at := task.started_at or task.run_started:
        sets["started_at"] = started_at
    if task.raised:  # its parent asks for it
        sets["raised"] = task.raised
    ops: list[dict[str, Any]] = []
    data: dict[str, Any] = {}
    texts: dict[str, Any] = {}
    if outcome.status is Status.COMPLETE:
        response = outcome.response or ""
        sets["result"], texts, large = _result(task, outcome, response)
        ops += [_blob_op(task, name, text, kept) for name, text in large.items()]
        data = {"response": response, "tokens": task.usage.tokens}
        if conversations.remembers(task):
            ops += sessions.put_ops(task, outcome, message=message, asked=asked, at=at, expires=expires)
    elif outcome.error is not None:
        sets["error"] = outcome.error
        data = {"error": outcome.error}
    last = task.last_seq + len(log) + 1
    if not by_worker:
        event, last = events.append_op(task, [*log, events.Event(str(outcome.status), at, data)], expires=kept)
        ops.insert(0, event)
    sets["last_seq"] = last
    if owed.dead_letter(outcome):
        sets["due"], sets["due_at"] = owed.DEAD, at
    elif owed.telling(task) or task.may_leave_children:
        # In the transaction: whoever ends a task may die before it enqueued the webhook
        sets["due"], sets["due_at"] = due_shard(task.task_id), at + owed.GRACE_SECONDS
    removes = tuple(name for name in LIVE if name not in sets) + (() if task.last_error else ("last_error",))
    if outcome.status is Status.COMPLETE:
        removes += CEILINGS
    if by_worker:
        shown = events.numbered(task.last_seq, log)
        sets |= {"v": ITEM_VERSION} | (where := ending.keep(task, sets, removes, texts, shown, expires=kept))
        if "ending_at" in where and "data" in texts:
            sets["result"]["data"] = None
    row = table.update_op(row_key(task.task_id), sets=sets, removes=removes, **when)

    def note() -> None:
        task.unwritten.clear()
        task.status, task.ended_at, task.last_seq, task.started_at = outcome.status, at, last, started_at
        task.ending, task.ending_at = sets.get("ending"), sets.get("ending_at")
        task.result, task.error = sets.get("result"), outcome.error
        if task.result is not None and task.ending_at is None:
            task.result = texts | sets["result"]
        elif task.result is not None:
            task.result = {"response": None} | sets["result"]

    return Fenced(
        [row, *ops, *spend.add_ops(task), *family.ended_ops(task, expires=expires)],
        lambda old: (old.ended_by, old.status, old.last_seq) == (by, outcome.status, last),
        note,
    )


def _result(task: Task, outcome: Outcome, response: str) -> tuple[dict[str, Any], dict[str, Any], dict[str, str]]:
    """Return the result as the row holds it, what goes with the end (`ending`), and texts with items of their own.

    These are too large for an answer, and can be read by their address.
    """
    result: dict[str, Any] = {"tokens": task.usage.tokens, "session_id": task.session_id or None}
    kept: dict[str, Any] = {"response": response}
    texts = {"response": response}
    if outcome.data:
        kept["data"] = outcome.data
        texts["data"] = dumps(outcome.data)
        size = len(texts["data"].encode())
        if size > DATA_BYTES:
            raise TooLarge(f"the result's data has {size} bytes, over the limit of {DATA_BYTES}")
    large: dict[str, str] = {}
    if settings().blob_bucket:
        for name, text in texts.items():
            if len(text.encode()) > RESPONSE_INLINE_BYTES and not wire.fits(text, SHOWN_BYTES[name]):
                result |= {name: None, f"{name}_bytes": len(text.encode())}
                large[name] = text
                del kept[name]
    return result, kept, large


def _blob_op(task: Task, name: str, text: str, expires: float) -> dict[str, Any]:
    return store.blob_op(task.task_id, name, text, expires=expires, content_type=CONTENT_TYPES[name])


def result_of(task: Task, *, leave: Sequence[str] = ()) -> dict[str, Any] | None:
    """Return a complete task's result with its response and its data, wherever these are stored.

    What ``leave`` names is not read: None stands for it.
    """
    if task.result is None:
        return None
    wanted = [name for name in ("response", "data") if name not in leave]
    missing = [name for name in wanted if task.result.get(name, "") is None]
    if not missing:
        return dict(task.result)
    kept = ending.read(task)
    found = {name: kept[name] for name in missing if name in kept}
    for name in missing:
        if name not in kept:
            text = store.read_blob(task.task_id, name) if f"{name}_bytes" in task.result or not ending.has(task) else ""
            found[name] = text if name == "response" else json.loads(text)
    return task.result | found


def cancel(task_id: str, user: str) -> Task:
    """Cancel a task: at once while it is queued, else by asking its worker. Idempotent; returns it as it now is.

    Raises:
        NotFound: no such task, or another user's.
        Contended: it changed hands too often to catch; try again.
    """
    from shared.errors import Contended, LeaseLost
    from shared.tasks import cancels  # and Valkey's client, which who only settles does without

    for _ in range(5):
        task = store.get(task_id)
        if task.user != user:
            raise NotFound("no such task")
        if task.status.terminal:
            return task
        lapsed = task.status is Status.PROCESSING and task.lease_until <= now()
        try:
            if task.status in (Status.QUEUED, Status.WAITING) or lapsed:
                end_unheld(task, Outcome(status=Status.CANCELLED))
                return task
            op = table.update_op(
                row_key(task_id),
                sets={"cancel_requested": True},
                same=held(task.lease_no),
            )
            table.update(op)
            task.cancel_requested = True
            cancels.tell(task_id, task.lease_no)
            return task
        except (LeaseLost, Contended, table.ConditionFailed):
            continue
    raise Contended("the task is changing hands; try again")
