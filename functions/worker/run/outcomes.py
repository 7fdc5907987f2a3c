"""From the way a run's code ended to what becomes of its task: one place, no I/O."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from functions.worker.model import limits
from functions.worker.record.stops import Defer
from shared import retry, storable
from shared.errors import BudgetExhausted, DependencyDown, NewerVersion, SluiceError, TooLarge, Unstorable
from shared.settings import settings
from shared.tasks.events import Event
from shared.tasks.leases import Requeue
from shared.tasks.model import Outcome, Status, Task, dumps
from sluice.errors import ReplayMismatch, WaitTimeout
from sluice.types import AgentResult

NEWER_DELAY_SECONDS = 30.0
"""How long a run waits whose items a newer version wrote; meanwhile a deployment replaces the old workers."""
ERROR_CHARACTERS = 500
"""Longest error text kept; providers echo whole requests."""
CODE_CHARACTERS = 100
"""Longest code kept; a provider's own may be anything."""
LAST_EVENTS_BYTES = 256 * 1024
"""How much is kept of the events that were not written yet when a run ends otherwise than its agent wanted; so much
always fits an item."""
ALL_TIME = 0.9
"""A model call that had this share of the most that it can have gets no other try."""
UNUSABLE_RESULT = "unusable_result"
UNUSABLE = (TooLarge, *storable.FAULTS)
"""What writing the end of a run raises when what its agent made of it cannot be stored."""


@dataclass(frozen=True, slots=True)
class RunError:
    """An error as its task's owner sees it."""

    code: str
    message: str
    type: str = "agent_error"

    def public(self) -> dict[str, Any]:
        """Return it in the shape of every Sluice error."""
        code, message = storable.text(self.code[:CODE_CHARACTERS]), storable.text(self.message[:ERROR_CHARACTERS])
        return {"code": code, "message": message, "type": self.type}


def failed(failure: RunError) -> Outcome:
    """End a task as failed."""
    return Outcome(status=Status.FAILED, error=failure.public())


def complete(result: AgentResult, usage_details: Mapping[str, int] | None = None) -> Outcome:
    """End a task as its agent returned; as failed if that cannot be stored, which trying again would not change.

    ``usage_details`` say what kinds of tokens the run used; they are told with the data.
    """
    if (wrong := _wrong(result)) is not None:
        return failed(RunError(UNUSABLE_RESULT, wrong))
    response, data = result.response, result.data
    if usage_details:
        data = {"usage_details": dict(usage_details), **(data or {})}
    try:
        storable.check([response, data], "the run's result")
    except Unstorable as error:
        return failed(RunError(UNUSABLE_RESULT, error.message))
    return Outcome(status=Status.COMPLETE, response=response, data=data)


def _wrong(result: Any) -> str | None:
    """Say what is wrong with what an agent returned; None if it is a result."""
    if not (hasattr(result, "response") and hasattr(result, "data")):
        return f"an agent returns an AgentResult, and this one {type(result).__name__}"
    response, data = result.response, result.data
    if response is not None and not isinstance(response, str):
        return f"an agent's response is a text, and this one {type(response).__name__}"
    if data is not None and not isinstance(data, dict):
        return f"an agent's data is an object, and this one {type(data).__name__}"
    return None


def unusable(outcome: Outcome, pending: Sequence[Event], error: Exception) -> tuple[Outcome, list[Event]]:
    """Decide how a run ends, and with which of its last events, whose end could not be stored as it was.

    A completed run has failed then.
    """
    if outcome.status is Status.COMPLETE:
        code = error.code if isinstance(error, TooLarge) else UNUSABLE_RESULT
        outcome = failed(RunError(code, f"the run's result cannot be stored: {error}"))
    try:
        fits = len(dumps([event.data for event in pending]).encode()) <= LAST_EVENTS_BYTES
    except storable.FAULTS:
        fits = False
    return outcome, list(pending) if fits else []


def after_error(task: Task, error: BaseException) -> Outcome | Requeue:
    """Decide what follows an error that a run raised: another try, a pause at no cost, or the end.

    The provider's errors are told apart in `shared.retry`. Any other exception is the agent's own: tried again like a
    transient one, because replaying recorded steps costs nothing and agents call the network, too.
    """
    if isinstance(error, Defer):
        return Requeue(delay_s=error.delay_s, reason=error.reason, deferral=True)
    if isinstance(error, DependencyDown):
        return waiting_for(error)
    if isinstance(error, NewerVersion):  # a step or a turn that a worker of a newer version recorded: let one go on
        return Requeue(delay_s=NEWER_DELAY_SECONDS, reason=error.code, deferral=True)
    if isinstance(error, BudgetExhausted):
        return failed(RunError(error.code, error.message, "insufficient_quota"))
    if isinstance(error, ReplayMismatch):
        return failed(RunError("replay_mismatch", str(error)))
    if isinstance(error, WaitTimeout):
        return failed(RunError("wait_timeout", str(error)))
    if isinstance(error, SluiceError):
        return failed(RunError(error.code, error.message))
    if isinstance(error, retry.ModelError):
        verdict = retry.classify(error)
        failure = RunError(verdict.code, verdict.message, "model_error")
        if verdict.kind == "permanent":
            return failed(failure)
        if verdict.code == "model_call_too_long":
            return _elsewhere(task, failure, error.had_s or 0.0)
        return _again(task, failure, verdict.retry_after_s)
    return _again(task, RunError("agent_error", f"{type(error).__name__}: {error}"), None)


def after_given(task: Task, error: BaseException) -> Outcome | Requeue:
    """Decide what follows an error of another run that this one was begun with: it may be for good there, not here."""
    decision = after_error(task, error)
    if isinstance(decision, Requeue) or decision.error is None:
        return decision
    return _again(task, RunError(**decision.error), None)


def waiting_for(error: DependencyDown) -> Requeue:
    """Give a task back until something that it needs is there again."""
    return Requeue(delay_s=max(error.retry_after_s, 5.0), reason=f"{error.dependency}_down", deferral=True)


def no_progress(task: Task) -> Outcome | Requeue:
    """Decide what follows a run that used up its function's time without finishing a single step."""
    return _again(task, RunError("step_too_long", "a step takes longer than the function may run"), None)


def _elsewhere(task: Task, failure: RunError, had_s: float) -> Outcome | Requeue:
    """Make a call again, at once, that the function's end has cut off: it is paid for each time, so not for ever.

    One that had as good as all the time there is would be cut again.
    """
    attempt = task.attempt + 1
    if had_s >= ALL_TIME * limits.longest_s() or attempt > settings().max_retries:
        return failed(failure)
    return Requeue(delay_s=0, reason="continuation", continuation=True, attempt=attempt, last_error=failure.public())


def _again(task: Task, failure: RunError, retry_after_s: float | None) -> Outcome | Requeue:
    attempt = task.attempt + 1
    if attempt > settings().max_retries:
        return failed(failure)
    delay = retry.backoff(attempt, settings().retry_base_seconds, retry_after_s, random.random)
    return Requeue(delay_s=delay, reason="retry", attempt=attempt, last_error=failure.public())
