"""Asking before a ceiling is passed, where a run's client wants that: it waits as for an approval, then tries again.

One question of a run is open at a time: branches that trip meanwhile wait for its answer and try again, too. Questions
are numbered, not named after a branch, so that whichever branch comes first after a replay finds the answer.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from functions.worker.record.eventlog import EventLog
from functions.worker.record.ledger import Ledger
from functions.worker.record.stops import Final
from functions.worker.run.room import Room
from functions.worker.run.waiting import Waiting
from shared.clock import now
from shared.errors import BudgetExhausted
from shared.tasks import approvals, ceilings
from shared.tasks.checkpoints import Step
from shared.tasks.model import Task
from shared.tasks.waits import LONGEST_SECONDS

DAY_SECONDS = 86_400.0
MOST_REFUSALS = 50
"""Refusals by a ceiling after which a run ends, whatever its code makes of them: a retry that waits for nothing would
keep the event loop, and so every other run of the environment, busy."""
RENEWED_SECONDS = 5.0
"""How long after midnight UTC a run that waits for another day's budget tries again: clocks differ."""


class Budget(Waiting):
    """The part of a context that asks for more; see `Context`."""

    _task: Task
    _ledger: Ledger
    _log: EventLog
    _questions = 0
    """How many were answered."""
    _denied = False
    _refused = 0
    """How often a ceiling refused."""
    _turn: asyncio.Lock
    _room: Room

    def _answered_before(self, recorded: dict[tuple[str, int], Step]) -> None:
        """Take the questions that were answered out of what is to be replayed: no code comes to them again."""
        self._turn = asyncio.Lock()
        while step := recorded.pop((_name(self._questions + 1), 1), None):
            self._questions += 1
            if not step.copied:  # another run's owner was asked that
                self._denied = self._denied or _is_denial(step.value)

    async def _within_budget[T](self, what: Callable[[], Awaitable[T]], key: Callable[[], str]) -> T:
        """Do what may trip a ceiling; where its client wants to be asked, ask, and do it again after the answer.

        What finds no room beside calls and groups of children waits first until one has ended, if it fits without them.
        ``key`` says which use of a step's name was refused: ``name#nth``.

        Raises:
            BudgetExhausted: nobody is to be asked, or the answer was no.
        """
        while True:
            # Before: an answer, or another's end, may come while this try is on its way to its own.
            questions, seen = self._questions, self._room.seen()
            try:
                return await what()
            except BudgetExhausted as error:
                if key() not in self._task.refused:
                    # Children come to a day's ceilings by themselves: they hold nothing here.
                    if error.fits_alone and await self._room.after(seen, own=error.limit == ceilings.OWN):
                        continue
                    if self._asks(error.limit) and await self._more(error, questions):
                        continue
                    self._task.refused = self._task.refused | {key(): error.limit}  # heartbeats read it meanwhile
                await self._refuse(error)
                raise

    def _check_refused(self, key: str) -> None:
        """Refuse what was refused before, whatever room there is by now.

        It may be held by what the run did next, which no code comes to before this; or another day has begun.

        Raises:
            BudgetExhausted: it was.
        """
        if (limit := self._task.refused.get(key)) is not None:
            raise BudgetExhausted(limit)

    async def _refuse(self, error: BudgetExhausted) -> None:
        """Let others run, and end a run whose code asks for what it cannot have, and asks again.

        Raises:
            Final: it has done so ``MOST_REFUSALS`` times.
        """
        self._refused += 1
        if self._refused >= MOST_REFUSALS:
            raise Final(error) from error
        await asyncio.sleep(0)

    def _asks(self, limit: str) -> bool:
        return self._task.params.get("on_budget") == ceilings.ASK and limit in ceilings.UNITS

    async def _more(self, error: BudgetExhausted, seen: int) -> bool:
        """Ask for more; False: the answer was no, now or before."""
        async with self._turn:
            if self._denied:
                return False
            if self._questions != seen:
                return True  # another branch asked meanwhile: perhaps there is room now
            asked = self._asked(error)

            async def about() -> dict[str, Any]:
                return asked.more()

            answer = await self._wait_for(
                _name(asked.number), approvals.KIND, _patience_s(asked), about, lambda payload: self._raises(payload)
            )
            self._questions += 1
            if answer is None:  # a day's budget is renewed; what fits no day at all was waited for as long as can be
                self._denied = not _renewable(asked)
            elif answer["payload"]["decision"] != approvals.ALLOW:
                self._denied = True
            return not self._denied

    def _asked(self, error: BudgetExhausted) -> ceilings.Asked:
        tokens, micro_usd = error.needs
        needs = tokens if ceilings.UNITS[error.limit] == "tokens" else micro_usd
        return ceilings.Asked(
            error.limit,
            self._questions + 1,
            ceilings.of(self._task, error.limit),
            needs or None,
            self._ledger.micro_usd if error.limit == ceilings.OWN else self._task.micro_usd,
        )

    def _raises(self, payload: dict[str, Any]) -> dict[str, int] | None:
        amount, limit = int(payload.get("raise") or 0), str(payload.get("limit") or "")
        if payload["decision"] != approvals.ALLOW or not amount:
            return None
        self._log.add("budget_raised", {"limit": limit, "by": ceilings.shown(limit, amount)})
        return ceilings.raised(self._task, limit, amount)


def _name(number: int) -> str:
    return approvals.name_of(ceilings.fingerprint_of(number))


def _is_denial(value: Any) -> bool:
    payload = value.get("payload") if isinstance(value, dict) else None
    return isinstance(payload, dict) and payload.get("decision") != approvals.ALLOW


def _renewable(asked: ceilings.Asked) -> bool:
    """Whether another day's budget may cover the call."""
    return asked.limit != ceilings.OWN and (asked.ceiling is None or (asked.next or 0) <= asked.ceiling)


def _patience_s(asked: ceilings.Asked) -> float:
    if not _renewable(asked):
        return LONGEST_SECONDS
    return DAY_SECONDS - now() % DAY_SECONDS + RENEWED_SECONDS
