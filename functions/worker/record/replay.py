"""What a worker before this one recorded of a run, as its code comes to it again: results, and failures in order."""

import asyncio
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from functions.worker.record import failures
from functions.worker.record.caught import Caught, Failure
from shared.logs import get_logger
from shared.tasks import checkpoints
from shared.tasks.checkpoints import Step
from sluice.errors import ReplayMismatch

ORDER_TICKS = 100
"""How often a failure waits for ``TICK_SECONDS`` while no branch comes to a step that was recorded before. Turns of the
event loop are counted, and no time: on a busy machine there may be none for long."""
QUICK_TICKS = 20
"""The first of them take no time."""
TICK_SECONDS = 0.003

_log = get_logger("steps")


class Replay:
    """The recorded steps that no code has come to yet."""

    def __init__(self, recorded: dict[tuple[str, int], Step], caught: Caught) -> None:
        """Begin with all, in the order in which they were recorded; ``caught`` is told of the failures among them."""
        self._left = recorded
        self._places = {key: place for place, key in enumerate(recorded)}
        self._first_failure = min(
            (self._places[step.key] for step in recorded.values() if step.failed), default=math.inf
        )
        self.copied = {step.key for step in recorded.values() if step.copied}
        self.loose = {step.key for step in recorded.values() if step.loose}
        self._caught = caught
        self._hung: dict[asyncio.Task[Any], int] = {}
        """What waits to be cancelled as it was before, and its place."""
        self._waiting: dict[asyncio.Task[Any], float] = {}
        """What waits to fail, and its place."""
        self._passed_over: set[tuple[str, int]] = set()
        """Steps that nobody came to, though it was waited for that."""
        self._held: set[asyncio.Task[Any]] = set()
        """Branches that wait here."""

    async def find(self, name: str, nth: int, mark: str) -> Step | None:
        """Return a step if it is recorded; raises what it raised if it failed.

        None where it is to be done: nothing is recorded of it, or only what is none for the code of now: a failure, or
        what came of one that is tried again.

        Raises:
            ReplayMismatch: it was recorded with another input.
        """
        found = self._left.pop((name, nth), None)
        is_same = found is not None and found.fingerprint in (mark, checkpoints.ANY_INPUT)
        if found is None or ((found.failed or found.loose) and not is_same):
            return None
        if not is_same:
            raise ReplayMismatch(f"step {name} #{nth} was recorded with another input")
        if not found.failed:
            return found
        if not (found.loose and failures.CANCELLED in found.value):
            await self._fail(found)
        return None

    async def _fail(self, step: Step) -> None:
        if failures.CANCELLED in step.value:
            await self._hang(step)
            return
        try:
            error = failures.again(step.value)
        except Exception as unknown:
            _log.warning("failure not replayed", extra={"step": step.name, "error": repr(unknown)})
            return
        await self.caught_up(self._places[step.key])
        self._caught.note(Failure(step, error), recorded=True)
        raise error

    async def _hang(self, step: Step) -> None:
        patience = step.value[failures.CANCELLED] + failures.CANCELLED_WITHIN_SECONDS
        try:
            with self._holding() as task:
                self._hung[task] = self._places[step.key]
                await asyncio.sleep(patience)
            _log.warning("not cancelled again", extra={"step": step.name, "seconds": round(patience)})
        except asyncio.CancelledError as error:
            self._caught.note(Failure(step, error), recorded=True)
            raise

    async def caught_up(self, place: float = math.inf) -> None:
        """Wait, before a step fails, for other branches to come to all that was recorded before: it may cancel them.

        Not for ever: they may not come to it, as the run's code is another by now.
        """
        left, ticks = -1, 0
        with self._holding() as task:
            self._waiting[task] = place
            while any(self._before(place)) or (place < math.inf and self._hangs_before(place)):
                if left != (left := len(self._left)):
                    ticks = 0
                elif place == min(self._waiting.values()) and not self._hangs_before(place):
                    ticks += 1  # who is to fail first stops to wait first
                    if ticks > ORDER_TICKS:
                        self._passed_over |= {*self._before(place)} if place < math.inf else set()
                        return
                await asyncio.sleep(0 if ticks < QUICK_TICKS and not self._hung else TICK_SECONDS)

    def _before(self, place: float) -> Iterator[tuple[str, int]]:
        """Yield what was recorded before that, as far as a branch may still come to it."""
        for key, step in self._left.items():
            if self._places[key] >= place:
                return
            if not step.loose and key not in self._passed_over:
                yield key

    def _hangs_before(self, place: float) -> bool:
        return any(one < place for one in self._hung.values())

    @contextmanager
    def _holding(self) -> Iterator[asyncio.Task[Any]]:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - for the type checker
        self._held.add(task)
        try:
            yield task
        finally:
            self._held.discard(task)
            self._hung.pop(task, None)
            self._waiting.pop(task, None)

    @property
    def holds(self) -> bool:
        """Whether a branch waits here: it goes on by itself."""
        return bool(self._held)

    async def end(self, seconds: float) -> None:
        """Cancel the branches that wait here."""
        if held := [*self._held]:
            for task in held:
                task.cancel()
            await asyncio.wait(held, timeout=seconds)

    def missed(self) -> list[tuple[str, int]]:
        """Return the steps that the run's code must come to, and did not, in their order.

        Not what was recorded after a failure: a branch may be cancelled by one that got less far the last time.
        """
        known = [step for step in self._left.values() if not (step.failed or step.loose)]
        strict = [step.key for step in known if step.fingerprint != checkpoints.ANY_INPUT]
        return [key for key in strict if self._places[key] < self._first_failure]

    def unused(self) -> list[Step]:
        """Return what no code has come to."""
        return [*self._left.values()]
