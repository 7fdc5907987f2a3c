"""A run's side of the event log: collects events and writes them in few, ordered batches.

Every write that moves ``last_seq`` takes the same lock, so numbers follow each other. Plain events wait for the next
batch; a recorded step and the settlement take what is pending along.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from functions.worker.model.telling import CallPiece, ShownCall
from functions.worker.record.persist import persist
from functions.worker.record.publisher import Publisher
from shared import storable
from shared.clock import now
from shared.errors import LeaseLost, SluiceError
from shared.logs import get_logger
from shared.tasks import checkpoints
from shared.tasks.events import Event, is_written
from shared.tasks.model import Task

type _Place = tuple[str, str, str]
"""Of what a model writes: type of its event, id of the model call, id of the tool call or nothing."""

FIRST_FLUSH_SECONDS = 0.2
"""Shortest time between two batches of a run that is watched: at most five writes a second."""
SLOW_FLUSH_SECONDS = 1.0
"""Time between batches of a long stream, and between looks for somebody who watches or reads."""
UNREAD_SECONDS = 10.0
"""How old text gets that nobody watches or reads before it is stored all the same. Each batch costs a write unit or
more; a look costs one command of Valkey's."""
UNREAD_CHARACTERS = 64_000
"""How much of it is kept back."""
QUICK_BATCHES = 25
"""Batches written at the quick pace before it slows down for those who are pushed to (`Publisher.followed`)."""
TOKEN_EVENT_CHARACTERS = 16_000
"""Longest text of one token event; a longer delta becomes several."""

_log = get_logger("eventlog")


