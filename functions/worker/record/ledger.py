"""What a run has used and may still use: the sum that each of its ceilings is held against before a call.

A call counts here with its worst case while it is under way, and from its reply on with what it used. The task's own
figures follow only when that is recorded, which can take a minute: a parallel call must not find room in between.
What a day's ceilings are held against begins anew with each day, see `shared.tasks.days`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from shared.tasks import days
from shared.tasks.model import Task, Usage


@dataclass(slots=True)
class Used:
    """What a run used for certain, without what may be used at worst."""

    micro_usd: int
    """Of the whole run."""
    day_tokens: int
    day_micro_usd: int


@dataclass(slots=True)
class Ledger:
    """One run's sum. Only the event loop touches it, so that no change of it is seen half."""

    micro_usd: int
    """Of the whole run."""
    day: str
    day_tokens: int
    day_micro_usd: int
    used: Used
    """What of these three is no worst case."""
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Of whoever begins a new day: nobody reserves on it before that is done."""
    calls: int = 0
    """How many calls count with their worst case at present."""
    ended: int = 0
    """How many calls and groups of children are over: each may have left room for others."""
    undone: int = 0
    """How many calls held room for a moment, before a day's ceiling refused them."""
    news: asyncio.Event = field(default_factory=asyncio.Event)
    """What is set when one of the two counts next."""

    @classmethod
    def of(cls, task: Task) -> Ledger:
        """Open a run's ledger with what its row says."""
        tokens, micro_usd = days.billed(task)[task.day]
        return cls(task.micro_usd, task.day, tokens, micro_usd, Used(task.micro_usd, tokens, micro_usd))

    def begin_day(self, day: str) -> None:
        """Start a new day's sum. Calls that are under way belong to the day before."""
        self.day, self.day_tokens, self.day_micro_usd = day, 0, 0
        self.used.day_tokens = self.used.day_micro_usd = 0

    def add(self, use: Usage) -> None:
        """Count what a call used."""
        paid = days.paid_by_user({use.model: (0, use.micro_usd)})
        day = use.day or self.day
        self.hold(day, use.tokens, use.micro_usd, use.micro_usd - paid)
        self.used.micro_usd += use.micro_usd
        if day == self.day:
            self.used.day_tokens += use.tokens
            self.used.day_micro_usd += use.micro_usd - paid

    def add_children(self, micro_usd: int) -> None:
        """Count what a group of children did cost. They pay on their own days: it counts against the run's ceiling."""
        self.micro_usd += micro_usd
        self.used.micro_usd += micro_usd

    def hold(self, day: str, tokens: int, micro_usd: int, of_day: int | None = None) -> None:
        """Count a sum, below zero to count it no longer.

        ``of_day`` is what the day's ceilings bear of its money: all of it, unless its user pays for it themselves.
        """
        self.micro_usd += micro_usd
        if day == self.day:
            self.day_tokens += tokens
            self.day_micro_usd += micro_usd if of_day is None else of_day

    def begin_call(self, day: str, tokens: int, micro_usd: int, of_day: int) -> None:
        """Count a call's worst case from here on."""
        self.calls += 1
        self.hold(day, tokens, micro_usd, of_day)

    def undo_call(self, day: str, tokens: int, micro_usd: int, of_day: int) -> None:
        """Count a call no longer that was refused."""
        self.calls -= 1
        self.undone += 1
        self.hold(day, -tokens, -micro_usd, -of_day)
        self._tell()

    @contextmanager
    def held(self, day: str, tokens: int, micro_usd: int, of_day: int) -> Iterator[None]:
        """Go on counting a worst case until the call is over."""
        try:
            yield
        finally:
            self.calls -= 1
            self.end(day, -tokens, -micro_usd, -of_day)

    def end(self, day: str, tokens: int, micro_usd: int, of_day: int | None = None) -> None:
        """Count what a call or group did cost more than was held for it, mostly less; others may have room now."""
        self.hold(day, tokens, micro_usd, of_day)
        self.ended += 1
        self._tell()

    def _tell(self) -> None:
        self.news.set()
        self.news = asyncio.Event()


def charge(task: Task, use: Usage) -> None:
    """Charge a task for a call that no step is recorded of; written with whatever is written of the run next."""
    task.unwritten.append(use)  # first: see `records.progress`
    days.count(task, use)


def count_recorded(task: Task, use: Usage | None, model: str | None) -> None:
    """Charge a task for a step that is recorded with the run's end; ``use`` is None for one that is no model call."""
    if use is not None:
        charge(task, use)
        task.calls += 1
    task.model_used = model or task.model_used
