"""Long polls: look again at growing intervals until something is there or the time is up.

Cost: a held answer reads the task's row (half a DynamoDB read unit per 4 KB were it eventually consistent; one, as it
is consistent) after 0.1 s, then at intervals that grow by half up to 1 s: at most 31 reads for 25 s, against one
Lambda invocation held open at the API's memory size. How many are held at once, and whose, see `held`: one that
there is no place for is answered at once, with what there is, and one whose place is owed to another at its next look.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from shared.settings import settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from functions.api.read.held import Held

FIRST_SLEEP_S = 0.1
GROWTH = 1.5
LONGEST_SLEEP_S = 1.0
MARGIN_S = 1.5
"""Left of the function's own time for the answer to get out."""


def hold[T](look: Callable[[], T], done: Callable[[T], bool], wait_s: float, context: Any, held: Held) -> T:
    """Return what ``look`` sees once ``done`` says so, or what it sees when the time is up or ``held`` has no place.

    Never longer than ``wait_s``, ``RESULT_MAX_WAIT`` and the Lambda ``context``'s remaining time allow. Failures of
    ``look`` pass through.
    """
    try:
        return _hold(look, done, wait_s, context, held)
    finally:
        held.end()


def _hold[T](look: Callable[[], T], done: Callable[[T], bool], wait_s: float, context: Any, held: Held) -> T:
    started = time.monotonic()
    room = min(wait_s, settings().result_max_wait)
    if context is not None:
        room = min(room, context.get_remaining_time_in_millis() / 1000 - MARGIN_S)
    sleep = FIRST_SLEEP_S
    while True:
        seen = look()
        left = room - (time.monotonic() - started)
        if left <= 0 or done(seen) or not held.go_on():
            return seen
        time.sleep(min(sleep, left))
        sleep = min(sleep * GROWTH, LONGEST_SLEEP_S)
