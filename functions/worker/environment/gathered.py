"""Work that an environment's runs want done at about the same time is done together, in one thread for all.

A run alone waits for nobody. Where many are under way, runs that began together end together: each of them waits a few
milliseconds for the others. Changing threads costs a twentieth of a short run's processor time, a transaction more.
"""

import asyncio
from collections.abc import Callable, Sequence

GATHER_SECONDS = 0.01
"""How long work waits for company where many runs are under way."""
MANY_RUNS = 8
"""Runs under way from which on company is likely."""
AT_ONCE = 10
"""Most that one thread does, in one trip: the next ten have a thread of their own."""


class Gathered[T, R]:
    """Does one kind of work. Bound to one event loop."""

    def __init__(self, do: Callable[[Sequence[T]], Sequence[R | Exception]], runs: Callable[[], int]) -> None:
        """Keep how much is done at once; ``do`` blocks, and answers by position; ``runs``: how many are under way."""
        self._do = do
        self._runs = runs
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []
        self._timer: asyncio.Handle | None = None

    async def get(self, one: T) -> R:
        """Return what came of it, or raise that. Being cancelled leaves it to be done all the same."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[R] = loop.create_future()
        self._waiting.append((one, done))
        if self._timer is None:
            many = self._runs() >= MANY_RUNS
            self._timer = loop.call_later(GATHER_SECONDS, self._go) if many else loop.call_soon(self._go)
        elif len(self._waiting) >= AT_ONCE:
            self._timer.cancel()
            self._go()
        return await done

    def _go(self) -> None:
        self._timer = None
        waiting, self._waiting = self._waiting, []
        answers = asyncio.get_running_loop().run_in_executor(None, self._do, [one for one, _ in waiting])
        answers.add_done_callback(lambda answers: _hand_out(answers, [done for _, done in waiting]))


def _hand_out[R](answers: asyncio.Future[Sequence[R | Exception]], wanted: Sequence[asyncio.Future[R]]) -> None:
    failed = asyncio.CancelledError() if answers.cancelled() else answers.exception()
    each: Sequence[R | BaseException] = [failed] * len(wanted) if failed is not None else answers.result()
    for done, answer in zip(wanted, each, strict=True):
        if done.cancelled():
            continue
        if isinstance(answer, BaseException):
            done.set_exception(answer)
        else:
            done.set_result(answer)
