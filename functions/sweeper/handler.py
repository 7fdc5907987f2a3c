"""Lambda entry point of the sweeper: every minute."""

from typing import Any

from functions.sweeper.sweep import sweep
from shared.clock import now
from shared.logs import get_logger

_log = get_logger("sweeper")
STOP_BEFORE_END_SECONDS = 10.0


def handler(_event: Any, context: Any) -> dict[str, int]:
    """Sweep once; returns what was done, by kind."""
    done = sweep(now() + context.get_remaining_time_in_millis() / 1000 - STOP_BEFORE_END_SECONDS)
    _log.info("swept", extra=done)
    return done
