"""Makes the task of a line: an ordinary one of its owner, under budgets and running cap, but with no place in line.

It counts against no quota of requests and takes nothing of the ingress: a batch's lines are bounded by its window.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from functions.api.bulk.lines import wanted_of
from functions.api.contract.problem import Problem, problem_of
from functions.api.door.gate import gate
from functions.api.submit import taking
from functions.api.submit.allowed import allowed
from functions.api.submit.submission import make_task
from shared.bulk import room
from shared.bulk.model import Batch, line_task_id
from shared.errors import BudgetExhausted
from shared.logs import get_logger
from shared.tasks import store, waking
from shared.tasks.parking import PARKED_SLOT_SECONDS

if TYPE_CHECKING:
    from functions.api.door.identity import Caller

_log = get_logger("bulk")


@dataclass(frozen=True, slots=True)
class Made:
    """What became of a line."""

    what: str
    """``made``; ``refused`` for good; ``spent``: no budget is left just now; ``later``."""
    problem: Problem | None = None


def make(caller: Caller, batch: Batch, number: int, raw: bytes) -> Made:
    """Write and send a line's task. Repeating it makes no second one."""
    task_id = line_task_id(batch.batch_id, number)
    try:
        wanted = wanted_of(caller, batch.endpoint, raw)
        _, model = allowed(caller, wanted)
    except Exception as error:  # whatever it is: one line must not keep the others from being run
        return _refused(task_id, error)
    task = make_task(caller, wanted, task_id, lane=room.LANE, model=model)
    task.batch, task.batch_line = batch.batch_id, number
    if not gate().take_slot(task.user, task_id, room.of_cap(task.running_cap), PARKED_SLOT_SECONDS, lane=task.lane):
        return Made("later")
    try:
        gate().must_reserve(task.user, task_id, task.day, task.reserved_tokens, task.reserved_micro_usd, caller.limits)
        waking.count_again(gate(), task)
        if wanted.beforehand is not None:
            wanted.beforehand(task)
        store.submit(task, wanted.message)
    except BudgetExhausted as error:
        gate().release_slot(task.user, task_id)
        if error.limit == "ended":  # it was made by a look that died, and has ended since
            return Made("later")
        return Made("spent")
    except Exception as error:
        gate().release_slot(task.user, task_id)
        return _refused(task_id, error)
    taking.start(task)
    return Made("made")


def _refused(task_id: str, error: Exception) -> Made:
    problem = problem_of(error)
    if problem.status in (409, 503):  # what is away, or held by another just now
        _log.warning("a line waits", extra={"task_id": task_id, "error": problem.message})
        return Made("later")
    return Made("refused", problem)
