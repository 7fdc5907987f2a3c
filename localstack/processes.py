"""Starts the parts of the local system and ends exactly those it started, also after a crash.

A part is remembered by pid and start time, so a pid that now belongs to another process is never touched. Every start
also puts a word of its own into the part's environment, which what the part starts inherits: should the part die, its
orphans are known by that.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from localstack.environ import LocalError, Port

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MARK = "SLUICE_PART"
STOP_SECONDS = 8.0
LOG_TAIL_LINES = 20


@dataclass(frozen=True, slots=True)
class Part:
    """One process of the local system."""

    name: str
    command: Sequence[str]
    environment: dict[str, str]
    port: Port | None
    ready: Callable[[], bool]
    start_seconds: float = 20.0


class Processes:
    """The parts of one local system, by its state folder."""

    def __init__(self, state: Path) -> None:
        """Remember pids and logs below ``state``."""
        self._pids = state / "pids"
        self._logs = state / "logs"
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def log(self, name: str) -> Path:
        """Return a part's log file."""
        return self._logs / f"{name}.log"

    def _note(self, name: str) -> dict[str, Any]:
        """Return what is remembered of a part: its mark, and its pid and start time if it got so far."""
        try:
            note = json.loads((self._pids / f"{name}.json").read_text())
        except (OSError, ValueError):
            return {}
        return note if isinstance(note, dict) else {}

    def running(self, name: str) -> psutil.Process | None:
        """Return the process of a part if the one that was started is still alive."""
        note = self._note(name)
        if not (isinstance(note.get("pid"), int) and isinstance(note.get("started"), float)):
            return None
        try:
            process = psutil.Process(note["pid"])
            same = abs(process.create_time() - note["started"]) < 0.1
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except (psutil.Error, ValueError):
            return None

    def port(self, name: str) -> int | None:
        """Return the port that a running part was started on."""
        return self._note(name).get("port") if self.running(name) else None

    def start(self, part: Part) -> bool:
        """Start a part and wait until it answers; False when it ran already.

        Raises:
            LocalError: its port is taken, it died or it does not answer; with the end of its log.
        """
        if not self.begin(part):
            return False
        self.wait(part)
        return True

    def begin(self, part: Part) -> bool:
        """Start a part, to be waited for; False when it ran already.

        Raises:
            LocalError: its port is taken.
        """
        if self.running(part.name) and part.ready():
            return False
        self.stop([part.name])
        if part.port and taken(part.port.number):
            raise LocalError(taken_by_another(part.port, part.name))
        self._pids.mkdir(parents=True, exist_ok=True)
        self._logs.mkdir(parents=True, exist_ok=True)
        mark = f"{part.name}-{secrets.token_hex(8)}"
        note = self._pids / f"{part.name}.json"
        note.write_text(json.dumps({"mark": mark}))  # before it exists: nothing that dies here leaves it unknown
        with self.log(part.name).open("ab") as log:
            process = subprocess.Popen(
                list(part.command),
                env={**part.environment, MARK: mark},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._children[part.name] = process
        started = psutil.Process(process.pid).create_time()
        port = part.port.number if part.port else None
        note.write_text(json.dumps({"mark": mark, "pid": process.pid, "started": started, "port": port}))
        return True

    def wait(self, part: Part) -> None:
        """Wait until a part answers that was just begun.

        Raises:
            LocalError: it died or does not answer; with the end of its log.
        """
        process = self._children[part.name]
        give_up = time.monotonic() + part.start_seconds
        while not part.ready():
            if process.poll() is not None:
                raise LocalError(f"{part.name} ended with code {process.returncode}\n{self.tail(part.name)}")
            if time.monotonic() > give_up:
                self.stop([part.name])
                raise LocalError(
                    f"{part.name} did not answer within {part.start_seconds:.0f} s\n{self.tail(part.name)}"
                )
            time.sleep(0.02)

    def stop(self, names: Sequence[str]) -> list[str]:
        """End parts, gently first, with everything they started; returns those of which something ran."""
        found = {name: started for name in names if (started := self._all_of(name))}
        everything = [process for started in found.values() for process in started]
        for process in everything:
            with contextlib.suppress(psutil.Error):
                process.send_signal(signal.SIGTERM)
        _, alive = psutil.wait_procs(everything, timeout=STOP_SECONDS)
        for process in alive:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(alive, timeout=2)
        for name in names:
            if name in self._children:
                self._children.pop(name).wait()
            (self._pids / f"{name}.json").unlink(missing_ok=True)
        return list(found)

    def _all_of(self, name: str) -> set[psutil.Process]:
        """Return what lives of a part: its process, what that started, and orphans of one that died."""
        found: set[psutil.Process] = set()
        if process := self.running(name):
            with contextlib.suppress(psutil.Error):
                found |= {process, *process.children(recursive=True)}
        mark = self._note(name).get("mark")
        if not mark:
            return found
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):  # not ours to look at, or gone
                if process.status() != psutil.STATUS_ZOMBIE and process.environ().get(MARK) == mark:
                    found.add(process)
        return found

    def tail(self, name: str) -> str:
        """Return the end of a part's log."""
        try:
            lines = self.log(name).read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
        except OSError:
            return "(it wrote no log)"
        return f"--- end of {self.log(name)}\n" + "\n".join(lines)


def taken_by_another(port: Port, name: str) -> str:
    """Say what to do about a port that another program has."""
    return (
        f"port {port.number} for {name} is taken by another program: "
        f"stop that, or choose another port with {port.variable}=…"
    )


def free_port() -> int:
    """Return a loopback port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def taken(port: int) -> bool:
    """Whether a loopback port is another program's."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def answers(url: str, timeout_s: float = 1, *, well: bool = False) -> bool:
    """Whether something answers at an HTTP address, whatever it says; ``well``: only if it is no error."""
    try:
        with urllib.request.urlopen(url, timeout=timeout_s):  # noqa: S310 - our own addresses
            return True
    except urllib.error.HTTPError:
        return not well
    except OSError:
        return False


def minimal_environment(**extra: str) -> dict[str, str]:
    """Return an environment without the developer's AWS settings, Python path or anything else that could leak in."""
    keep = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR", "SYSTEMROOT")
    return {name: os.environ[name] for name in keep if name in os.environ} | extra
