"""Ceilings of a run that can be raised while it waits to be told: its own, and those of its user's day.

A run that was submitted with ``on_budget: ask`` asks before a call that would pass one, as for an approval. An answer
raises it for this run (and, its own, for the runs above it: a tree has one ceiling), or lets the run fail.
"""

from dataclasses import dataclass
from typing import Any

from shared.tasks.checkpoints import fingerprint
from shared.tasks.model import Task

ASK = "ask"
OWN = "max_cost_usd"
"""The run's own ceiling: its owner sets it, so its owner raises it. Those of a day are the operator's."""
UNITS = {
    OWN: "usd",
    "usd_per_day": "usd",
    "tokens_per_day": "tokens",
    "usd_per_day_key": "usd",
    "tokens_per_day_key": "tokens",
    "usd_per_day_global": "usd",
    "tokens_per_day_global": "tokens",
}
"""Ceilings that a run asks about, and what each counts."""
FIXED = frozenset({"usd_per_day_global", "tokens_per_day_global"})
"""Those that belong to everybody: no run's answer raises them, but another try may find room."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A ceiling that stands in a run's way. Amounts are micro-USD or tokens, whichever the ceiling counts."""

    limit: str
    number: int
    """Which question of the run it is, from 1."""
    ceiling: int | None
    """None where it is not the run's to know."""
    next: int | None
    """What the next call may use at worst; None where nobody knows."""
    micro_usd: int
    """What the run has cost so far."""

    def more(self) -> dict[str, Any]:
        """Return what the row says of it."""
        raised_by = "owner" if self.limit == OWN else "operator"
        budget: dict[str, Any] = {"limit": self.limit, "unit": UNITS[self.limit], "raised_by": raised_by}
        for name, amount in (("ceiling", self.ceiling), ("next", self.next)):
            budget[name] = None if amount is None else shown(self.limit, amount)
        return {
            "fingerprint": fingerprint_of(self.number),
            "editable": False,
            "cost_usd": self.micro_usd / 1_000_000,
            "budget": budget,
        }


def fingerprint_of(number: int) -> str:
    """Return what names a run's question: its number alone, as whichever branch comes first may ask it anew."""
    return fingerprint(["budget", number])


def shown(limit: str, amount: int) -> float | int:
    """Return an amount as clients see it: USD, or tokens."""
    return amount / 1_000_000 if UNITS[limit] == "usd" else amount


def own(task: Task) -> int | None:
    """Return what a run may cost, micro-USD, as it was asked for and raised since; None: no ceiling of its own."""
    asked = task.params.get(OWN)
    return None if asked is None else round(float(asked) * 1_000_000) + task.raised.get(OWN, 0)


def of(task: Task, limit: str) -> int | None:
    """Return a ceiling as it holds for a run; None where it is not known here."""
    if limit == OWN:
        return own(task)
    caps = {
        "usd_per_day": task.cap_micro_usd,
        "tokens_per_day": task.cap_tokens,
        "usd_per_day_key": task.cap_key_micro_usd,
        "tokens_per_day_key": task.cap_key_tokens,
    }
    return caps[limit] + task.raised.get(limit, 0) if limit in caps else None


def of_days(task: Task) -> dict[str, int]:
    """Return by how much the ceilings of a run's day were raised: its children have them, too."""
    return {limit: amount for limit, amount in task.raised.items() if limit != OWN}


def raised(task: Task, limit: str, amount: int) -> dict[str, int]:
    """Return what a run's row says of its raised ceilings with one more raise."""
    return task.raised | {limit: task.raised.get(limit, 0) + amount}
