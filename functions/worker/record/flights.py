"""Notes, some times a second, what the calls under way here read and wrote so far (`shared.tasks.flights`).

Many runs' notes go out in one round trip. A call that is over at once is never noted.
"""

import asyncio
import math
import time
from dataclasses import dataclass

from functions.worker.model import charges
from functions.worker.model.asked import Call
from functions.worker.model.progress import Progress
from shared.limits.models import Model
from shared.logs import get_logger
from shared.retry import ModelError
from shared.tasks import flights
from shared.tasks.model import Task, Usage
from shared.valkey import RedisError

FIRST_SECONDS = 0.05
"""How long a call is under way before it is noted: others that begin at the same time are noted with it."""
EVERY_SECONDS = 0.25
"""How often its progress is noted."""

_DIED = ModelError("its worker died", code="worker_died")
_log = get_logger("flights")


@dataclass(slots=True, eq=False)
class Flight:
    """A call under way, or one that is over and not written yet; then ``use`` is what it used."""

    step: str
    nth: int
    model: str
    day: str
    call: Call
    progress: Progress
    use: Usage | None = None
    cut: bool = False
    own: Model | None = None
    """What it costs its user, with whose own key it is made."""
    known: tuple[object, flights.Noted | None] | None = None
    """What was last noted of it, and of what, while nothing of its reply shows."""


def _noted(task: Task, flight: Flight) -> flights.Noted | None:
    """Return what is to be noted of a call; it is put together anew only where something may have changed."""
    progress = flight.progress
    if flight.use is not None or flight.call.stream or progress.written_bytes:
        return _account(task, flight)
    state = progress.input_tokens, [(one.sent_at, one.answered, one.nothing) for one in progress.tries]
    if flight.known is None or flight.known[0] != state:
        flight.known = state, _account(task, flight)
    return flight.known[1]


def _account(task: Task, flight: Flight) -> flights.Noted | None:
    if flight.use is not None:
        if flight.cut and not any(flight.use is one for one in task.unwritten):
            return None  # written
        return flights.Noted(flight.step, flight.nth, flight.use, flight.cut)
    use = charges.of_cut(flight.model, flight.call, flight.progress, _DIED)
    if use is None:
        return None
    # And what it writes until the next note.
    room = max(0, flight.call.max_output_tokens - use.output_tokens)
    use = type(use)(use.input_tokens, use.output_tokens + min(room, _meanwhile(flight.progress)))
    use = charges.priced(flight.model, use, flight.progress, flight.day, own=flight.own)
    return flights.Noted(flight.step, flight.nth, use, cut=False)


def _meanwhile(progress: Progress) -> int:
    if progress.first_at is None:
        return 0
    lasted = max(time.monotonic() - progress.first_at, charges.UNREAD_SECONDS)
    return math.ceil(progress.output_tokens / lasted * EVERY_SECONDS)


class Flights:
    """The notes of this environment's runs. Only the event loop touches it."""

    def __init__(self) -> None:
        self._tasks: dict[tuple[str, int], Task] = {}
        self._sent: dict[tuple[str, int], str] = {}
        self._facts: dict[tuple[str, int], tuple[list[flights.Noted], list[int]]] = {}
        """What was last looked at of each."""
        self._begun = asyncio.Event()
        self._noting: asyncio.Task[None] | None = None

    def begin(self, task: Task, flight: Flight, call_id: str) -> None:
        """Note a call from now on, until it is recorded or its run ends here."""
        task.under_way[call_id] = flight
        self._tasks[task.task_id, task.lease_no] = task
        self._begun.set()
        if self._noting is None or self._noting.done():
            self._noting = asyncio.create_task(self._note())

    def end(self, task: Task) -> None:
        """Note nothing more of a run, which was written or is another's."""
        self._tasks.pop((task.task_id, task.lease_no), None)
        self._facts.pop((task.task_id, task.lease_no), None)

    async def _note(self) -> None:
        while self._tasks or self._sent:
            self._begun.clear()
            await asyncio.sleep(FIRST_SECONDS)
            await self._send()
            if self._tasks:
                try:
                    async with asyncio.timeout(EVERY_SECONDS):
                        await self._begun.wait()
                except TimeoutError:
                    continue

    async def _send(self) -> None:
        texts = {key: "" for key in self._sent if key not in self._tasks}
        for key, task in self._tasks.items():
            noted = [one for flight in task.under_way.values() if (one := _noted(task, flight))]
            facts = noted, flights.written(task)
            if self._facts.get(key) == facts:
                continue  # as most of the time of a call whose reply comes in one piece: not even put into words
            self._facts[key] = facts
            text = flights.text_of(task, noted)
            if text != self._sent.get(key, ""):
                texts[key] = text
        if not texts:
            return
        for key, text in texts.items():
            if text:
                self._sent[key] = text
            else:
                self._sent.pop(key, None)
        try:
            await asyncio.to_thread(flights.note, texts)
        except RedisError as error:
            _log.warning("calls not noted", extra={"calls": len(texts), "error": str(error)})
