"""What a run's code failed with, behind what frameworks and task groups wrap it in.

A task group raises a group, whatever was raised in it; a framework raises an error of its own from ours. Taken as they
stand they would be the agent's own errors and be tried again: a deferral would use up attempts, and what a ceiling
refused would be asked for four times.
"""

from collections.abc import Iterator

from functions.worker.record.links import links
from functions.worker.record.stops import Final, Stop
from shared.errors import BudgetExhausted, LeaseLost, SluiceError
from shared.retry import ModelError
from sluice.errors import ReplayMismatch, WaitTimeout

_TELLING = (LeaseLost, BudgetExhausted, Stop, (SluiceError, ReplayMismatch, WaitTimeout), ModelError)
"""What says most of why a run stopped, first."""


def behind(error: BaseException) -> BaseException:
    """Return the error that says why a run stopped: one of ours that stands behind it, or else the error itself."""
    single = (one for one in links(error, _from) if not isinstance(one, BaseExceptionGroup))
    found = [one.error if isinstance(one, Final) else one for one in single]
    for kind in _TELLING:
        for one in found:
            if isinstance(one, kind):
                return one
    return found[-1] if len(found) == 1 else error


def _from(one: BaseException) -> Iterator[BaseException | None]:
    if isinstance(one, BaseExceptionGroup):
        return
    yield one.__cause__
    if one.__cause__ is None and isinstance(one.__context__, BudgetExhausted) and not one.__suppress_context__:
        yield one.__context__  # raised while a refusal was handled: it cannot go on, whatever it says
