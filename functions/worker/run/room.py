"""What a run's ceiling leaves beside its calls and groups of children: all have it together, so some have to wait."""

import asyncio
import contextlib
from collections.abc import Iterable, Mapping
from typing import Any

from functions.worker.record.ledger import Ledger
from functions.worker.record.steps import Steps
from functions.worker.run.waits import Waits
from shared.tasks.checkpoints import Step
from shared.tasks.family import Group

OF_NO_DAY = ""
"""Children reserve and pay on their own days; here they count against the run's ceiling only."""
OTHERS_SECONDS = 1.0
"""How often a branch that has no room looks whether code still comes to groups that were begun before."""


class Room:
    """Holds what groups may cost until they are over. Who finds too little left waits for these, and for calls."""

    def __init__(
        self,
        ledger: Ledger,
        steps: Steps,
        waits: Waits,
        groups: Iterable[Group],
        recorded: Mapping[tuple[str, int], Step],
    ) -> None:
        """Count what groups did cost that workers before this one began, or may cost where they are not over yet.

        From the start: whatever branch is quicker than theirs must not find that room.
        """
        self._ledger, self._steps, self._waits = ledger, steps, waits
        self._under_way = 0
        self._before: dict[str, Group] = {}
        """Groups under way that workers before this one began, and no branch came to yet, by key."""
        for one in groups:
            step = recorded.get((one.name, one.nth))
            if step is None:
                self._before[one.key] = one
                ledger.hold(OF_NO_DAY, 0, one.share)
            else:
                ledger.add_children(_cost(step.value))

    def taken_up(self, name: str, nth: int) -> Group | None:
        """Return the group of that name, if a worker before this one began it; it is under way here then."""
        found = self._before.pop(f"{name}#{nth}", None)
        self._under_way += found is not None
        return found

    def begins(self, group: Group) -> None:
        """Hold what a group may cost: at once, as another branch may look for room while it is written."""
        self._ledger.hold(OF_NO_DAY, 0, group.share)
        self._under_way += 1

    def over(self, group: Group, ends: list[dict[str, Any]]) -> None:
        """Count what a group did cost, no more what it might have; whoever waits for room looks again."""
        self._under_way -= 1
        self._ledger.add_children(_cost(ends))
        self._ledger.end(OF_NO_DAY, 0, -group.share)

    def seen(self) -> tuple[int, int]:
        """Return what says, before something is tried, what is over already: see `after`."""
        return self._ledger.ended, self._ledger.undone

    async def after(self, seen: tuple[int, int], *, own: bool) -> bool:
        """Wait until something has ended since that was seen which may leave room; False where nothing is under way.

        With ``own`` the run's own ceiling is meant, where groups count, too, and calls that a day's ceiling refused.
        Those would only have each other try anew and again where they are refused themselves.

        No wait of the run's own: when all other branches wait, the run is suspended, and this one comes here again.
        """
        while self.seen() == seen if own else self._ledger.ended == seen[0]:
            news = self._ledger.news
            if not self._leaving(own=own) and not (own and self._before):
                return False
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(news.wait(), OTHERS_SECONDS)
                continue
            if not self._leaving(own=own) and self._steps.idle and not self._waits.pending():
                return False  # no code comes to those that were begun before
        return True

    def _leaving(self, *, own: bool) -> int:
        """How many are under way that may leave room."""
        return self._ledger.calls + (self._under_way if own else 0)


def _cost(ends: list[dict[str, Any]]) -> int:
    return sum(one["micro_usd"] for one in ends)
