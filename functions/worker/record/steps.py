"""A run's steps, each done once: replayed if it is recorded, else done, recorded and charged.

What was paid for is recorded or at least charged, whatever happens between the work and the record; and no step goes on
when its run has ended.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

from functions.worker.record.caught import Caught, Failure
from functions.worker.record.eventlog import EventLog
from functions.worker.record.ledger import charge
from functions.worker.record.persist import persist, whatever_comes
from functions.worker.record.replay import Replay
from functions.worker.record.stops import Ended, Final
from shared import storable, traceparent
from shared.clock import now
from shared.errors import Contended, DependencyDown, LeaseLost, SluiceError, TooLarge, Unstorable
from shared.logs import get_logger
from shared.tasks import checkpoints
from shared.tasks.checkpoints import Step
from shared.tasks.events import Event
from shared.tasks.model import Task, Usage
from shared.traceparent import OUTGOING
from sluice.errors import ReplayMismatch

STEP_NAME_CHARACTERS = 64
MAY_FAIL = frozenset({"model", "tool", "step"})
"""Kinds of steps whose work is not Sluice's own."""
_inside: ContextVar[str | None] = ContextVar("inside_step", default=None)
"""The step whose function runs, in this asyncio task and those that it starts."""

_log = get_logger("steps")


class Done(NamedTuple):
    """What came of a step's work: its value, which must be JSON, its events, and what a model call cost."""

    value: Any
    events: tuple[Event, ...] = ()
    usage: Usage | None = None
    model: str | None = None
    last: bool = False
    """Whether the run ends with it."""
    raised: dict[str, int] | None = None
    """What ceilings are raised by from it on, if it did that."""


