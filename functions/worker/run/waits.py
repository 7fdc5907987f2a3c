"""What a run waits for while it is here: each wait blocks its branch of the agent's code, no other.

A run with several branches goes on as long as one of them has a step under way. Once all that is left is to wait, it
is suspended: its agent is cancelled, and the run goes on, perhaps elsewhere and much later, by replaying its steps.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from functions.worker.record.eventlog import EventLog
from functions.worker.record.persist import persist
from functions.worker.record.steps import Steps
from shared import json_schema
from shared.clock import now
from shared.errors import SluiceError, TooLarge
from shared.logs import get_logger
from shared.tasks import approvals, inbox, waits
from shared.tasks.checkpoints import Step
from shared.tasks.inbox import Signal
from shared.tasks.model import Task, dumps
from shared.tasks.waits import Wait

IN_PLACE_SECONDS = 2.0
"""What is due so soon is waited for here: suspending a run and taking it up again costs more."""
WAITS_AT_ONCE = 100
"""Most things that one run waits for at the same time; they stand in its row."""
WAITS_BYTES = 144 * 1024
"""Most bytes that these take of the row, schemas and arguments of calls to be allowed with them. It leaves room for the
longest instructions, tools and options: DynamoDB takes 400 KB. A run that waits for more since before there was this
limit may go on to wait for as much."""
TICK_SECONDS = 0.02
BUSY_TICK_SECONDS = 0.1
QUIET_TICKS = 2
"""For so many ticks no step may be under way before a run counts as only waiting: code between steps gets so long."""
LOOK_SECONDS = 1.0
"""How often signals are looked for while other branches of the run are at work."""
TAKEN = "taken_signal"
"""Key in a recorded wait's value: the signal that it took."""

_log = get_logger("waits")


