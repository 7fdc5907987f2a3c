"""What a run's code failed with, behind what frameworks and task groups wrap it in.

A task group raises a group, whatever was raised in it; a framework raises an error of its own from ours. Taken as they
stand they would be the agent's own errors and be tried again: a deferral would use up attempts, and what a ceiling
refused would be asked for four times.
"""

from collections.abc import Iterator

from functions.worker.record.stops import Final, Stop
from shared.errors import BudgetExhausted, LeaseLost, SluiceError
from shared.retry import ModelError
from sluice.errors import ReplayMismatch, WaitTimeout

_TELLING = (LeaseLost, BudgetExhausted, Stop, (SluiceError, ReplayMismatch, WaitTimeout), ModelError)
"""What says most of why a run stopped, first."""
MOST_LINKS = 100
"""Errors that are looked at."""


def behind(error: BaseException) -> BaseException:
    """Return the error that says why a run stopped: one of ours that stands behind it, or else the error itself."""
    found = [one.error if isinstance(one, Final) else one for one in _links(error)]
    for kind in _TELLING:
        for one in found:
            if isinstance(one, kind):
                return one
    return found[-1] if len(found) == 1 else error


def _links(error: BaseException) -> Iterator[BaseException]:
    """Yield what an error is made of: members of a group, and what it was raised from."""
    left, seen = [error], set[int]()
    while left and len(seen) < MOST_LINKS:
        one = left.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, BaseExceptionGroup):
            left += reversed(one.exceptions)
            continue
        yield one
        if one.__cause__ is not None:
            left.append(one.__cause__)
        elif isinstance(one.__context__, BudgetExhausted) and not one.__suppress_context__:
            left.append(one.__context__)  # raised while a refusal was handled: it cannot go on, whatever it says
