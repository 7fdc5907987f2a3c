"""What one sweep does: send again what lost its message, free what a dead worker held, unpark what waits in vain.

The `due` index lists live tasks by when somebody should look after them. Looking is cheap to repeat and sending twice
is harmless: the row decides.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Set
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from itertools import batched
from typing import Any

from functions.sweeper import alarms, alerts, batches, firings
from functions.sweeper.recount import recount
from functions.sweeper.shards import seen
from shared import metrics, watchers
from shared.alerts import noticing
from shared.clock import day, now
from shared.errors import Contended, DependencyDown, NewerVersion, NotFound
from shared.limits import names
from shared.limits.admission import Gate
from shared.logs import get_logger
from shared.settings import settings
from shared.tasks import (
    aftermath,
    days,
    kin,
    lanes,
    listing,
    overdue,
    owed,
    parking,
    settle,
    spend,
    store,
    succession,
    table,
)
from shared.tasks.items import DUE_SHARDS, Attributes, read_task, row_key
from shared.tasks.leases import RESEND_AFTER_SECONDS, RUNNING_CHECK_SECONDS
from shared.tasks.model import LANES, Outcome, Status, Task
from shared.valkey import RedisError

PER_SHARD = 4_000
"""Tasks looked at per index partition and sweep; their keys fit one page of the index."""
AT_ONCE = 8
"""Tasks seen to at the same time."""
OVERDUE_ENTRIES = 500
"""Open entries in Valkey checked against their rows per sweep."""
PARKED_RECHECK_SECONDS = 60.0
MAX_DOUBLINGS = 6
CHILDREN_AT_ONCE = 1_000
"""Children of one ended run that one sweep ends."""

_log = get_logger("sweeper")


@cache
def _gate() -> Gate:
    return Gate(load_spend=spend.load)


def sweep(stop_at: float) -> dict[str, int]:
    """Run once over everything that is due; stops early at ``stop_at``. Returns counts by what was done."""
    done: Counter[str] = Counter()
    failed: list[Exception] = []
    parts: tuple[Callable[[], Mapping[str, int]], ...] = (
        partial(_look_after_all, stop_at),
        partial(alarms.ring, _gate(), stop_at),
        partial(firings.bring, stop_at),
        partial(firings.tell, stop_at),
        partial(batches.poke, stop_at),
        lambda: {"counters freed": _free_counters(stop_at)},
        lambda: {"recounted": recount(_gate(), stop_at)},
        partial(alerts.tell, stop_at),
    )
    for part in parts:
        try:
            done.update(part())  # `+=` would drop what counts nothing
        except Exception as error:  # the others look after other things, and may have all that they need
            _log.exception("a part of the sweep failed")
            failed.append(error)
    metrics.emit({"Resent": (done["sent"], "Count"), "Unparked": (done["unparked"], "Count")})
    _publish_spending()
    if failed:
        raise failed[0]
    return dict(done)


def _look_after_all(stop_at: float) -> Counter[str]:
    """Look after the live tasks that are due, partition by partition."""
    done: Counter[str] = Counter()
    empty, idle = _lanes_without()
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="sweep") as pool:
        for shard in range(DUE_SHARDS):
            # When a lane holds no message, every queued task of it has lost its own, however young.
            horizon = now() + (RESEND_AFTER_SECONDS * 2**MAX_DOUBLINGS if empty else 0)
            due = listing.due(str(shard), before=horizon, limit=PER_SHARD)
            for ids in batched(due, table.READ_AT_ONCE, strict=False):
                if now() > stop_at:
                    break
                rows = table.get_many([row_key(task_id) for task_id in ids])
                done["gone"] += len(ids) - len(rows)
                done.update(pool.map(partial(seen, partial(_see_to, due, empty, idle), stop_at), rows))
    return done


def _see_to(due: dict[str, float], empty: set[str], idle: set[str], row: Attributes) -> str:
    task = read_task(row)
    return _look_after(task, empty, idle, due[task.task_id])


def _publish_spending() -> None:
    """Publish how much of the day's ceilings is spent: of the tokens' or the money's, whichever is nearer its end."""
    if not spend.has_global_ceiling():
        return
    try:
        tokens, micro_usd = spend.load(spend.EVERYONE, day(now()))
    except DependencyDown:
        return
    ceilings = ((tokens, settings().global_tokens_per_day), (micro_usd / 1_000_000, settings().global_usd_per_day))
    share = max(spent / ceiling for spent, ceiling in ceilings if ceiling)
    metrics.emit({"SpendShare": (round(share * 100, 2), "Percent")})


def _lanes_without() -> tuple[set[str], set[str]]:
    """Return the lanes without any message that nobody has, and those without one that is due."""
    empty, idle = set(), set()
    for lane in LANES:
        try:
            counts = lanes.backlog(settings().queue_urls[lane])
        except DependencyDown:
            continue
        if counts["visible"] == 0:
            idle.add(lane)
            if counts["delayed"] == 0:
                empty.add(lane)
    return empty, idle


