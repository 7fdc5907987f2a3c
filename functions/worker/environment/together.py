"""Questions that an environment's runs ask at the same moment go out as one, as transactions do (`group_commit`).

Nobody waits for company: the first to ask is answered at once. Whoever asks while an answer is under way shares the
next, which is asked for as soon as that one is there, so no answer is older than its question.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextvars import Context


class Together[K, V]:
    """Asks one kind of question. Bound to one event loop."""

    def __init__(self, ask: Callable[[list[K]], Mapping[K, V]]) -> None:
        """Keep how many keys are asked for at once; ``ask`` blocks, and runs in a thread, one at a time."""
        self._ask = ask
        self._keys: dict[K, None] = {}
        self._next: asyncio.Task[Mapping[K, V]] | None = None
        self._under_way: asyncio.Task[Mapping[K, V]] | None = None

    async def get(self, key: K) -> V:
        """Return the answer for a key; raises what ``ask`` raises. Being cancelled leaves it to the others."""
        self._keys[key] = None
        if self._next is None:
            # In a context of its own: what is logged on the way is not the first asker's alone.
            self._next = asyncio.create_task(self._go(self._under_way), context=Context())
            self._next.add_done_callback(_seen)
        return (await asyncio.shield(self._next))[key]

    async def _go(self, before: asyncio.Task[Mapping[K, V]] | None) -> Mapping[K, V]:
        if before is not None:
            await asyncio.wait([before])
        keys, self._keys = list(self._keys), {}
        self._under_way, self._next = self._next, None
        return await asyncio.to_thread(self._ask, keys)


def _seen(answer: asyncio.Task[object]) -> None:
    """Look at a failure that nobody may have waited for."""
    if not answer.cancelled():
        answer.exception()
