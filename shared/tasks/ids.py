"""Ids of tasks: sortable by time of submission, impossible to guess."""

import secrets

from shared.clock import now

PREFIX = "task_"


def new_task_id() -> str:
    """Return a new id in hexadecimal: 48 bits of epoch milliseconds, as UUIDv7 starts (RFC 9562), 80 random bits."""
    return f"{PREFIX}{int(now() * 1000):012x}{secrets.token_hex(10)}"
