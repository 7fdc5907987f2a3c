"""Environments that start share this machine's processors: so few start at once, and whoever came last goes first.

On AWS a new environment starts on a machine of its own. Here a hundred requests at once would start a hundred
processes, and nobody had an answer for a minute. So a request waits for an environment of its function that comes
free, or for its turn to start one. The last to come goes first, because a first come first served line of one caller
would be everybody's; but nobody stands longer than `PATIENCE_S` behind younger ones. Whoever waits is counted nowhere
yet: neither as concurrency nor against a function's timeout.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

AT_ONCE = max(2, os.cpu_count() or 2)
"""Environments that start at the same time, of all functions."""
PATIENCE_S = 10.0
"""How long the last to come goes first: the age at which a request goes before all younger ones."""

LONGEST_S = 60.0
"""How long anybody waits: code that invokes a function while it starts would wait for itself."""


class _Turn:
    """One invocation's: whether it starts an environment, and until then what it waits for."""

    def __init__(self, function: str, at: float) -> None:
        self.function, self.at = function, at
        self.starts = False
        self.given = threading.Event()


class Starts:
    """Who may go on, and who may start an environment for it."""

    def __init__(self, at_once: int = AT_ONCE, now: Callable[[], float] = time.monotonic) -> None:
        """Let ``at_once`` environments start at the same time."""
        self._at_once, self._now = at_once, now
        self._lock = threading.Lock()
        self._free: Counter[str] = Counter()
        self._starting = 0
        self._waiting: list[_Turn] = []
        self._mine = threading.local()

    def begin(self, function: str) -> None:
        """Wait for an environment of ``function`` that is free, or for leave to start one."""
        turn = _Turn(function, self._now())
        with self._lock:
            if self._free[function] > 0:
                self._free[function] -= 1
                turn.given.set()
            else:
                self._waiting.append(turn)
                self._let_start()
        self._wait(turn)
        self._within().append(turn)

    def end(self) -> None:
        """Leave this thread's environment to the next; if it started none, since it was refused, just its leave."""
        turn = self._within().pop()
        with self._lock:
            if turn.starts:
                self._started(turn)
            elif (following := self._next(turn.function)) is not None:
                following.given.set()
            else:
                self._free[turn.function] += 1

    def running(self) -> None:
        """Note that this thread's environment runs: the next one may start."""
        with self._lock:
            for turn in self._within()[-1:]:
                self._started(turn)

    def starting(self) -> None:
        """Have leave to start an environment: that which this thread thought free is gone."""
        for turn in self._within()[-1:]:
            if not turn.starts:
                again = _Turn("", self._now())
                with self._lock:
                    self._waiting.append(again)
                    self._let_start()
                self._wait(again)
                turn.starts = again.starts

    def _within(self) -> list[_Turn]:
        """Return this thread's invocations, one inside the other."""
        if not hasattr(self._mine, "turns"):
            self._mine.turns = []
        found: list[_Turn] = self._mine.turns
        return found

    def _wait(self, turn: _Turn) -> None:
        if turn.given.wait(LONGEST_S):
            return
        with self._lock:
            if turn in self._waiting:
                self._waiting.remove(turn)

    def _started(self, turn: _Turn) -> None:
        if turn.starts:
            turn.starts = False
            self._starting -= 1
            self._let_start()

    def _let_start(self) -> None:
        while self._starting < self._at_once and (turn := self._next()) is not None:
            self._starting += 1
            turn.starts = True
            turn.given.set()

    def _next(self, function: str | None = None) -> _Turn | None:
        """Take whoever goes next out of the line: of one function, or of all."""
        those = [one for one in self._waiting if function in (None, one.function)]
        if not those:
            return None
        turn = those[0] if self._now() - those[0].at > PATIENCE_S else those[-1]
        self._waiting.remove(turn)
        return turn

    def watch(self, environment: Any) -> None:
        """Have MiniStack's class for environments, ``environment``, say when one starts and when it runs.

        Raises:
            RuntimeError: it is of a version that this code does not know.
        """
        if not all(hasattr(environment, name) for name in ("_spawn", "invoke")):
            raise RuntimeError("this MiniStack starts environments otherwise: the strict front does not fit it")
        spawn, invoke = environment._spawn, environment.invoke

        def spawned(worker: Any, *given: Any) -> Any:
            self.starting()
            try:
                return spawn(worker, *given)
            finally:
                self.running()

        def invoked(worker: Any, *given: Any, **named: Any) -> Any:
            if worker._proc is not None and worker._proc.poll() is None:
                self.running()
            return invoke(worker, *given, **named)

        environment._spawn, environment.invoke = spawned, invoked