def _look_after(task: Task, empty: Set[str], idle: Set[str] = frozenset(), due_at: float = math.inf) -> str:
    at = now()
    if task.status.terminal:
        if at < (task.ended_at or 0) + owed.GRACE_SECONDS:
            return "ended"
        # who ended it died before it could
        announced = aftermath.announce(task)
        if task.children:
            return _look_after_children(task)
        return "announced" if announced else "not announced"
    if task.status is Status.PROCESSING:
        if task.lease_until + 1 > at:
            if due_at <= at:
                _postpone(task, RUNNING_CHECK_SECONDS, count=False)
            return "running"
        if task.cancel_requested:
            settle.end_unheld(task, Outcome(status=Status.CANCELLED))
            aftermath.finished(_gate(), task)
            return "cancelled"
        if task.lease_until + RESEND_AFTER_SECONDS / 30 > at:
            return "running"  # the queue brings it back by itself
        return _send(task)
    if overdue.expire(_gate(), task):
        return "timed out"
    if task.after:
        return _try_wake(task)
    if task.parked:
        return _try_unpark(task)
    unsent = task.unsent or task.reason == "unsent"
    waited = at - max(task.next_try_at, task.created)
    if waited < (0 if unsent else store.UNSENT_GRACE_SECONDS) or (unsent and at < due_at):
        return "waiting"
    patience = RESEND_AFTER_SECONDS * 2 ** min(task.sweeps, MAX_DOUBLINGS)
    # Where no message is due, what should have been is lost, or in the hands of a worker that dies just now. Once: the
    # messages of a lane that is paused are put off, and each is one too many when it is not.
    lost = task.lane in empty or (task.lane in idle and not task.sweeps)
    if unsent or lost or waited >= patience:
        return _send(task)
    _postpone(task, patience - waited, count=False)
    return "waiting"


def _look_after_children(task: Task) -> str:
    """End the children of a run that has ended, until none is live."""
    kin.tell_parent(_gate(), task)
    if kin.end_children(_gate(), task, aftermath.finished, most=CHILDREN_AT_ONCE):
        _postpone(task, 0, count=False)
        return "children ended"
    owed.leave_alone(task)
    return "no child left"


def _send(task: Task) -> str:
    lanes.send(task.lane, task.task_id, task.gen, user=task.user, trace=task.trace)
    doubling = min(task.sweeps + 1, MAX_DOUBLINGS)
    _postpone(task, RESEND_AFTER_SECONDS * 2**doubling, count=True)
    _log.info("sent again", extra={"task_id": task.task_id, "status": str(task.status), "sweeps": task.sweeps + 1})
    return "sent"


def _postpone(task: Task, delay_s: float, *, count: bool) -> None:
    op: dict[str, Any] = table.update_op(
        row_key(task.task_id),
        sets={"due_at": now() + delay_s},
        adds={"sweeps": 1} if count else None,
        removes=("unsent", "reason") if task.reason == "unsent" else ("unsent",),
        same={"status": str(task.status), "gen": task.gen, "lease_no": task.lease_no},
    )
    table.update(op)


def _try_wake(task: Task) -> str:
    if succession.follow(task):
        _postpone(task, PARKED_RECHECK_SECONDS * 2 ** min(task.sweeps, 3), count=True)
        return "waits for its session"
    return "unparked" if parking.wake(_gate(), task.task_id) else "changed meanwhile"


def _try_unpark(task: Task) -> str:
    try:
        got = _gate().take_slot(task.user, task.task_id, task.running_cap, parking.PARKED_SLOT_SECONDS)
    except (RedisError, DependencyDown):
        got = True  # without Valkey replicas are the only bound
    if not got:
        _postpone(task, PARKED_RECHECK_SECONDS * 2 ** min(task.sweeps, 3), count=True)
        return "still parked"
    return "unparked" if parking.unpark(_gate(), task.user, task.task_id) else "changed meanwhile"


def _free_counters(stop_at: float) -> int:
    """Settle counters of tasks that ended while nobody could say so to Valkey."""
    freed = 0
    try:
        for user, task_id, day in _gate().overdue(OVERDUE_ENTRIES):
            if now() > stop_at:
                break
            try:
                task = store.get(task_id)
            except NotFound:
                _gate().settle(user, task_id, day, 0, 0)
                freed += 1
                continue
            except NewerVersion:
                continue
            if task.status.terminal:
                told = watchers.finish(task_id)
                _gate().settle(user, task_id, day, *days.billed(task).get(day, (0, 0)))
                if not told:
                    _gate().look_again(user, task_id, day)
                for whose in (user, names.key_name(user)):  # a complete run's row no longer says what bounded it
                    noticing.look(whose, day)
                freed += 1
    except (RedisError, DependencyDown, Contended) as error:
        _log.warning("counters not checked", extra={"error": str(error)})
    return freed
