"""Starts a peer's worker, measures what its processes use, and ends exactly what was started.

Runs in Sluice's own environment; the peers' modules run in theirs.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from localstack.processes import minimal_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

ROOT = Path(__file__).resolve().parent.parent.parent
SAMPLE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Peer:
    """A framework in one set-up. In ``command`` stand ``{slots}`` and ``{each}``, the slots of one process."""

    name: str
    app: str
    command: str
    slots: int = 100
    processes: int = 1
    environment: str = "peers"

    @property
    def python(self) -> Path:
        """The interpreter of its environment."""
        return ROOT / ".tools" / self.environment / "bin" / "python"


_CELERY = "-m celery -A benchmarks.peers.celery_app worker --without-gossip --without-mingle --loglevel WARNING"
PEERS = (
    # The classic set-up: three containers of four processes.
    Peer("celery prefork 3x4", "celery", f"{_CELERY} --pool prefork -c {{each}} -n {{name}}@local", 12, 3),
    Peer("celery threads", "celery", f"{_CELERY} --pool threads -c {{each}} -n {{name}}@local"),
    Peer("arq", "arq", "-m arq benchmarks.peers.arq_app.WorkerSettings", environment="peers-arq"),
    Peer(
        "taskiq",
        "taskiq",
        "-m taskiq worker benchmarks.peers.taskiq_app:broker --workers 1 --max-async-tasks {each} --log-level WARNING",
    ),
    Peer("dramatiq", "dramatiq", "-m dramatiq benchmarks.peers.dramatiq_app --processes 1 --threads {each}"),
)


class Fleet:
    """A peer's worker processes."""

    def __init__(self, peer: Peer, slots: int, redis_url: str, llm_url: str, log: Path) -> None:
        """Start them; they need a while until they take work."""
        self._peer, self._log = peer, log
        self._environment = minimal_environment(
            PYTHONPATH=str(ROOT),
            PEERS_REDIS_URL=redis_url,
            PEERS_SLOTS=str(slots),
            OPENAI_BASE_URL=llm_url,
            OPENAI_API_KEY="sk-local",
        )
        processes = min(peer.processes, slots)
        self._started = [self._start(slots // processes, n) for n in range(processes)]

    def _start(self, each: int, number: int) -> subprocess.Popen[bytes]:
        words = self._peer.command.format(each=each, name=f"worker{number}").split()
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [str(self._peer.python), *words],
                env=self._environment,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def submit(self, number: int, key: str) -> None:
        """Queue runs."""
        command = [str(self._peer.python), "-m", "benchmarks.peers", self._peer.app, str(number), key]
        subprocess.run(command, env=self._environment, cwd=ROOT, check=True, capture_output=True)

    def processes(self) -> list[psutil.Process]:
        """Every process of the worker."""
        found = []
        for started in self._started:
            with contextlib.suppress(psutil.Error):
                main = psutil.Process(started.pid)
                found += [main, *main.children(recursive=True)]
        return found

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the workers still, so that work can be queued before the clock starts."""
        stopped = self.processes()
        for process in stopped:
            process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            for process in stopped:
                process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End them, gently first."""
        everything = self.processes()
        for started in self._started:
            with contextlib.suppress(ProcessLookupError):
                os.kill(started.pid, signal.SIGTERM)
        _, alive = psutil.wait_procs(everything, timeout=5)
        for process in alive:
            with contextlib.suppress(psutil.Error):
                process.kill()
        for started in self._started:
            started.wait()


def cpu_seconds(processes: Sequence[psutil.Process]) -> float:
    """Processor time that these have used so far, with what their ended children used."""
    total = 0.0
    for process in processes:
        with contextlib.suppress(psutil.Error):
            total += sum(process.cpu_times()[:2])
    return total


def memory_mb(processes: Sequence[psutil.Process]) -> float:
    """Their memory, pages that several share counted once (PSS)."""
    total = 0
    for process in processes:
        with contextlib.suppress(psutil.Error):
            full = process.memory_full_info()
            total += getattr(full, "pss", full.uss)
    return total / 1e6


class Memory:
    """Samples the memory of processes while work goes on; reading it costs them nothing."""

    def __init__(self, processes: Callable[[], Sequence[psutil.Process]]) -> None:
        """Watch what ``processes`` returns."""
        self._processes, self._ended = processes, threading.Event()
        self.peak_mb = 0.0

    def __enter__(self) -> Memory:
        """Begin."""
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.is_set():
            self.peak_mb = max(self.peak_mb, memory_mb(self._processes()))
            self._ended.wait(SAMPLE_SECONDS)


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Ask every 50 ms.

    Raises:
        TimeoutError: it does not come true in time.
    """
    give_up = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > give_up:
            raise TimeoutError(what)
        time.sleep(0.05)
