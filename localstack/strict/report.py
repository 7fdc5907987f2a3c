"""What went over a limit, which invocations are under way, and how many metric series there are.

Kept in memory, served at `/_strict/report`.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from typing import TYPE_CHECKING, Any

from localstack.strict.rules import RULES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MOST = 1000
"""Violations kept; a run with more has failed anyway."""

_log = logging.getLogger("strict")


class Report:
    """The violations since the start, or since somebody took them."""

    def __init__(self) -> None:
        """Start with none."""
        self._lock = threading.Lock()
        self._violations: list[dict[str, Any]] = []
        self.series: dict[str, int] = {}
        self._invocations: dict[int, dict[str, Any]] = {}

    @contextlib.contextmanager
    def invocation(self, function: str) -> Iterator[Callable[[], None]]:
        """Note that a function is invoked; what this yields is to be called when it has an environment."""
        one = {"function": function, "at": time.time(), "state": "waits for an environment"}
        with self._lock:
            self._invocations[id(one)] = one
        try:
            yield lambda: one.update(state="runs")
        finally:
            with self._lock:
                del self._invocations[id(one)]

    def violated(self, rule: str, what: str) -> None:
        """Note that a request went over a limit."""
        found = {"rule": rule, "limit": RULES[rule].limit, "what": what[:300], "at": time.time()}
        _log.warning("STRICT %s: %s", rule, what[:300])
        with self._lock:
            if len(self._violations) < MOST:
                self._violations.append(found)

    def read(self, *, take: bool = False) -> dict[str, Any]:
        """Return what was noted; with ``take`` it is forgotten."""
        with self._lock:
            found = {
                "violations": list(self._violations),
                "series": dict(self.series),
                "invocations": [dict(one) for one in self._invocations.values()],
            }
            if take:
                self._violations.clear()
        return found


class Refused(Exception):
    """A request that AWS would refuse. ``code`` is AWS's error code."""

    def __init__(self, rule: str, code: str, message: str, *, status: int = 400) -> None:
        """Keep what the answer says."""
        super().__init__(message)
        self.rule, self.code, self.message, self.status = rule, code, message, status
