"""What a run has used and may still use: the sum that each of its ceilings is held against before a call.

A call counts here with its worst case while it is under way, and from its reply on with what it used. The task's own
figures follow only when that is recorded, which can take a minute: a parallel call must not find room in between.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shared.tasks.model import Task, Usage


@dataclass(slots=True)
class Ledger:
    """One run's sum. Only the event loop touches it, so that no change of it is seen half."""

    tokens: int
    micro_usd: int

    @classmethod
    def of(cls, task: Task) -> Ledger:
        """Open a run's ledger with what its row says."""
        return cls(task.usage.tokens, task.micro_usd)

    def add(self, use: Usage) -> None:
        """Count what a call used."""
        self.tokens += use.tokens
        self.micro_usd += use.micro_usd

    def hold(self, tokens: int, micro_usd: int) -> None:
        """Count the worst case of a call that is about to be made."""
        self.tokens += tokens
        self.micro_usd += micro_usd

    def drop(self, tokens: int, micro_usd: int) -> None:
        """Count it no longer."""
        self.tokens -= tokens
        self.micro_usd -= micro_usd

    @contextmanager
    def held(self, tokens: int, micro_usd: int) -> Iterator[None]:
        """Go on counting a worst case until the call is over."""
        try:
            yield
        finally:
            self.drop(tokens, micro_usd)


def charge(task: Task, use: Usage) -> None:
    """Charge a task for a call that no step is recorded of; kept in it until the run settles or is given back."""
    task.input_tokens += use.input_tokens
    task.output_tokens += use.output_tokens
    task.micro_usd += use.micro_usd


def count_recorded(task: Task, use: Usage | None, model: str | None) -> None:
    """Charge a task for a step that is recorded with the run's end; ``use`` is None for one that is no model call."""
    if use is not None:
        charge(task, use)
        task.calls += 1
    task.model_used = model or task.model_used
