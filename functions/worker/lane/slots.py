"""The places for runs in one environment: ``RunsPerEnvironment`` of them, and who is in them.

A place is free again once its run's end is written, not only when everything that follows the end is done. Shortly
before, while the end is being written, it is known to come free: time enough to receive a message for it, not to claim
its task, which would be one more than there may be.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine


class Slot:
    """One run's place, as the run itself sees it."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._ending = self._left = False

    def ending(self) -> None:
        """Tell that the run's code is done and its end about to be written."""
        if not self._ending and not self._left:
            self._ending = True
            self._slots.changed(ending=1)

    def leave(self) -> None:
        """Give the place up: the run's end, or that it goes on elsewhere, is written. A second time is harmless."""
        if not self._left:
            self._left = True
            self._slots.changed(taken=-1, ending=-self._ending)


class Slots:
    """All places of one invocation. Bound to its event loop."""

    def __init__(self, most: int) -> None:
        """Start empty; ``most`` runs at once."""
        self._most = most
        self._taken = self._ending = 0
        self._runs: set[asyncio.Task[None]] = set()
        self._news = asyncio.Event()

    @property
    def empty(self) -> bool:
        """Whether every run, and what follows it, is done."""
        return not self._runs

    @property
    def free(self) -> int:
        """How many runs may start now. What follows ended ones is bounded, too: as many of them as there are places."""
        return min(self._most - self._taken, 2 * self._most - len(self._runs))

    @property
    def soon_free(self) -> int:
        """How many may start now or once ends that are being written are."""
        return min(self._most - self._taken + self._ending, 2 * self._most - len(self._runs))

    def start(self, run: Callable[[Slot], Coroutine[None, None, None]]) -> None:
        """Start a run; it leaves its place when it returns, if it did not before."""
        slot = Slot(self)
        self._taken += 1
        task = asyncio.create_task(run(slot))
        self._runs.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            self._runs.discard(task)
            slot.leave()
            self._news.set()

        task.add_done_callback(ended)

    def changed(self, *, taken: int = 0, ending: int = 0) -> None:
        """Note what became of a place."""
        self._taken += taken
        self._ending += ending
        self._news.set()

    async def wait(self, timeout_s: float | None) -> None:
        """Wait until something changes, so long at most."""
        self._news.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._news.wait()
