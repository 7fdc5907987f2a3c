"""From the way a run's code ended to what becomes of its task: one place, no I/O."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from functions.worker.signals import Defer, ReplayMismatch
from shared import retry
from shared.errors import BudgetExhausted, DependencyDown, NewerVersion, SluiceError
from shared.settings import settings
from shared.tasks.leases import Requeue
from shared.tasks.model import Status
from shared.tasks.settle import Outcome

if TYPE_CHECKING:
    from shared.tasks.model import Task

NEWER_DELAY_SECONDS = 30.0
"""How long a run waits whose items a newer version wrote; meanwhile a deployment replaces the old workers."""
ERROR_CHARACTERS = 500
"""Longest error text kept; providers echo whole requests."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as its task's owner sees it."""

    code: str
    message: str
    type: str = "agent_error"

    def public(self) -> dict[str, Any]:
        """Return it in the shape of every Sluice error."""
        return {"code": self.code, "message": self.message[:ERROR_CHARACTERS], "type": self.type}


def failed(failure: Failure) -> Outcome:
    """End a task as failed."""
    return Outcome(status=Status.FAILED, error=failure.public())


def after_error(task: Task, error: BaseException) -> Outcome | Requeue:
    """Decide what follows an error that a run raised: another try, a pause at no cost, or the end.

    The provider's errors are told apart in `shared.retry`. Any other exception is the agent's own: tried again like a
    transient one, because replaying recorded steps costs nothing and agents call the network, too.
    """
    if isinstance(error, Defer):
        return Requeue(delay_s=error.delay_s, reason=error.reason, deferral=True)
    if isinstance(error, DependencyDown):
        return Requeue(delay_s=max(error.retry_after_s, 5.0), reason=f"{error.dependency}_down", deferral=True)
    if isinstance(error, NewerVersion):  # a step or a turn that a worker of a newer version recorded: let one go on
        return Requeue(delay_s=NEWER_DELAY_SECONDS, reason=error.code, deferral=True)
    if isinstance(error, BudgetExhausted):
        return failed(Failure(error.code, error.message, "insufficient_quota"))
    if isinstance(error, ReplayMismatch):
        return failed(Failure("replay_mismatch", str(error)))
    if isinstance(error, SluiceError):
        return failed(Failure(error.code, error.message))
    if isinstance(error, retry.ModelError):
        verdict = retry.classify(error)
        failure = Failure(verdict.code, verdict.message, "model_error")
        if verdict.kind == "permanent":
            return failed(failure)
        return _again(task, failure, verdict.retry_after_s)
    return _again(task, Failure("agent_error", f"{type(error).__name__}: {error}"), None)


def no_progress(task: Task) -> Outcome | Requeue:
    """Decide what follows a run that used up its function's time without finishing a single step."""
    return _again(task, Failure("step_too_long", "a step takes longer than the function may run"), None)


def _again(task: Task, failure: Failure, retry_after_s: float | None) -> Outcome | Requeue:
    attempt = task.attempt + 1
    if attempt > settings().max_retries:
        return failed(failure)
    delay = retry.backoff(attempt, settings().retry_base_seconds, retry_after_s, random.random)
    return Requeue(delay_s=delay, reason="retry", attempt=attempt, last_error=failure.public())