class EventLog:
    """Events of one run, in order."""

    def __init__(self, task: Task, publisher: Publisher) -> None:
        """Bind to a claimed task; the publisher is told of every batch once it is stored."""
        self._task = task
        self._publisher = publisher
        self._waits_since: float | None = None
        self._kept_back = 0
        self._pending: list[Event] = []
        self._tokens: dict[_Place, list[str]] = {}
        self._about: dict[_Place, dict[str, Any]] = {}
        self._unsettled: dict[str, None] = {}
        self._shown: set[_Place] = set()
        self.shown_before: Mapping[str, Mapping[int, ShownCall]] = {}
        """What watchers saw of tool calls that workers before this one did not record: by step, and number."""
        self._looked: set[_Place] = set()
        self._looking: asyncio.Task[None] | None = None
        self._being_written = False
        self._timer: asyncio.TimerHandle | None = None
        self._hurried = False
        self._flusher: asyncio.Task[None] | None = None
        self._flushing = False
        self._batches = 0
        self.lock = asyncio.Lock()

    def add(self, type_: str, data: dict[str, Any] | None = None, *, can_wait: bool = False) -> None:
        """Note an event; it is written within a second, or like text if it ``can_wait``.

        Raises:
            Unstorable: it cannot be written, and so is not noted: it would take the step down that is written with it.
        """
        kind, kept = storable.copy([type_, data or {}], f"event {type_}")
        self._close_tokens()
        self._pending.append(Event(kind, now(), kept))
        self._note(0, can_wait=can_wait)

    def token(self, call: str, text: str, *, refused: bool = False) -> None:
        """Note a piece of a model's reply; pieces of one call are joined until the next batch."""
        if refused:
            self._about["token", call, ""] = {"refusal": True}
        self._piece("token", call, text)

    def reasoning(self, call: str, text: str) -> None:
        """Note a piece of what a model thinks aloud, in the same way."""
        self._piece("reasoning", call, text)

    def tool_arguments(self, call: str, piece: CallPiece) -> None:
        """Note a piece of the arguments of a tool call that is the client's to make."""
        place = "tool_arguments", call, piece.id
        signed = {"signed": True} if piece.signed else {}
        self._about.setdefault(place, {"n": piece.n, "id": piece.id, "tool": piece.name, **signed})
        self._piece(*place[:2], piece.text, piece.id)

    def _piece(self, kind: str, call: str, text: str, call_id: str = "") -> None:
        place = kind, call, call_id
        self._tokens.setdefault(place, []).append(text)
        self._unsettled[call] = None
        self._note(len(text), can_wait=True)
        if place not in self._looked:
            # At the first of a call's text: whoever began to follow since the last look would else wait for the next.
            self._looked.add(place)
            if not self._publisher.listeners and (self._looking is None or self._looking.done()):
                self._looking = asyncio.create_task(self._look())
        if self._publisher.listeners:
            self._publisher.writes(self)
            if place not in self._shown and not self._being_written:
                self._hurry()

    async def _look(self) -> None:
        """Look who follows the run; if anybody does, the text is stored now, and told."""
        if not await self._publisher.awaited():
            return
        if self._publisher.listeners:
            self._publisher.writes(self)
        heard = self._publisher.listeners or self._publisher.followed
        if heard and not self._being_written and not self._shown.issuperset(self._tokens):
            self._hurry()

    def listeners(self) -> tuple[str, ...]:
        """Return which environments of the API stream this run."""
        return self._publisher.listeners

    def piece(self) -> Event | None:
        """Return the text that is stored next as far as it is written, with the number that it will have.

        None while a write is under way, which decides the number, or if the log shows nothing of the call yet: see
        `shared.live`. Of several calls at once it is the first one's: the others' text has its place behind that.
        """
        if self._being_written or not self._tokens:
            return None
        place, pieces = next(iter(self._tokens.items()))
        if place not in self._shown:
            return None
        text = "".join(pieces)[:TOKEN_EVENT_CHARACTERS]
        return Event(place[0], now(), self._said(place, text), self._task.last_seq + len(self._pending) + 1)

    def stands(self, call: str) -> None:
        """Note that a call's reply is recorded: its text is never void."""
        self._unsettled.pop(call, None)

    def void(self) -> list[str]:
        """Return the calls of this run that watchers see text of and whose reply is not recorded."""
        return list(self._unsettled)

    def take(self) -> list[Event]:
        """Hand over what is pending; whoever takes it writes it, under ``lock``."""
        self._close_tokens()
        taken, self._pending = self._pending, []
        self._waits_since, self._kept_back = None, 0
        self._being_written = True
        return taken

    def give_back(self, events: list[Event]) -> None:
        """Put back what could not be written."""
        self._pending[:0] = events
        self._waits_since = 0.0
        self._being_written = False

    async def stored(self, events: Sequence[Event]) -> None:
        """Tell watchers of events that were just stored as the newest ones."""
        self._being_written = False
        self._shown.update((e.type, e.data["call"], e.data.get("id", "")) for e in events if is_written(e))
        if self._tokens and self._publisher.listeners:
            self._publisher.writes(self)
            if not self._shown.issuperset(self._tokens):
                self._hurry()
        if events:
            first = self._task.last_seq - len(events) + 1
            await self._publisher.publish([Event(e.type, e.at, e.data, first + n) for n, e in enumerate(events)])

    async def close(self) -> None:
        """Stop the background writer; what is pending stays so."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
            self._looking = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._flusher is not None:
            self._flusher.cancel()
            await asyncio.gather(self._flusher, return_exceptions=True)
            self._flusher = None

    def _close_tokens(self) -> None:
        for place, pieces in self._tokens.items():
            text = "".join(pieces)
            for start in range(0, len(text) or 1, TOKEN_EVENT_CHARACTERS):  # a call may have no arguments
                part = text[start : start + TOKEN_EVENT_CHARACTERS]
                self._pending.append(Event(place[0], now(), self._said(place, part)))
        self._tokens = {}

    def _said(self, place: _Place, text: str) -> dict[str, Any]:
        return {"call": place[1], **self._about.get(place, {}), "text": text}

    def _note(self, characters: int, *, can_wait: bool) -> None:
        if not can_wait:
            self._waits_since = 0.0  # long enough
        elif self._waits_since is None:
            self._waits_since = now()
        self._kept_back += characters
        if self._timer is None and not self._flushing:
            self._flush_later()

    def _flush_later(self) -> None:
        """Flush in a while, or soon where there is text of a call that somebody listens to and the log shows none of.

        A timer, not an asyncio task that sleeps: most runs end before it, and a task's start and end cost more.
        """
        if not (self._pending or self._tokens):
            return
        quick = self._read_as_stored() or (self._batches < QUICK_BATCHES and self._publisher.followed)
        seconds = 0.0 if self._hurried else FIRST_FLUSH_SECONDS if quick else SLOW_FLUSH_SECONDS
        self._timer = asyncio.get_running_loop().call_later(seconds, self._flush_now)

    def _flush_now(self) -> None:
        self._timer, self._hurried, self._flushing = None, False, True
        self._flusher = asyncio.create_task(self._flush_unless_it_may_wait())

    def _hurry(self) -> None:
        self._hurried = True
        if self._timer is not None:
            self._timer.cancel()
            self._flush_now()

    async def _flush_unless_it_may_wait(self) -> None:
        try:
            if not self._may_wait() or await self._publisher.awaited():
                # Shielded with its lock: a batch is written whole and noted, and whoever comes next waits for it.
                await asyncio.shield(self._locked_flush())
                self._batches += 1
        finally:
            self._flushing = False
        self._flush_later()

    def _read_as_stored(self) -> bool:
        """Whether somebody listens to a response: its stream shows what is stored only, so that it can be taken up.

        Then text is stored at the quick pace to the end, or its client would see it once a second.
        """
        return self._task.params.get("dialect") == "responses" and bool(self._publisher.listeners)

    def _may_wait(self) -> bool:
        """Whether what is pending is only text that is neither old nor much, and nobody is known to watch."""
        if self._publisher.followed or self._kept_back > UNREAD_CHARACTERS:
            return False
        return self._waits_since is not None and now() - self._waits_since < UNREAD_SECONDS

    async def _locked_flush(self) -> None:
        async with self.lock:
            await self._flush()

    async def _flush(self) -> None:
        batch = self.take()
        if not batch:
            self._being_written = False
            return
        try:
            await persist(checkpoints.append_events, self._task, batch)
        except LeaseLost:
            return  # the heartbeat ends this run
        except SluiceError as error:
            self.give_back(batch)
            _log.warning("events not written yet", extra={"task_id": self._task.task_id, "code": error.code})
            return
        await self.stored(batch)
