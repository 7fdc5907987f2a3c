"""Ids of tasks: sortable by time of submission, impossible to guess."""

import re
import secrets

from shared.clock import now

PREFIX = "task_"
MOST_CHARACTERS = 64
_ID = re.compile(r"task_(0[0-9a-f]{11})[0-9a-f]{20}")
MAX_SEQ = 99_999_999
"""Highest number of an event."""


def new_task_id() -> str:
    """Return a new id in hexadecimal: 48 bits of epoch milliseconds, as UUIDv7 starts (RFC 9562), 80 random bits."""
    return f"{PREFIX}{int(now() * 1000):012x}{secrets.token_hex(10)}"


def well_formed(task_id: str) -> bool:
    """Tell whether this can be a task's id at all: anything else is asked of no table."""
    plain = task_id.replace("_", "").replace("-", "")
    return 0 < len(task_id) <= MOST_CHARACTERS and task_id.isascii() and plain.isalnum()


def made_at(task_id: str) -> float | None:
    """Return when an id was made, epoch seconds; None if ``new_task_id`` did not make it."""
    found = _ID.fullmatch(task_id)
    return int(found[1], 16) / 1000 if found else None
