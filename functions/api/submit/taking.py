"""The way in: repeat? -> may they? -> write it down -> enqueue. The order is what keeps the promise.

What is refused has changed nothing. What is written is kept, whether or not SQS takes the message: the sweeper sends
it then. What could not be written is taken back, quota included.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from functions.api.contract.problem import retry_after
from functions.api.door.gate import gate
from functions.api.submit import repeats, session_line
from functions.api.submit.allowed import allowed
from functions.api.submit.refusals import refuse, spent
from functions.api.submit.submission import Receipt, Submission, make_task
from shared import metrics
from shared.errors import BudgetExhausted, Contended, DependencyDown, IdempotencyMismatch, NotFound
from shared.limits.admission import Ask, Verdict
from shared.limits.headers import rate_limit_headers
from shared.logs import get_logger
from shared.tasks import parking, store
from shared.tasks.ids import new_task_id
from shared.tasks.model import Task

if TYPE_CHECKING:
    from functions.api.door.identity import Caller

log = get_logger("api")

MONEY = frozenset({"usd_per_day", "usd_per_day_key", "usd_per_day_global"})
"""Ceilings in USD: they do not bear what runs with a key of one's own cost."""
WRITE_TRIES = 4
"""Times that a write is tried while another request holds the same item (two submits with one key)."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """A task that its limits let in, with what it takes to write it or to give all that back."""

    task: Task
    wanted: Submission
    ask: Ask
    verdict: Verdict
    idempotency: store.Idempotency | None
    headers: dict[str, str]
    in_line: bool
    """Whether it stands in its session's line."""


def submit(
    caller: Caller,
    wanted: Submission,
    *,
    idempotency: store.Idempotency | None = None,
    trace: str | None = None,
) -> Receipt:
    """Take a task on.

    Raises:
        Problem: 402, 403, 409, 413, 422 or 429; nothing was written or charged.
        DependencyDown: what is needed is away; nothing was written or charged.
    """
    admitted = admit(caller, wanted, idempotency=idempotency, trace=trace)
    if isinstance(admitted, Receipt):
        return admitted
    receipt = write(admitted)
    if not receipt.repeat:
        start(receipt.task)
    return receipt


def admit(
    caller: Caller, wanted: Submission, *, idempotency: store.Idempotency | None, trace: str | None
) -> Admitted | Receipt:
    """Hold a submission against every limit and reserve what it needs; a repeat is answered at once.

    Raises:
        Problem, DependencyDown: nothing was charged.
    """
    lane, model = allowed(caller, wanted)
    if idempotency and (earlier := repeats.find(caller.user, idempotency)):
        return Receipt(earlier, True, {"Idempotent-Replayed": "true"})
    task = make_task(caller, wanted, new_task_id(), lane=lane, model=model, trace=trace)
    at, tokens, micro_usd = task.created, task.reserved_tokens, task.reserved_micro_usd
    ends = at + float(task.params["timeout_s"]) if task.params.get("timeout_s") else 0.0
    ask = Ask(task.user, task.task_id, task.day, tokens, micro_usd, caller.limits, lane, ends)
    verdict = gate().admit(ask)
    if not verdict.admitted and verdict.limit in MONEY and task.reserved_micro_usd and _pays(caller):
        task.reserved_micro_usd = 0
        ask = replace(ask, micro_usd=0)
        verdict = gate().admit(ask)
    headers = rate_limit_headers(verdict)
    if verdict.degraded:
        headers["Sluice-Degraded"] = "redis"
    if not verdict.admitted:
        raise refuse(verdict, ask, headers)
    task.parked = not verdict.slot
    in_line = bool(wanted.session_id) and wanted.on_busy != "parallel"
    if in_line:
        session_line.join(gate(), task, ask, wanted.on_busy)
    return Admitted(task, wanted, ask, verdict, idempotency, headers, in_line)


def _pays(caller: Caller) -> bool:
    """Whether the caller's runs use a provider's key of their own: no budget of the deployment's bears their money."""
    from shared import credentials  # here: only who is out of budget is asked for it

    return credentials.there_are(caller.user)


def write(admitted: Admitted) -> Receipt:
    """Write an admitted task down, or give back what it was admitted with. Nothing is sent yet: see `start`.

    Raises:
        Problem, DependencyDown: nothing was written or charged.
    """
    task = admitted.task
    written: Task | None = None
    try:
        written = _write(admitted)
    finally:
        if admitted.in_line and written is not task:
            session_line.leave(task)
    if written.task_id != task.task_id:  # another request with the same key was quicker
        _undo(admitted)
        return Receipt(written, True, {"Idempotent-Replayed": "true"})
    return Receipt(task, False, admitted.headers)


def start(task: Task, *, away: bool = False) -> bool:
    """Send a task that was just written, or have it wait for the one in front of it; False when SQS refused it.

    With ``away`` SQS refused another a moment ago: this one is left to the sweeper, which is told.
    """
    sent = True
    if task.after:
        session_line.follow(gate(), task)
    elif task.parked:
        parking.look_again(gate(), task)
    else:
        sent = _send(task, away)
    metrics.count("Submitted", lane=task.lane)
    return sent


def give_up(admitted: Admitted) -> None:
    """Give back what a task was admitted with that is not written."""
    if admitted.in_line:
        session_line.leave(admitted.task)
    _undo(admitted)


def _undo(admitted: Admitted) -> None:
    gate().undo(admitted.ask)
    parking.hand_on(gate(), admitted.task)


def _write(admitted: Admitted) -> Task:
    """Write the row; whatever goes wrong, either it stands or the admission is taken back."""
    task, wanted, ask, idempotency = admitted.task, admitted.wanted, admitted.ask, admitted.idempotency
    precharge = admitted.verdict.precharge
    if precharge:
        task.precharged_tokens, task.precharged_micro_usd = ask.tokens, ask.micro_usd
    try:
        if wanted.beforehand is not None:
            wanted.beforehand(task)
        return _patiently(lambda: store.submit(task, wanted.message, idempotency=idempotency, precharge=precharge))
    except BudgetExhausted as error:
        gate().undo(ask)
        midnight = 86_400 - task.created % 86_400
        raise spent(error.limit, ask, retry_after(midnight)) from error
    except (NotFound, IdempotencyMismatch) as error:
        _undo(admitted)
        raise (repeats.gone() if isinstance(error, NotFound) else error) from None
    except Exception:
        if _stands(task):
            return task
        gate().undo(ask)  # nothing is asked of a table that is away
        raise


def _patiently(write: Callable[[], Task]) -> Task:
    """Write, a few times over if another request (one with the same key) holds an item just then."""
    for tried in range(1, WRITE_TRIES):
        try:
            return write()
        except Contended:
            time.sleep(0.05 * tried)
    try:
        return write()
    except Contended as error:
        raise DependencyDown("dynamodb", retry_after_s=1) from error


def _stands(task: Task) -> bool:
    """After a failed write: did it happen all the same, only its answer being lost?"""
    try:
        store.get(task.task_id)
    except Exception:  # away still, or never written: the client is told to come again
        return False
    return True


def _send(task: Task, away: bool) -> bool:
    try:
        if not away:
            return parking.send(task)
        store.mark_unsent(task)
    except Exception as error:  # its row stands: whatever else fails is no answer to the client
        log.warning("the task becomes due by itself", extra={"task_id": task.task_id}, exc_info=error)
    return False
