"""Memory of the local system's processes by part, sampled over time, and what it comes to."""

from __future__ import annotations

import contextlib
import re
import statistics
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import boto3
import psutil
from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from localstack.system import System

SETTLED_SECONDS = 30.0
"""An environment younger than this is still importing and filling its pools."""
STAND_INS = ("aws", "llm")
"""They keep all that was ever stored and asked, so they grow with the load: told, not judged."""
RUN_MB = 0.1
"""What a run costs that a worker holds (`benchmarks.environment`): where fewer environments hold more runs, each is
larger by that, and leaks nothing. It is taken off before environments are compared."""
MEGABYTE = 1024 * 1024
_FUNCTION = re.compile(r"ministack-lambda-\w+-(\w+)Function-")


@dataclass
class Part:
    """What was sampled of one part: seconds since the start, mean MB a process, processes, MB of all."""

    at: list[float] = field(default_factory=list)
    each: list[float] = field(default_factory=list)
    processes: list[int] = field(default_factory=list)
    total: list[float] = field(default_factory=list)

    def figures(self, warm_up_s: float) -> dict[str, Any] | None:
        """Return slope and ratio of a process' memory after the warm-up; None if there are too few samples."""
        kept = [(at, mb) for at, mb in zip(self.at, self.each, strict=True) if at >= warm_up_s]
        if len(kept) < 6:
            return None
        third = len(kept) // 3
        first = statistics.median(mb for _, mb in kept[:third])
        last = statistics.median(mb for _, mb in kept[-third:])
        slope = statistics.linear_regression([at for at, _ in kept], [mb for _, mb in kept]).slope
        return {
            "samples": len(kept),
            "first_third_mb": round(first, 1),
            "last_third_mb": round(last, 1),
            "last_to_first_third_ratio": round(last / first, 3),
            "slope_mb_per_hour": round(slope * 3600, 1),
            "most_processes": max(self.processes),
            "most_mb_of_all": round(max(self.total), 1),
        }


class Sampler(threading.Thread):
    """Samples every few seconds until it is stopped."""

    def __init__(
        self,
        system: System,
        every_s: float,
        mappings: dict[str, str] | None = None,
        held: Callable[[], int] = lambda: 0,
    ) -> None:
        """Watch a system that is up.

        ``mappings``: lanes' event source mappings, by lane; ``held``: how many runs workers hold now.
        """
        self._held = held
        super().__init__(daemon=True)
        self._mappings = mappings or {}
        self.allowed: list[dict[str, float]] = []
        """Each change of the environments that the lanes may use, and the minute it was seen."""
        self.system = system
        self.every_s = every_s
        self.parts: defaultdict[str, Part] = defaultdict(Part)
        self.began = time.monotonic()
        self._done = threading.Event()

    def run(self) -> None:
        """Sample."""
        while not self._done.wait(self.every_s):
            self._sample()

    def stop(self) -> None:
        """Stop and wait for the last sample."""
        self._done.set()
        self.join()

    def _sample(self) -> None:
        found: defaultdict[str, list[float]] = defaultdict(list)
        for name in ("aws", "valkey", "llm"):
            process = self.system.processes.running(name)
            if process is None:
                continue
            with contextlib.suppress(psutil.Error):
                found[name].append(process.memory_info().rss / MEGABYTE)
            for child in self._environments(process) if name == "aws" else ():
                with contextlib.suppress(psutil.Error):
                    told = _FUNCTION.search(" ".join(child.cmdline()))
                    if told and time.time() - child.create_time() > SETTLED_SECONDS:
                        found[told[1].lower()].append(child.memory_info().rss / MEGABYTE)
        at = time.monotonic() - self.began
        self._look_at_limits(at)
        held = self._held()
        for name, sizes in found.items():
            part = self.parts[name]
            part.at.append(at)
            part.each.append(mean_mb(sizes, held if name == "worker" else 0))
            part.processes.append(len(sizes))
            part.total.append(sum(sizes))

    def _look_at_limits(self, at: float) -> None:
        limits: dict[str, float] = {}
        try:
            for lane, uuid in self._mappings.items():
                mapping = boto3.client("lambda").get_event_source_mapping(UUID=uuid)
                limits[lane] = mapping["ScalingConfig"]["MaximumConcurrency"]
        except (BotoCoreError, ClientError):  # asked again
            return
        if not self.allowed or limits.items() - self.allowed[-1].items():
            self.allowed.append({"minute": round(at / 60, 1), **limits})

    @staticmethod
    def _environments(process: psutil.Process) -> Sequence[psutil.Process]:
        try:
            return process.children(recursive=True)
        except psutil.Error:
            return ()


def mean_mb(sizes: Sequence[float], held: int) -> float:
    """Return the mean MB of processes, without the runs that they hold together."""
    return statistics.fmean(sizes) - RUN_MB * held / len(sizes)


def growing(figures: dict[str, dict[str, Any]], most_ratio: float) -> list[str]:
    """Return the parts whose processes grow, stand-ins left out."""
    return [
        name
        for name, each in figures.items()
        if name not in STAND_INS and each["last_to_first_third_ratio"] > most_ratio
    ]
