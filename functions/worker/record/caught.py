"""Failures of steps that a run's code may have caught: recorded once it goes on, so that a replay takes the same way.

Nothing of a failure is written where it ends the attempt: the step is tried again then. Whether it does, only the
code knows; what tells is that the run begins something after it. That is certain where the same branch does, or one
that it began; another branch may be its parent, which caught what the branch ended with, or a sibling, whose parent
is about to fail. So there a moment is waited first; and an attempt that ends all the same says what is to be tried
again (`again`).
"""

import asyncio
import time
from collections import deque
from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from functions.worker.record import failures
from functions.worker.record.links import links
from functions.worker.record.stops import Stop
from shared.clock import now
from shared.errors import BudgetExhausted
from shared.tasks.checkpoints import Step
from shared.tasks.events import Event

SURFACES_SECONDS = 0.05
"""How long an error gets to come out of task groups and the like, before its run counts as going on."""
MOST_KEPT = 100
"""Failures of a run that are looked at when its attempt ends, the newest: each holds what its step held."""


@dataclass(eq=False, slots=True)
class Failure:
    """A step that brought no result."""

    step: Step
    error: BaseException
    about: dict[str, Any] = field(default_factory=dict)
    """What its event tells besides."""
    branch: asyncio.Task[Any] | None = field(default_factory=asyncio.current_task)
    gone_on: bool = False
    """Whether the branch that it failed in, or one that this began, came to another step."""
    paid: int = 0
    """How many replies of models the run had by then."""
    past: bool = False
    """The same, and the branch was not being cancelled: else it only cleans up."""

    @property
    def cancelled(self) -> bool:
        """Whether the run's own code cancelled it."""
        return failures.CANCELLED in self.step.value

    @property
    def event(self) -> Event:
        """What its owner is told."""
        error = {"code": failures.CANCELLED} if self.cancelled else failures.shown(self.error)
        return Event("step", now(), {"step": self.step.name, "n": self.step.nth, "error": error, **self.about})


_before: ContextVar[tuple[Failure, ...]] = ContextVar("failures_before", default=())
"""The failures that the code which runs now comes after."""


class Caught:
    """The failures of one run, as far as this worker goes."""

    def __init__(self) -> None:
        """Begin with none."""
        self._open: list[Failure] = []
        self._recorded: deque[Failure] = deque(maxlen=MOST_KEPT)
        self._lost: deque[BaseException] = deque(maxlen=MOST_KEPT)
        """Errors that cannot be recorded."""
        self.paid = 0
        """How many replies of models the run has come to, recorded ones and new ones."""
        self._is_stopped = self._is_over = False
        self._began = time.monotonic()

    def note(self, failure: Failure, *, recorded: bool = False) -> None:
        """Take a failure that is on its way to the run's code."""
        failure.paid = self.paid
        _before.set((*_before.get(), failure)[-MOST_KEPT:])
        (self._recorded if recorded else self._open).append(failure)

    def come_on(self) -> None:
        """Note that the code which runs now has come to another step."""
        for one in _before.get():
            one.gone_on = True
            one.past = one.past or one.branch is None or not one.branch.cancelling()

    async def due(self) -> list[Failure]:
        """Hand over what is to be recorded before anything begins."""
        if any(not one.gone_on for one in self._due()):
            await asyncio.sleep(SURFACES_SECONDS)
        due = [] if self._is_over else self._due()
        taken = {*due}
        self._open = [one for one in self._open if one not in taken]
        self._recorded += due
        return due

    def _due(self) -> list[Failure]:
        return [one for one in self._open if one.gone_on or one.branch is None or one.branch.done()]

    def stop(self) -> None:
        """Note that something stops the run, or a branch of it, that no replay sees: it may cancel others with it."""
        self._is_stopped = True

    def over(self) -> None:
        """Record no more: the run ends here, or goes on elsewhere."""
        self._is_stopped = self._is_over = True

    def told(self, error: BaseException) -> dict[str, Any] | None:
        """Return what is to be recorded of an error if its run goes on; None if nothing can be."""
        if isinstance(error, asyncio.CancelledError):
            return None if self._is_stopped else {failures.CANCELLED: round(time.monotonic() - self._began, 3)}
        found = failures.kept(error)
        if found is None and not isinstance(error, BudgetExhausted):  # whose refusals are replayed: `Task.refused`
            self.stop()
            self._lost.append(error)
        return found

    def again(self, error: BaseException, unused: Iterable[Step], *, stuck: bool = False) -> list[tuple[str, int]]:
        """Return the recorded failures that an attempt which ended with an error did not get over after all.

        One that comes out itself is tried again whatever its run did on the way, in a ``finally`` say. One in whose
        handling another error came up was got over if its branch went on to what failed now. If no step did, but the
        code itself gave up, it is what the code gave up for. And where that is all that another attempt would come to
        (``stuck``: the one before recorded nothing more), all are that no model was paid after: its reply may hang on
        them, and would have to be paid for once more.

        What was cancelled may have been with these: nothing would cancel it any more. Not where the run only stops, at
        a deferral say: nothing that a stop cancels is recorded (`told`). ``unused`` are the recorded steps that the
        attempt did not come to.
        """
        out, handled = _links(error, handled=False), _links(error, handled=True)
        of_steps = {id(one.error) for one in (*self._recorded, *self._open)} | {id(one) for one in self._lost}
        own = out.isdisjoint(of_steps)
        tripped = [
            one
            for one in self._recorded
            if id(one.error) in out
            or (own and ((stuck and one.paid == self.paid) or id(one.error) in handled))
            or (not one.past and (one.cancelled or id(one.error) in handled))
        ]
        if _is_stop(error) and all(one.cancelled for one in tripped):
            return []
        cancelled = [step.key for step in unused if step.failed and failures.CANCELLED in step.value]
        return [one.step.key for one in tripped] + cancelled

    def given(self, error: BaseException) -> bool:
        """Tell whether an error is a failure of another run that this one was begun with."""
        return any(one.error is error and one.step.copied for one in self._recorded)


def _is_stop(error: BaseException) -> bool:
    """Tell whether nothing but stops ended an attempt."""
    if isinstance(error, BaseExceptionGroup):
        return error.split(Stop)[1] is None
    return isinstance(error, Stop)


def _links(error: BaseException, *, handled: bool) -> set[int]:
    """Return the identities of an error and of all that it is made of or was raised from.

    ``handled``: also of those in whose handling it was raised.
    """
    return {id(one) for one in links(error, lambda one: (one.__cause__, one.__context__ if handled else None))}
