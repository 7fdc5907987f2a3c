"""Ends that could not be followed up since Valkey was away: that is done as soon as it answers again.

Until then who follows such a run at a WebSocket waits for nothing, and its counters are held. The sweeper would find
it, but only minutes after its submit. Valkey is left alone for some seconds after it failed, so many runs may end
meanwhile.
"""

import asyncio
from collections.abc import Callable

from shared.clock import now
from shared.tasks.model import Task

PATIENCE_SECONDS = 15.0
"""How long an invocation stays for that, once an outage. It is more than Valkey is left alone for after a failure."""
LOOK_SECONDS = 1.0
"""How long it waits before it tries again."""
MARGIN_SECONDS = 2.0
"""So long before the function's time is over it stays no more."""
MOST = 1_000
"""Ends that are kept. The sweeper sees to others."""


class Untold:
    """The ends of one environment that are still to be followed up. Bound to one event loop."""

    def __init__(self, follow: Callable[[Task], bool]) -> None:
        """``follow`` blocks, and says whether all were told."""
        self.deadline = float("inf")
        self._follow = follow
        self._tasks: dict[str, Task] = {}
        self._at_work = False
        self._in_vain = False

    def add(self, task: Task) -> bool:
        """Keep an end; returns whether `go_on` is to be begun."""
        if len(self._tasks) < MOST:
            self._tasks[task.task_id] = task
        return self._begins()

    def answered(self) -> bool:
        """Note that an end was followed up; returns whether `go_on` is to be begun for those that were not."""
        self._in_vain = False
        return self._begins()

    def _begins(self) -> bool:
        if self._at_work or self._in_vain or not self._tasks:
            return False
        self._at_work = True
        return True

    async def go_on(self) -> None:
        """Follow up what is kept, for so long as that is worth while."""
        give_up = min(now() + PATIENCE_SECONDS, self.deadline - MARGIN_SECONDS)
        try:
            while self._tasks and now() < give_up:
                await asyncio.sleep(LOOK_SECONDS)
                await self._try()
        finally:
            self._at_work = False
            self._in_vain = bool(self._tasks)

    async def _try(self) -> None:
        for task in list(self._tasks.values()):
            if not await asyncio.to_thread(self._follow, task):
                return
            self._tasks.pop(task.task_id, None)