@dataclass(eq=False, slots=True)
class _Pending:
    wait: Wait
    size: int
    """Bytes that it takes of the row."""
    here: asyncio.Future[Signal | None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


def _pending(wait: Wait) -> _Pending:
    return _Pending(wait, len(dumps(wait.stored()).encode()) + 1)


class Waits:
    """The waits of one run, as far as this worker goes."""

    def __init__(
        self,
        task: Task,
        recorded: dict[tuple[str, int], Step],
        steps: Steps,
        log: EventLog,
        suspend: Callable[[], None],
    ) -> None:
        """Bind to a claimed task; ``suspend`` stops the agent, whose run is then given back with what is `pending`."""
        self._task = task
        self._steps = steps
        self._log = log
        self._suspend = suspend
        row = [_pending(one) for one in waits.of_row(task)]
        self._known = {one.wait.key: one.wait for one in row}
        self._most = max(WAITS_BYTES, sum(one.size for one in row))
        self._open: dict[tuple[str, str, int], _Pending] = {}
        self._cut = {one.wait.key: one for one in row if (one.wait.name, one.wait.nth) not in recorded}
        """Waits whose branches were cancelled: by the run's stop, or by code that another worker executes once more. At
        first those that the run was suspended with: no branch has come to them again."""
        self._inbox: list[Signal] = []
        self._looked_at = 0.0
        self._taken = {
            step.value[TAKEN]
            for step in recorded.values()
            if isinstance(step.value, dict) and TAKEN in step.value and not step.copied  # of another run's inbox
        }
        self._watcher: asyncio.Task[None] | None = None
        self._suspended: list[_Pending] = []

    def pending(self) -> list[Wait]:
        """Return what the run waits for, or waited for when it was suspended."""
        return [one.wait for one in self._waiting()]

    def _waiting(self) -> list[_Pending]:
        return self._suspended or [*self._open.values()]

    def begin(self, kind: str, name: str, nth: int, until: float, more: dict[str, Any] | None = None) -> Wait:
        """Return a wait as it was begun first: its time does not start again with a replay."""
        at = now()
        until = min(until, at + waits.LONGEST_SECONDS)
        wait = Wait(kind=kind, name=name, nth=nth, since=at, until=until, more=more)
        known = self._known.get(wait.key)
        return wait if known is None else Wait(**{**wait.stored(), "since": known.since, "until": known.until})

    def knows(self, kind: str, name: str, nth: int) -> bool:
        """Tell whether this run came to wait for that before, as far as its row says."""
        return (kind, name, nth) in self._known

    async def until(self, wait: Wait) -> None:
        """Wait for a time."""
        while wait.until > now():
            await self._reach(wait)

    async def signal(self, wait: Wait) -> Signal | None:
        """Wait for a signal of the wait's name, the oldest that no other wait took; None when its time is over."""
        if not self._looked_at:
            with self._steps.busy():
                await self._look()
        found = self._take(wait)
        if found is None and wait.until > now():
            return await self._reach(wait)
        if found is None and self._looked_at < wait.until:
            with self._steps.busy():
                await self._look()
            found = self._take(wait)
        return found

    async def close(self) -> None:
        """Stop to watch."""
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)

    async def _reach(self, wait: Wait) -> Signal | None:
        if len(self._open) >= WAITS_AT_ONCE:
            raise TooLarge(f"a run waits for {WAITS_AT_ONCE} things at most at the same time")
        pending = _pending(wait)
        size = pending.size + sum(one.size for one in self._open.values())
        if size > self._most:
            why = f"what a run waits for at the same time takes {self._most} bytes at most, schemas and arguments too"
            raise TooLarge(f"{why}; here it is {size}")
        self._open[wait.key] = pending
        self._cut.pop(wait.key, None)
        if self._watcher is None or self._watcher.done():
            self._watcher = asyncio.create_task(self._watch())
        try:
            with self._steps.waiting():
                return await pending.here
        except asyncio.CancelledError:
            self._cut[wait.key] = pending
            while len(self._cut) > WAITS_AT_ONCE:
                del self._cut[next(iter(self._cut))]
            raise
        finally:
            del self._open[wait.key]
            self._known[wait.key] = wait
            self._note()

    async def _watch(self) -> None:
        quiet = 0
        while self._open:
            self._note()
            await asyncio.sleep(TICK_SECONDS if self._steps.idle else BUSY_TICK_SECONDS)
            if any(one.wait.until <= now() and not self._is_over(one.wait) for one in self._open.values()):
                await self._look_quietly()
            self._settle_what_came()
            waiting = [one for one in self._open.values() if not one.here.done()]
            quiet = quiet + 1 if self._steps.idle and len(waiting) == len(self._open) else 0
            if not waiting or quiet < QUIET_TICKS:
                if now() - self._looked_at >= LOOK_SECONDS:
                    await self._look_quietly()
            elif min(one.wait.until for one in waiting) - now() > IN_PLACE_SECONDS:
                self._suspended = self._waiting()
                self._suspend()
                return

    def _note(self) -> None:
        """Note in the task what a retry or a continuation must know of: no time that was begun starts again."""
        kept = self._waiting()
        keys, room = {one.wait.key for one in kept}, self._most - sum(one.size for one in kept)
        cut: list[_Pending] = []
        for one in reversed([one for key, one in self._cut.items() if key not in keys]):
            room -= one.size
            if room < 0 or len(kept) + len(cut) == WAITS_AT_ONCE:
                break
            cut.append(one)
        self._task.waiting_for = [one.wait.stored() for one in [*reversed(cut), *kept]]

    def _settle_what_came(self) -> None:
        for one in self._open.values():
            if one.here.done():
                continue
            signal = None if one.wait.kind == "sleep" else self._take(one.wait)
            if signal is not None or self._is_over(one.wait):
                one.here.set_result(signal)

    def _is_over(self, wait: Wait) -> bool:
        """Whether a wait's time is over: what was accepted until then has been seen, or there is none."""
        return wait.until <= now() and (wait.kind == "sleep" or self._looked_at >= wait.until)

    def _take(self, wait: Wait) -> Signal | None:
        for one in self._inbox:
            if one.name != wait.name or one.id in self._taken:
                continue
            if wait.kind == approvals.KIND and one.id != approvals.answer_id(wait):
                continue  # of the same call made beside it: each has an answer of its own
            self._taken.add(one.id)
            wrong = json_schema.wrong((wait.more or {}).get("schema"), one.payload)
            if wrong is None:
                self._cut.pop(wait.key, None)
                return one
            self._log.add("signal_refused", {"name": one.name, "signal": one.id, "error": wrong})
        return None

    async def _look_quietly(self) -> None:
        if any(one.wait.kind != "sleep" for one in self._open.values()):
            try:
                await self._look()
            except SluiceError as error:
                _log.warning("signals not read", extra={"error": error.message})

    async def _look(self) -> None:
        at = now()
        self._inbox = await persist(inbox.load, self._task.task_id)
        self._looked_at = at
        self._task.signals = len(self._inbox)
