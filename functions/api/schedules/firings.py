"""Makes the firings of schedules: each an ordinary submit of its owner, once.

The submit comes first, under an ``Idempotency-Key`` made of schedule and instant; then one conditional write moves the
schedule on. Whatever dies between the two, or runs twice, finds the task of the first submit and goes on from there.
"""

import time
from typing import Any

from functions.api.contract.problem import Problem
from functions.api.contract.requests import AgentRequest
from functions.api.control import cancel
from functions.api.door.identity import Caller
from functions.api.submit import taking
from functions.api.submit.repeats import digest
from functions.api.submit.submission import wanted_of
from shared import metrics
from shared.clock import iso, now
from shared.errors import Contended, DependencyDown, NewerVersion, NotFound
from shared.limits import keys
from shared.logs import get_logger
from shared.schedules import store, telling, timers
from shared.schedules.model import Schedule
from shared.tasks import lanes
from shared.tasks import store as tasks
from shared.tasks.model import Task

EARLY_SECONDS = 1.0
"""How early a message may come, SQS counting whole seconds; that time is waited for."""
IN_A_ROW = 10
"""Firings of one schedule that one message makes, when several are late."""
HELD_LEAST_SECONDS, HELD_MOST_SECONDS = 2.0, 60.0
"""How often a firing that waits for the run before it looks again: after a tenth of its wait, within these."""
REVOKED = "key_revoked"

_log = get_logger("firings")


class _Later(Exception):
    """The firing is not made yet."""

    def __init__(self, outcome: str, seconds: float, *, held: bool = False) -> None:
        super().__init__(outcome)
        self.outcome, self.seconds, self.held = outcome, seconds, held


def take(event: dict[str, Any]) -> dict[str, Any]:
    """Make the firings of a queue's batch; returns which messages are to come again."""
    failed = []
    for record in event["Records"]:
        try:
            fire(timers.parse(record["body"]))
        except (lanes.BadMessage, NewerVersion) as error:
            _log.warning("left alone", extra={"error": error.message})  # the sweeper sends what a row still asks for
        except (DependencyDown, Contended) as error:
            _log.warning("comes again", extra={"error": error.message})
            failed.append({"itemIdentifier": record["messageId"]})
        except Exception:  # what is wrong with one schedule makes no other late
            _log.exception("firing not made")
            failed.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failed}


def fire(told: timers.Firing) -> list[str]:
    """Make the firing that a message tells of, and those after it that are late; returns what became of each.

    Raises:
        DependencyDown, Contended: not all was done; the same message goes on with it.
    """
    done: list[str] = []
    try:
        schedule = store.load(told.user, told.schedule_id)
    except NotFound:
        return done
    while schedule.next_at is not None:
        early = schedule.fire_at - now()
        if early > EARLY_SECONDS or len(done) == IN_A_ROW:
            # Another message comes at that time, unless it was this one.
            if schedule.next_at == told.instant or len(done) == IN_A_ROW:
                timers.send(schedule)
            return done
        if early > 0:
            time.sleep(early)
        try:
            entry = _fire(schedule)
        except _Later as later:
            store.look_later(schedule, now() + later.seconds + timers.REPAIR_SECONDS, held=later.held)
            timers.send(schedule, delay_s=max(1.0, later.seconds))
            return [*done, later.outcome]
        moved = _move_on(schedule, entry)
        if moved is None:
            return done
        done.append(entry["outcome"])
        schedule = moved
    return done


def _move_on(schedule: Schedule, entry: dict[str, Any]) -> Schedule | None:
    """Write down what became of a firing, and go on to the next instant; None if another has done so."""
    assert schedule.next_at is not None  # noqa: S101 - for the type checker
    outcome = entry["outcome"]
    following = schedule.after(schedule.next_at)
    paused = REVOKED if entry.get("error", {}).get("code") == REVOKED else ""
    moved = schedule.changed(
        next_at=None if paused else following,
        held=False,
        ended=following is None and not paused,
        paused=paused,
        last={"instant": iso(schedule.next_at), "at": iso(now())} | entry,
        last_task=entry.get("task_id") or schedule.last_task,
        counts=schedule.counts | {outcome: schedule.counts.get(outcome, 0) + 1},
    )
    # The message first: one too many does no harm, one that is missing would make the next firing late.
    due_at = timers.due_at(moved)
    if moved.next_at is not None and now() < moved.fire_at - EARLY_SECONDS and timers.within_reach(moved):
        try:
            timers.send(moved)
        except DependencyDown:
            due_at = now()
    news = telling.of_firing(moved)
    if not store.write(moved, before=schedule, due_at=due_at, news=news):
        return None
    if news is not None:
        telling.send(news)
    metrics.count("Firings", outcome=outcome)
    _log.info("fired", extra={"schedule_id": schedule.schedule_id, "outcome": outcome, "late_s": _late(schedule)})
    return moved


def _late(schedule: Schedule) -> float:
    return round(now() - schedule.fire_at, 3)


def _fire(schedule: Schedule) -> dict[str, Any]:
    assert schedule.next_at is not None  # noqa: S101 - for the type checker
    repeat = tasks.Idempotency(
        digest(f"schedule {schedule.schedule_id} {schedule.next_at:.3f}"), digest(schedule.schedule_id)
    )
    try:
        made = tasks.find_repeat(schedule.user, repeat)  # whoever made it died before the schedule moved on
    except NotFound:
        return {"outcome": "submitted"}  # and its task has been deleted since
    if made is not None:
        return {"outcome": "submitted", "task_id": made.task_id}
    if now() > schedule.latest:
        return {"outcome": "missed"}
    identity = keys.of_digest(schedule.key)
    if identity is None:
        why = "the API key that the schedule runs under is revoked; change the schedule with another one"
        return {"outcome": "refused", "error": {"code": REVOKED, "message": why}}
    before = _running(schedule)
    if before is not None and schedule.overlap == "skip":
        return {"outcome": "skipped"}
    if before is not None and schedule.overlap == "queue":
        waited = max(0.0, now() - schedule.fire_at)
        raise _Later("held", min(HELD_MOST_SECONDS, max(HELD_LEAST_SECONDS, waited / 10)), held=True)
    if before is not None:
        cancel.cancel(before)
    caller = Caller(schedule.user, identity.user, identity.key_id, identity.limits)
    wanted = wanted_of(AgentRequest.model_validate(schedule.run))
    if schedule.traceparent:
        wanted.params["trace_link"] = schedule.traceparent
    try:
        receipt = taking.submit(caller, wanted, idempotency=repeat)
    except Problem as problem:
        wait = float(problem.headers.get("Retry-After", "inf"))
        if problem.status == 429 and now() + wait <= schedule.latest:
            raise _Later("put off", wait) from problem
        return {"outcome": "refused", "error": {"code": problem.code, "message": problem.message}}
    return {"outcome": "submitted", "task_id": receipt.task.task_id}


def _running(schedule: Schedule) -> Task | None:
    """Return the run of the firing before, if it has not ended."""
    if not schedule.last_task:
        return None
    try:
        task = tasks.get(schedule.last_task)
    except NotFound:
        return None
    return None if task.status.terminal else task