class Steps:
    """The steps of one run, as far as this worker goes."""

    def __init__(
        self,
        task: Task,
        recorded: dict[tuple[str, int], Step],
        log: EventLog,
        check_time: Callable[[float], None],
        give_way: Callable[[], Awaitable[None]],
    ) -> None:
        """Bind to a claimed task; ``check_time`` raises when there is too little time left to begin anything.

        ``give_way`` raises when the run is to leave its slot to another.
        """
        self._task = task
        self._log = log
        self._check_time = check_time
        self._give_way = give_way
        self._uses: Counter[str] = Counter()
        self._open: dict[asyncio.Future[None], tuple[asyncio.Task[Any], int]] = {}
        """By what tells its end, each step under way: the asyncio task that it runs in, and how often that one had been
        cancelled before."""
        self._closed = False
        self.caught = Caught()
        self._replay = Replay(recorded, self.caught)
        self._going_on: asyncio.Future[None] | None = None
        self._failed: SluiceError | None = None
        """Why a step could not be recorded, though nothing was wrong with it."""
        self._last: tuple[Step, Done] | None = None
        self._recording: asyncio.Task[None] | None = None
        self._between = self._waiting = 0
        self.progressed = False
        """Whether this worker recorded a step."""

    @property
    def idle(self) -> bool:
        """Whether no step is under way or being recorded, and no branch on its way to one."""
        recorded = self._recording is None or self._recording.done()
        return recorded and self._last is None and not (self._open or self._between or self._replay.holds)

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Have the run not be idle while Sluice itself reads or writes something for a branch between its steps.

        Suspended then, it would not wait for what that branch was about to wait for.
        """
        self._between += 1
        try:
            yield
        finally:
            self._between -= 1

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Have no step be the run's last while a branch of it waits: nothing would record it before that is over."""
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1

    def copied(self, name: str) -> bool:
        """Whether the newest use of a name was replayed from another run, which paid for it."""
        return (name, self._uses[name]) in self._replay.copied

    async def once(
        self,
        name: str,
        work: Callable[[int], Awaitable[Done]],
        *,
        kind: str,
        fingerprint: Any,
        ready: Callable[[int], Awaitable[None]] | None = None,
        nth: int | None = None,
    ) -> Any:
        """Replay or do and record one step; ``work`` is told how often the name was used, this time included.

        ``nth`` is a use of the name that was begun before and came to nothing: it is tried again.

        ``ready`` is waited for before that: the step is not under way yet, and the run may be suspended meanwhile.

        A step that says it is the run's ``last`` is left to the write that ends the run (`take_last`).
        """
        if not name or len(name) > STEP_NAME_CHARACTERS:
            raise TooLarge(f"a step's name has 1 to {STEP_NAME_CHARACTERS} characters")
        storable.check(name, "a step's name")
        self._check_open(name)
        if nth is None:
            self._uses[name] += 1
            nth = self._uses[name]
        self.caught.come_on()
        mark = checkpoints.fingerprint([kind, fingerprint])
        recorded = await self._replay.find(name, nth, mark)
        if recorded is not None:
            self.caught.paid += kind == "model"
            return recorded.value
        outer = _inside.get()
        if outer is not None:
            raise ReplayMismatch(f"step {name} is inside step {outer}, whose replay would not ask for it")
        began = time.monotonic()
        try:
            try:
                return await self._do(name, nth, work, kind, mark, ready)
            except Exception:
                await self._replay.caught_up()
                raise
        except BaseException as error:
            if (told := self.caught.told(error)) is not None and kind in MAY_FAIL:
                about = {"ms": round((time.monotonic() - began) * 1000), "kind": kind}
                self.caught.note(Failure(Step(name, nth, mark, told, failed=True), error, about))
            raise

    async def _do(
        self,
        name: str,
        nth: int,
        work: Callable[[int], Awaitable[Done]],
        kind: str,
        mark: str,
        ready: Callable[[int], Awaitable[None]] | None,
    ) -> Any:
        await self.go_on()
        if ready is not None:
            await ready(nth)
            await self.go_on()
        self._check_open(name)
        self._check_time(0)
        with self.busy():
            await self._give_way()
        finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - for the type checker
        self._open[finished] = task, task.cancelling()
        try:
            began = time.monotonic()
            inside = _inside.set(name)
            place = OUTGOING.set(traceparent.outgoing(self._task, traceparent.STEP, name, nth))
            try:
                done = await work(nth)
            finally:
                OUTGOING.reset(place)
                _inside.reset(inside)
            if kind != "model":
                data = {"step": name, "n": nth, "ms": round((time.monotonic() - began) * 1000), "kind": kind}
                done = done._replace(events=(*done.events, Event("step", now(), data)))
            step = checkpoints.Step(name, nth, mark, done.value, loose=(name, nth) in self._replay.loose)
            # With others under way, or a wait, it is not the last; and after the end nobody would write it.
            if done.last and len(self._open) == 1 and not self._waiting and not self._closed:
                self._last = step, done
            else:
                await whatever_comes(asyncio.ensure_future(self._record(step, done)))
            self.caught.paid += kind == "model"
            return done.value
        finally:
            del self._open[finished]
            finished.set_result(None)

    def _check_open(self, name: str) -> None:
        if self._failed is not None:  # what its code does after that nobody could record: it would be paid for again
            raise Final(self._failed)
        if self._closed:
            raise Ended(f"step {name} was to begin after its run")

    async def go_on(self) -> None:
        """Record what waits for that before something begins."""
        with self.busy():
            await self.flush()
            if due := await self.caught.due():
                self._going_on = asyncio.ensure_future(self._record_failures(due, self._going_on))
            if self._going_on is not None:  # another branch's, too: this one may be what goes on after them
                await whatever_comes(self._going_on)

    async def _record_failures(self, due: list[Failure], before: asyncio.Future[None] | None) -> None:
        # All at once: whatever ends the run gets the log's lock after them.
        recordings = (self._record(one.step, Done(None, (one.event,))) for one in due)
        await asyncio.gather(*filter(None, [before]), *recordings)
        self._going_on = None if self._going_on is asyncio.current_task() else self._going_on

    def take_last(self) -> tuple[Step, Done] | None:
        """Hand over the step that is to be written with the run's end, if there is one."""
        last, self._last = self._last, None
        return last

    async def flush(self) -> None:
        """Record the run's last step after all: the run goes on, here or elsewhere. All who ask wait for that."""
        last = self.take_last()
        if last is not None:
            self._recording = asyncio.ensure_future(self._record(*last))
        if self._recording is not None:
            await whatever_comes(self._recording)

    async def _record(self, step: Step, done: Done) -> None:
        async with self._log.lock:
            pending = self._log.take()
            batch = [*pending, *done.events]
            try:
                more: dict[str, Any] = {"use": done.usage, "model_used": done.model, "raised": done.raised}
                await persist(checkpoints.record, self._task, step, batch, **more)
            except Exception as error:
                self._log.give_back(pending)
                if done.usage is not None:
                    charge(self._task, done.usage)
                if isinstance(error, LeaseLost | Contended | DependencyDown):
                    self._failed = error
                if isinstance(error, SluiceError):
                    raise
                # Nothing that comes with trying again: the work would be done and paid for once more, to the same end.
                _log.warning("step not recorded", exc_info=error)
                known = isinstance(error, storable.FAULTS)
                why = str(error) if known else type(error).__name__
                raise Unstorable(f"what step {step.name} returned cannot be stored: {why}") from error
            self.progressed = self.progressed or not (step.failed or step.loose)
            if isinstance(step.value, dict) and "call" in step.value:
                self._log.stands(step.value["call"])
                self._task.under_way.pop(step.value["call"], None)
        await self._log.stored(batch)

    async def drain(self, until: float) -> None:
        """Wait for the steps that are still under way, at most until the given time."""
        if self._open:
            await asyncio.wait(self._open, timeout=max(0.0, until - now()))

    async def end(self, until: float) -> None:
        """Cancel what is still under way, wait for that at most until the given time, and let nothing more begin."""
        self._closed = True
        self.caught.over()
        for task, before in list(self._open.values()):
            if task.cancelling() <= before:  # cancelled twice, it could not clean up
                task.cancel()
        await self.drain(until)
        await self._replay.end(max(0.0, until - now()))
        if self._going_on is not None:
            await asyncio.wait([self._going_on], timeout=max(0.0, until - now()))

    def to_try_again(self, error: BaseException) -> list[tuple[str, int]]:
        """Return the recorded failures that an attempt which ended with an error did not get over after all."""
        return self.caught.again(error, self._replay.unused(), stuck=self._task.attempt > 0)

    def check_replayed(self) -> None:
        """Make sure that a run which ends used every recorded step.

        Raises:
            ReplayMismatch: it did not; its code changed shape.
        """
        for name, nth in self._replay.missed():
            raise ReplayMismatch(f"the run ended without its recorded step {name} #{nth}")
