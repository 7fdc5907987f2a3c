"""The threads of an environment: few while they keep up with what blocks, more as soon as they do not.

Each thread that ever ran keeps connections, a stack and what its allocator set aside for it: 0.1 MB that a further run
costs, and that grows for the first thousand runs. Runs that begin together want a thread each for a few milliseconds,
which some threads give them one after the other. Where it takes longer, as with a tool that blocks, each piece of work
that waits gets a thread of its own.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor

FEW = 16
"""Threads that are made as they are wanted."""
PATIENCE_SECONDS = 0.5
"""How long work waits for one of those, of which each has then taken something unless it is blocked: calls of DynamoDB
and SQS take a hundredth of it."""


class Threads(ThreadPoolExecutor):
    """The default executor of one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, most: int) -> None:
        """Have no thread yet, and at most so many."""
        super().__init__(most, thread_name_prefix="shared")
        self._loop = loop
        self._submitted = 0
        self._taken = 0
        self._looks = False

    def _adjust_thread_count(self) -> None:
        """See that there is a thread for what was just put into the queue (called by ``submit``)."""
        self._submitted += 1
        if len(self._threads) < FEW:
            super()._adjust_thread_count()
        elif not self._idle_semaphore.acquire(timeout=0) and not self._looks:
            self._looks = True
            self._taken = self._submitted - self._work_queue.qsize()
            self._loop.call_soon_threadsafe(self._loop.call_later, PATIENCE_SECONDS, self._look)

    def _look(self) -> None:
        """Make threads for what waits and would wait on."""
        self._looks = False
        with self._shutdown_lock:
            waiting = self._work_queue.qsize()
            if self._shutdown or not waiting:
                return
            taken = self._submitted - waiting
            since, self._taken = taken - self._taken, taken
            blocked = len(self._threads) - since
            for _ in range(waiting if not since else min(waiting, blocked)):
                super()._adjust_thread_count()
            self._looks = True
            self._loop.call_later(PATIENCE_SECONDS, self._look)
