"""What a run's ceiling leaves beside its groups of children: all have it together, so some have to wait."""

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
    """Holds what groups may cost until they are over, and has branches wait for that which find nothing left."""

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
        self._ended = asyncio.Event()
        self._before: dict[str, Group] = {}
        """Groups under way that workers before this one began, and no branch came to yet, by key."""
        for one in groups:
            step = recorded.get((one.name, one.nth))
            if step is None:
                self._before[one.key] = one
            ledger.hold(OF_NO_DAY, 0, one.share if step is None else _cost(step.value))

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
        self._ledger.hold(OF_NO_DAY, 0, _cost(ends) - group.share)
        self._under_way -= 1
        self._ended.set()
        self._ended = asyncio.Event()

    @property
    def ended(self) -> asyncio.Event:
        """What is set when the next group ends."""
        return self._ended

    async def after(self, ended: asyncio.Event) -> bool:
        """Wait until a group has ended since that was `ended`; False where none is under way that might leave room.

        No wait of the run's own: when all other branches wait, the run is suspended, and this one comes here again.
        """
        while not ended.is_set():
            if not self._under_way and not self._before:
                return False
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), OTHERS_SECONDS)
                break
            if not self._under_way and self._steps.idle and not self._waits.pending():
                return False  # no code comes to those that were begun before
        return True


def _cost(ends: list[dict[str, Any]]) -> int:
    return sum(one["micro_usd"] for one in ends)
