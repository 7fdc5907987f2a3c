"""Structured logs: one JSON object a line, with the ids that tie a request, a task and a run together.

Message text, keys and model replies are never logged. (Powertools' logger does the same for 50-200 ms more of every
cold start, which is why it is not used here.)
"""

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from shared.clock import iso
from shared.settings import settings

_context: ContextVar[dict[str, Any]] = ContextVar("log_context", default={})  # noqa: B039 - never mutated
LIBRARIES = ("httpx2", "httpcore2", "openai", "mangum", "botocore", "boto3", "urllib3")
"""Held to warnings whatever the level: Lambda sets the root logger to the function's, and these then log the addresses
of webhooks and pages at INFO, and whole requests with prompts and items at DEBUG."""
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def head(at: float, level: str, message: str, logger: str) -> dict[str, Any]:
    """Return the fields that every line has, those of ``fields`` among them; ``at`` in epoch seconds."""
    return {"timestamp": iso(at), "level": level, "message": message, "logger": logger, **_context.get()}


class JsonFormatter(logging.Formatter):
    """Formats a record as JSON; ``extra`` becomes fields, line breaks cannot forge a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Encode one record."""
        line = head(record.created, record.levelname, record.getMessage(), record.name)
        line |= {name: value for name, value in vars(record).items() if name not in _STANDARD}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        # In ASCII: some readers of lines also split at U+0085 and U+2028, and half a surrogate pair cannot be written.
        return json.dumps(line, default=str)


@contextmanager
def fields(**values: Any) -> Iterator[None]:
    """Add fields to every line logged inside, in this thread or asyncio task."""
    token = _context.set(_context.get() | values)
    try:
        yield
    finally:
        _context.reset(token)


def get_logger(name: str) -> logging.Logger:
    """Return Sluice's logger of that name, set up on first use."""
    root = logging.getLogger("sluice")
    if not root.handlers:
        handler = logging.StreamHandler(sys.stdout)
        handler.setFormatter(JsonFormatter())
        root.addHandler(handler)
        root.setLevel(settings().log_level)
        root.propagate = False
        for library in LIBRARIES:
            logging.getLogger(library).setLevel(logging.WARNING)
    return root.getChild(name)
