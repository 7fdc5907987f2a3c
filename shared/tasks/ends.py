"""Ends of several runs of one environment, written in as few requests as hold them: each all or none, by itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from shared.tasks import settle
from shared.tasks.events import Event
from shared.tasks.leases import Fenced, fenced_writes
from shared.tasks.model import Outcome, Task


@dataclass(frozen=True, slots=True)
class End:
    """The end of a run that this worker holds; its words are those of `settle.settle`."""

    task: Task
    outcome: Outcome
    message: str = ""
    asked: Sequence[dict[str, Any]] | None = None
    log: Sequence[Event] = ()


def write(end: End) -> None:
    """End a run by itself; raises what `settle.settle` raises."""
    settle.settle(end.task, end.outcome, message=end.message, asked=end.asked, log=end.log)


def write_each(ends: Sequence[End]) -> list[Exception | None]:
    """End several runs; returns, by position, what ``write`` would have raised."""
    failed: list[Exception | None] = [None] * len(ends)
    ready: dict[int, Fenced] = {}
    for n, end in enumerate(ends):
        try:
            ready[n] = settle.ready(end.task, end.outcome, message=end.message, asked=end.asked, log=end.log)
        except Exception as error:
            failed[n] = error
    for n, refused in zip(ready, fenced_writes([*ready.values()]), strict=True):
        failed[n] = refused
        if refused is None:
            ready[n].note()
    return failed
