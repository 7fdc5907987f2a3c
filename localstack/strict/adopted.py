"""Processes that are our children though another process made them: as much of `subprocess.Popen` as MiniStack uses."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

SUBREAPER = 36
"""The number of `prctl` that has the copies fall to this process: PR_SET_CHILD_SUBREAPER."""


class Adoption:
    """While it is entered, what has lost its parent below this process becomes its child: else it goes to init."""

    def __init__(self) -> None:
        """Adopt nothing yet."""
        self._lock, self._times = threading.Lock(), 0

    def possible(self) -> bool:
        """Whether this system can."""
        if sys.platform != "linux":
            return False
        try:
            with self:
                return True
        except (OSError, AttributeError):
            return False

    def __enter__(self) -> None:
        """Begin, unless it has begun."""
        with self._lock:
            if not self._times:
                self._set(1)
            self._times += 1

    def __exit__(self, *_: object) -> None:
        """End with the last that began."""
        with self._lock:
            self._times -= 1
            if not self._times:
                self._set(0)

    def _set(self, value: int) -> None:
        import ctypes

        if ctypes.CDLL(None).prctl(SUBREAPER, value, 0, 0, 0):
            raise OSError("the system does not let a process adopt others")


adoption = Adoption()


class Environment:
    """A process that is our child though we did not start it; as much of `subprocess.Popen` as MiniStack uses."""

    def __init__(self, pid: int, files: list[int], did_not_start: Callable[[], None]) -> None:
        """Take the process ``pid``, with our ends of its standard input, output and errors.

        ``did_not_start`` is called should it end, or say that it failed, before its function is there.
        """
        self.pid = pid
        self.returncode: int | None = None
        self._lock = threading.Lock()
        self.stdin: IO[str] = open(files[0], "w", buffering=1)  # noqa: SIM115
        self.stdout = _Output(open(files[1]), did_not_start)  # noqa: SIM115
        self.stderr: IO[str] = open(files[2])  # noqa: SIM115

    def poll(self) -> int | None:
        """Return how it ended; None: it runs."""
        with self._lock:
            if self.returncode is None:
                try:
                    pid, status = os.waitpid(self.pid, os.WNOHANG)
                except ChildProcessError:  # somebody else waited for it
                    self.returncode = 0
                else:
                    if pid:
                        self.returncode = os.waitstatus_to_exitcode(status)
            return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Return how it ended, when it has.

        Raises:
            subprocess.TimeoutExpired: it still runs.
        """
        give_up = None if timeout is None else time.monotonic() + timeout
        pause = 0.0005
        while (code := self.poll()) is None:
            if give_up is not None and time.monotonic() > give_up:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
            time.sleep(pause)
            pause = min(pause * 2, 0.05)
        return code

    def send_signal(self, number: int) -> None:
        """Send it a signal if it runs."""
        if self.poll() is None:  # it is ours to wait for, so its number is no other's
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)

    def __del__(self) -> None:
        """Leave nothing of one that has ended."""
        with contextlib.suppress(Exception):
            self.poll()


class _Output:
    """What an environment writes: its first word says whether its function is there."""

    def __init__(self, file: IO[str], did_not_start: Callable[[], None]) -> None:
        self._file, self._did_not_start, self._started = file, did_not_start, False

    def readline(self) -> str:
        line = self._file.readline()
        if not self._started:
            if '"status": "ready"' in line:
                self._started = True
            elif not line or '"status": "error"' in line:
                self._started = True
                self._did_not_start()
        return line

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)
