"""What each run of a campaign does: by its number alone, so that two campaigns of a size hold the same runs.

A fifth wait, are approved, or have children (`BRANCHES`); a fifth meet a habit of some real provider; the rest make
three model calls and use two tools.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.faults import habits

if TYPE_CHECKING:
    import random

STEPS = 'tools=calculator,current_time args=[{"expression":"6*7"},{}]'
"""What a plain run does: three model calls and two tools, five recorded steps."""
PACE = "latency=0.05-0.4"
BRANCH_EVERY = 5
BRANCHES = ("sleep", "signal", "approve", "map")
HABIT_EVERY, HABIT_AT = 5, 2
CALLS = {"plain": 3, "habit": 1, "sleep": 2, "signal": 2, "approve": 2, "map": 2}
"""Model calls of a run, of its children apart; of one with a habit at least so many."""
CHILDREN = 3
SLEEP_SECONDS = (3, 5, 8, 12)
LOOSE_USD = 0.01
TIGHT_USD = (0.0009, 0.0012, 0.0013, 0.0014, 0.0016)
"""Ceilings of trees: one that is never met, and some that meet a tree of `FULL_WORDS` at another of its calls each."""
FEW_WORDS, FULL_WORDS = 6, 380
MOST_WORDS = {FEW_WORDS: 64, FULL_WORDS: 400}
"""Output tokens of a call at most, in trees: what is reserved before each call."""
VARIANTS = 4
PLAIN, ONE_FAILS, CANCELLED, TIGHT = range(VARIANTS)
"""Kinds of trees: nothing special; a child fails for good; cancelled while it waits; with a tight ceiling."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run: what it does, in which of four variants, and the habit that it meets after ``skip`` calls."""

    n: int
    key: str
    does: str
    variant: int = 0
    habit: str | None = None
    skip: int = 0

    @property
    def calls(self) -> int:
        """Model calls that it needs with its children."""
        return CALLS[self.does] + (CHILDREN if self.does == "map" else 0)

    @property
    def early(self) -> bool:
        """Whether its first signal is sent at once, and not when it waits for it."""
        return self.does == "signal" and self.variant % 2 == 1

    @property
    def denied(self) -> bool:
        """Whether its approval is denied."""
        return self.does == "approve" and self.variant == ONE_FAILS

    @property
    def cancelled(self) -> bool:
        """Whether it is cancelled while it waits for its children."""
        return self.does == "map" and self.variant == CANCELLED

    @property
    def bad_children(self) -> int:
        """How many of its children fail for good."""
        return int(self.does == "map" and self.variant == ONE_FAILS)

    @property
    def ends(self) -> frozenset[str]:
        """How it may rightly end: statuses, or the code of its failure."""
        if self.habit is not None:
            right = habits.RIGHT[self.habit]
            return frozenset({"complete" if right in (habits.TAKEN, habits.RETRIED) else right})
        if self.does == "map" and self.variant == TIGHT:
            return frozenset({"complete", "insufficient_quota"})
        return frozenset({"complete", "cancelled"} if self.cancelled else {"complete"})

    @property
    def child_ends(self) -> frozenset[str]:
        """How its children may rightly end, those that are to fail apart."""
        return self.ends | {"cancelled"} if "insufficient_quota" in self.ends else self.ends

    def body(self) -> dict[str, Any]:
        """Write the submit, as far as what it does goes."""
        if self.does in BRANCHES:
            return self._branch()
        habit = f" {habits.directive(self.habit, self.skip)}" if self.habit else ""
        body = {
            "agent": "tools",
            "message": f"[[sim key={self.key} words={FEW_WORDS} {PACE} {STEPS}{habit}]] run {self.n}",
        }
        # What a refusal teaches holds for a model, and so does an empty account: a model for each run with a habit.
        return body | ({"model": f"habit-{self.habit}-{self.n}"} if self.habit else {})

    def _branch(self) -> dict[str, Any]:
        metadata = {"does": self.does, "key": self.key, "seconds": str(SLEEP_SECONDS[self.variant])}
        metadata |= {"children": str(CHILDREN), "bad": str(self.bad_children)}
        tight = self.does == "map" and self.variant == TIGHT
        words = FULL_WORDS if tight else FEW_WORDS
        metadata |= {"words": str(words), "most_words": str(MOST_WORDS[words])}
        body = {
            "agent": "branches",
            "message": f"[[sim key={self.key} words={words} {PACE}]] run {self.n}",
            "metadata": metadata,
            "max_output_tokens": MOST_WORDS[words],
        }
        ceiling = TIGHT_USD[self.n // BRANCH_EVERY % len(TIGHT_USD)] if tight else LOOSE_USD
        return body | ({"max_cost_usd": ceiling} if self.does == "map" else {})


def runs(total: int, prefix: str, chance: random.Random, habit_every: int = HABIT_EVERY) -> list[Run]:
    """Draw the runs of a campaign: every habit as often as the others, one in so many runs."""
    names: list[str] = []
    found = []
    for n in range(total):
        key = f"{prefix}-{n}"
        if n % BRANCH_EVERY == 0:
            round_, turn = divmod(n // BRANCH_EVERY, len(BRANCHES))
            variant = (round_ + round_ // len(BRANCHES)) % VARIANTS
            found.append(Run(n, key, BRANCHES[(turn + round_) % len(BRANCHES)], variant))
        elif n % habit_every == HABIT_AT % habit_every:
            if not names:
                names = chance.sample(habits.NAMES, len(habits.NAMES))
            found.append(Run(n, key, "habit", habit=names.pop(), skip=chance.randrange(CALLS["plain"])))
        else:
            found.append(Run(n, key, "plain"))
    return found
