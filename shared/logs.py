"""Structured logs: one JSON object a line, with the ids that tie a request, a task and a run together.

Message text, keys and model replies are never logged. (Powertools' logger does the same for 50-200 ms more of every
cold start, which is why it is not used here.)
"""

from __future__ import annotations

import json
import logging
import sys
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from shared.clock import iso
from shared.settings import settings

if TYPE_CHECKING:
    from collections.abc import Iterator

_context: ContextVar[dict[str, Any]] = ContextVar("log_context", default={})  # noqa: B039 - never mutated
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


_CHATTY = ("botocore", "httpx2", "mangum", "openai")
"""Libraries that tell of each call: the Lambda runtime's own JSON logging lets their INFO through, at its price."""


class JsonFormatter(logging.Formatter):
    """Formats a record as JSON; ``extra`` becomes fields, line breaks cannot forge a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Encode one record."""
        line: dict[str, Any] = {
            "timestamp": iso(record.created),
            "level": record.levelname,
            "message": record.getMessage(),
            "logger": record.name,
            **_context.get(),
        }
        line |= {name: value for name, value in vars(record).items() if name not in _STANDARD}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


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
        for name_of_library in _CHATTY:
            logging.getLogger(name_of_library).setLevel(max(logging.WARNING, root.level))
    return root.getChild(name)
