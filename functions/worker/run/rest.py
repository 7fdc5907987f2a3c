"""Suspending a run that only waits: written, told, and everything that it held given back."""

import asyncio

from functions.worker.environment.environment import Environment
from functions.worker.record.eventlog import EventLog
from functions.worker.record.persist import persist
from functions.worker.run.waits import Waits
from shared import metrics, webhooks
from shared.clock import now
from shared.errors import Contended, DependencyDown
from shared.logs import get_logger
from shared.tasks import waits, waking
from shared.tasks.events import Event
from shared.tasks.model import Task

_log = get_logger("rest")


async def suspend(task: Task, pending: Waits, log: EventLog, ends_at: float) -> list[Event] | None:
    """Write that a run waits; returns the events that were written with it, or None when a signal came meanwhile.

    Raises:
        CancelRequested: its owner wants it cancelled; its events are still pending.
        LeaseLost, Contended, DependencyDown: nothing was written.
    """
    events = log.take()
    found = pending.pending()
    shown = [waits.public(one.stored()) for one in found]
    written = [*events, Event("waiting", now(), {"for": shown})]
    done = False
    try:
        done = await persist(waits.suspend, task, found, written, ends_at=ends_at)
    finally:
        if not done:
            log.give_back(events)
    return written if done else None


async def leave(task: Task, environment: Environment, used: tuple[int, int]) -> None:
    """See to what follows: counts, the running slot, the webhook, a line in the log. Never raises for these.

    ``used``: what nobody counted before, see `waking.rests`.
    """
    kinds = sorted({str(one["kind"]) for one in task.waiting_for})
    for kind in kinds:
        metrics.count("Waiting", kind=kind)
    _log.info("waits", extra={"kinds": kinds, "until": round(task.next_try_at, 1)})
    await asyncio.to_thread(_see_to, task, environment, used)


def _see_to(task: Task, environment: Environment, used: tuple[int, int]) -> None:
    waking.rests(environment.gate, task, used)
    waking.expects(environment.lanes, task)
    _tell(task)


def _tell(task: Task) -> None:
    if not waits.wants_webhook(task, waits.of_row(task)):
        return
    try:
        webhooks.tell_waiting(task)
        waits.looked_after(task, waits.due(task, task.next_try_at, now()))
    except (DependencyDown, Contended) as error:  # the sweeper sees to it
        _log.warning("webhook not enqueued or not noted", extra={"error": error.message})


def woken(task: Task, environment: Environment) -> None:
    """Take a run up again that waited: how long that was, and its place in the counts."""
    at = now()
    since, task.waiting_since = task.waiting_since, 0.0
    task.waited_s += max(0.0, at - since)
    metrics.emit({"Woken": (1, "Count"), "WaitSeconds": (round(at - since, 3), "Seconds")})
    waking.count_again(environment.gate, task)
