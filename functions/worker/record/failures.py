"""Errors as they are recorded, and raised again: as far as they are the same then, for code that looks at them.

An error is made again as Python's own copies are (`BaseException.__reduce__`): by its class, its arguments and its
attributes. One that this does not bring back, as it holds a response or a socket, is not recorded.
"""

import json
import sys
from importlib import import_module
from typing import Any

from functions.worker.record.stops import Stop
from shared import retry, storable
from shared.errors import BudgetExhausted, Contended, DependencyDown, LeaseLost, NewerVersion, SluiceError
from shared.tasks.model import dumps
from sluice.errors import ReplayMismatch

FAILURE_BYTES = 64 * 1024
"""Longest record of an error; what is longer is not recorded."""
CODE_CHARACTERS = 100
"""Longest code shown; a provider's own may be anything."""
CANCELLED = "cancelled"
"""Key of the record of a step that its run's own code cancelled, by a timeout of its own, or as the loser of a race.
With it stands how long the run had been here by then, in seconds."""
CANCELLED_WITHIN_SECONDS = 30.0
"""How much longer a replay waits for that, before it does the step after all: its code may cancel it no more."""
_NO_RESULT = (LeaseLost, Contended, DependencyDown, NewerVersion, BudgetExhausted, ReplayMismatch, Stop)
"""What says nothing about a step: it could not be done or recorded here. Refusals by ceilings are kept elsewhere."""


def kept(error: BaseException) -> dict[str, Any] | None:
    """Return an error as it is recorded, or None if it cannot be raised again as it is."""
    if not isinstance(error, Exception) or isinstance(error, _NO_RESULT):
        return None
    try:
        reduced: Any = error.__reduce_ex__(2)
        made, arguments, *state = reduced
        if made is not type(error) or len(state) > 1:
            return None
        found = {
            "module": made.__module__,
            "class": made.__qualname__,
            "args": [*arguments],
            "state": dict(*filter(None, state)),
        }
        storable.check(found, "an error")
        same = again(json.loads(dumps(found)))
        is_same = type(same) is made and same.args == error.args and vars(same) == vars(error)
        if not (is_same and str(same) == str(error)) or len(dumps(found).encode()) > FAILURE_BYTES:
            return None
    except Exception:  # an error's own code may raise anything
        return None
    return found


def again(record: dict[str, Any]) -> Exception:
    """Make a recorded error again.

    Raises:
        Exception: there is no such class any more, or it takes other arguments now.
    """
    module = sys.modules.get(record["module"]) or import_module(record["module"])
    found: Any = module
    for name in record["class"].split("."):
        found = getattr(found, name)
    if not (isinstance(found, type) and issubclass(found, Exception)):
        raise TypeError(f"{record['class']} is no error")
    error = found(*record["args"])
    error.__setstate__(record["state"])
    return error


def shown(error: BaseException) -> dict[str, str]:
    """Return what watchers see of an error that their run went on after: no text, which its code may keep to itself."""
    if isinstance(error, retry.ModelError):
        return {"code": storable.text(retry.classify(error).code[:CODE_CHARACTERS])}
    if isinstance(error, SluiceError):
        return {"code": error.code}
    return {"code": "agent_error", "message": type(error).__name__}
