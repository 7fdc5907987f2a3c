"""Many submits in one request: each by itself, or all of them or none.

All or none is two rounds. First every run is held against every limit, and one refusal gives all of it back. Then they
are written, and only when the last one stands are they sent: until then no worker knows of any, and what is written can
be taken back. `SECONDS` is less than the sweeper leaves a task alone (`store.UNSENT_GRACE_SECONDS`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from functions.api.contract.problem import Problem, problem_of, unavailable
from functions.api.submit.submission import Receipt, Submission
from functions.api.submit.taking import Admitted, admit, give_up, start, submit, write
from shared.errors import Contended, DependencyDown, LeaseLost, SluiceError
from shared.logs import get_logger
from shared.tasks import partitions, sessions, settle, store
from shared.tasks.model import Status

if TYPE_CHECKING:
    from functions.api.door.identity import Caller

MOST_RUNS = 100
"""Most runs of one request."""
SECONDS = 20.0
"""How long a request goes on to take runs on; API Gateway gives up after 30 s."""

log = get_logger("api")


@dataclass(frozen=True, slots=True)
class Run:
    """One submit of a batch, checked: whose it is, what it wants, and its key."""

    caller: Caller
    wanted: Submission
    idempotency: store.Idempotency | None


def each(runs: Sequence[Callable[[], Run]], trace: str | None) -> list[Receipt | Problem]:
    """Take every run on by itself; returns what became of each, in their order. Each of ``runs`` checks one."""
    until = monotonic() + SECONDS
    found: list[Receipt | Problem] = []
    away: Problem | None = None
    for check in runs:
        away = away or _late(until)
        if away is not None:
            found.append(away)
            continue
        try:
            run = check()
            found.append(submit(run.caller, run.wanted, idempotency=run.idempotency, trace=trace))
        except (Problem, SluiceError, ClientError, BotoCoreError) as error:
            problem = problem_of(error)
            found.append(problem)
            away = problem if problem.status == 503 else None  # the others would only wait for the same
    return found


def whole(runs: Sequence[Callable[[], Run]], trace: str | None) -> list[Receipt]:
    """Take all runs on, or none.

    Raises:
        Problem: one was refused, ``param`` says which; nothing is left of the others.
    """
    until = monotonic() + SECONDS
    checked = [_of(number, check) for number, check in enumerate(runs)]
    admitted: list[Admitted | Receipt] = []
    receipts: list[Receipt] = []
    try:
        for number, run in enumerate(checked):
            admitted.append(_of(number, partial(_admit, run, trace, until)))
        for number, one in enumerate(admitted):
            receipts.append(_of(number, partial(_write, one, until)))
    except BaseException as error:
        # The one whose write failed has given back what it had by itself; in time or not, it was tried.
        tried = len(receipts) + (len(admitted) == len(checked) and not isinstance(error, _Late))
        _take_back(admitted, receipts, tried)
        raise
    away = False  # the others would only wait for the same, longer than the function has
    for receipt in receipts:
        if not receipt.repeat:
            away = not start(receipt.task, away=away) or away
    return receipts


class _Late(Problem):
    """The request has taken as long as it may."""


def _late(until: float) -> Problem | None:
    if monotonic() < until:
        return None
    return _Late(**vars(unavailable(f"{SECONDS:.0f} s were not enough for so many runs; send the others again", 1)))


def _of[T](number: int, what: Callable[[], T]) -> T:
    """Do something for one run; a problem of it names that one."""
    try:
        return what()
    except Problem as problem:
        place = f"runs.{number}"
        raise replace(problem, param=f"{place}.{problem.param}" if problem.param else place) from problem
    except SluiceError as error:
        meant = problem_of(error)
        if meant.status >= 500:
            raise
        raise replace(meant, param=f"runs.{number}") from error


def _admit(run: Run, trace: str | None, until: float) -> Admitted | Receipt:
    if (late := _late(until)) is not None:
        raise late
    return admit(run.caller, run.wanted, idempotency=run.idempotency, trace=trace)


def _write(one: Admitted | Receipt, until: float) -> Receipt:
    if isinstance(one, Receipt):
        return one
    if (late := _late(until)) is not None:
        raise late
    return write(one)


def _take_back(admitted: Sequence[Admitted | Receipt], receipts: Sequence[Receipt], tried: int) -> None:
    """Undo what was done for a batch: the newest first, as they stand in their sessions' lines."""
    for number, one in reversed(list(enumerate(admitted))):
        if isinstance(one, Receipt):
            continue
        if number >= tried:
            give_up(one)
        elif number < len(receipts) and not receipts[number].repeat:
            _remove(one)


def _remove(one: Admitted) -> None:
    """Remove a task that was written and not sent."""
    task = one.task
    try:
        settle.end_unheld(task, settle.Outcome(status=Status.CANCELLED))
        partitions.delete(f"TASK#{task.task_id}")
        if one.idempotency is not None:
            sessions.delete_items([store.idempotency_key(task.user, one.idempotency.key)])
    except (LeaseLost, Contended, DependencyDown) as error:
        # It stands, or stands cancelled. Whoever repeats the request with the same keys meets it.
        log.warning("a run of a refused batch stays", extra={"task_id": task.task_id, "error": error.message})
        if task.status is not Status.CANCELLED:
            return
    give_up(one)
