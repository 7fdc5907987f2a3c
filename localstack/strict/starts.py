"""Environments that start share this machine's processors: so few start at once, and whoever came last goes first.

On AWS a new environment starts on a machine of its own. Here a hundred requests at once would start a hundred
processes, and nobody had an answer for a minute. So a request waits for an environment of its function: one that comes
free, or one that is started, whoever it was started for. The last to come goes first, because a first come first
served line of one caller would be everybody's; but where somebody has waited for `PATIENCE_S`, every second one goes
to whoever came first. Whoever waits is counted nowhere yet: neither as concurrency nor against a function's timeout.
Who waited for `LONGEST_S` is throttled, as Lambda throttles what it cannot scale to. Lambda's pollers then try again,
for as long as their messages are hidden: a batch of messages so waits for longer.
"""

from __future__ import annotations

import contextlib
import contextvars
import os
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

AT_ONCE = max(2, os.cpu_count() or 2)
"""Environments that start at the same time, of all functions."""
PATIENCE_S = 10.0
"""How long the last to come alone goes first."""
LONGEST_S = 25.0
"""How long anybody waits: the gateway's own patience is 30 s, and a function may even wait for itself."""
POLLERS_S = 300.0
"""How long a batch of messages waits: given up, it would stay hidden until its queue's visibility timeout is over
(https://docs.aws.amazon.com/lambda/latest/operatorguide/sqs-retries.html, 2026-11)."""
SEAMS = ("ensure_spawned", "release_worker", "_lock", "_workers", "_worker_class_for", "_worker_key")
"""What is used of ``ministack.core.lambda_runtime``; without one of them the front does not start."""


class Function(Protocol):
    """A function whose environments are counted."""

    name: str

    def idle(self) -> int:
        """Return how many environments run and do nothing."""

    def start(self) -> None:
        """Start one, and return when it runs, or could not be started."""


class Deployed:
    """One of MiniStack's functions: its record, and the module that has its environments."""

    def __init__(self, runtime: Any, func: dict[str, Any], config: dict[str, Any]) -> None:
        """Look at ``func`` with its ``config``."""
        self.name = str(config.get("FunctionName"))
        self._runtime, self._code, self._config = runtime, func.get("code_zip"), config
        self._place = runtime._worker_key(self.name, config, config.get("Version", "$LATEST"))

    def idle(self) -> int:
        """Return how many environments run and do nothing."""
        found = self._runtime._workers.get(self._place, ())
        return sum(not one.in_use and one._proc is not None for one in list(found))

    def start(self) -> None:
        """Start one; where that fails, the invocation that is given it fails likewise, and says why."""
        if not self._code:
            return
        runtime = self._runtime
        # A new one, whatever is idle: that was given to a request already, which is about to take it.
        worker = runtime._worker_class_for(self._config)(self.name, self._config, self._code)
        worker.in_use = True
        with runtime._lock:
            runtime._workers.setdefault(self._place, []).append(worker)
        try:
            with contextlib.suppress(Exception):
                runtime.ensure_spawned(worker)
        finally:
            runtime.release_worker(worker)


class _Turn:
    """A request that waits."""

    def __init__(self, function: Function, at: float) -> None:
        self.function, self.at = function, at
        self.given = threading.Event()


class Starts:
    """Who may go on, and for whom an environment is started."""

    def __init__(self, at_once: int = AT_ONCE, now: Callable[[], float] = time.monotonic) -> None:
        """Let ``at_once`` environments start at the same time."""
        self._at_once, self._now = at_once, now
        self._lock = threading.Lock()
        self._free: Counter[str] = Counter()
        self._starting: Counter[str] = Counter()
        self._waiting: list[_Turn] = []
        self._oldest_next = False

    def begin(self, function: Function, longest_s: float | None = None) -> bool:
        """Wait for an environment of a function, which `end` leaves to the next; False: there was none for too long.

        ``longest_s`` is `LONGEST_S` unless it is given.
        """
        turn = _Turn(function, self._now())
        with self._lock:
            free = min(self._free[function.name], function.idle())  # the emulator gives up what nobody used for long
            if free > 0:
                self._free[function.name] = free - 1
                return True
            self._free[function.name] = 0
            self._waiting.append(turn)
            self._let_start()
        if turn.given.wait(LONGEST_S if longest_s is None else longest_s):
            return True
        with self._lock:
            if turn in self._waiting:
                self._waiting.remove(turn)
        return turn.given.is_set()

    def end(self, function: Function) -> None:
        """Leave an environment to the next."""
        with self._lock:
            self._leave(function)

    def _leave(self, function: Function) -> None:
        those = [one for one in self._waiting if one.function.name == function.name]
        if those:
            impatient = self._now() - those[0].at > PATIENCE_S
            turn = those[0] if impatient and self._oldest_next else those[-1]
            self._oldest_next = impatient and not self._oldest_next
            self._waiting.remove(turn)
            turn.given.set()
        else:
            self._free[function.name] += 1

    def _let_start(self) -> None:
        while self._starting.total() < self._at_once and (unserved := self._unserved()):
            function = unserved[-1].function
            self._starting[function.name] += 1
            context = contextvars.copy_context()
            threading.Thread(target=context.run, args=(self._start, function), daemon=True).start()

    def _unserved(self) -> list[_Turn]:
        """Return who waits of functions of which fewer environments start than requests wait."""
        waiting = Counter(one.function.name for one in self._waiting)
        return [one for one in self._waiting if self._starting[one.function.name] < waiting[one.function.name]]

    def _start(self, function: Function) -> None:
        try:
            function.start()
        finally:
            with self._lock:
                self._starting[function.name] -= 1
                self._leave(function)
                self._let_start()
