"""What lives as long as an execution environment: pooled clients, the heartbeat, the gate to shared limits."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from functools import cached_property, partial
from typing import Any

import httpx2

from functions.worker.environment import clients
from functions.worker.environment.gathered import Gathered
from functions.worker.environment.threads import Threads
from functions.worker.environment.together import Together
from functions.worker.environment.untold import Untold
from functions.worker.lane.share import Share, end_late
from functions.worker.record.flights import Flights
from functions.worker.record.outbox import Outbox
from functions.worker.run.heartbeat import SLOT_GRACE_SECONDS, Heart
from shared import watchers
from shared.clock import now
from shared.errors import DependencyDown
from shared.limits import tiers
from shared.limits.admission import Gate
from shared.limits.breaker import Breaker, Permit, Sign, breaker_name, sign_of
from shared.limits.lane import Lanes
from shared.limits.provider import ProviderBudget
from shared.logs import get_logger
from shared.retry import Failure
from shared.settings import settings
from shared.tasks import aftermath, days, ends, owed, spend
from shared.tasks.model import Task
from shared.valkey import RedisError

type Asked = tuple[str, str]
"""A model and the owner of the run that wants to call it."""
type Starting = tuple[str, str, int, str]
"""A run that begins: its user, itself, the user's running cap, its lane."""

TOGETHER_CHARACTERS = 16_000
"""Longest response that ends with others: a larger one may have to be stored beside its row first."""

_log = get_logger("environment")


class Environment:
    """The long-lived parts. Made lazily: a cold start pays for what it uses."""

    def __init__(self) -> None:
        self.share = Share("", "", Lanes())
        self._reports: set[asyncio.Future[None]] = set()
        self.watchers = Together(watchers.look_at)
        self.outbox = Outbox()
        self.flights = Flights()
        self._slots = Together(self._take_slots)
        self._ends = Gathered(_write_ends, lambda: self.heart.runs)
        self._counted = Gathered(self._count_ends, lambda: self.heart.runs)
        self._leaves = Together(self._ask_breakers)
        self._successes = Together(self._tell_successes)
        self._succeeded: dict[Asked, tuple[Permit, int]] = {}
        self._succeeded_lock = threading.Lock()
        self._probing: dict[Asked, str] = {}

    held_until = 0.0
    """Until when the provider has no room, as far as runs here met it (epoch seconds); no work is taken till then."""

    def hold(self, seconds: float) -> None:
        """Note that the provider has no room for so long."""
        self.held_until = max(self.held_until, now() + seconds)

    @cached_property
    def gate(self) -> Gate:
        """Shared limits."""
        return Gate(load_spend=spend.load)

    @cached_property
    def lanes(self) -> Lanes:
        """Who waits and who runs in the lanes."""
        return Lanes()

    @cached_property
    def heart(self) -> Heart:
        """Keeps the leases of all runs here."""
        return Heart(self.gate)

    @cached_property
    def untold(self) -> Untold:
        """Ends of which Valkey is still to be told."""
        return Untold(partial(aftermath.follow_up, self.gate))

    @cached_property
    def breaker(self) -> Breaker:
        """Circuit breakers of the models."""
        return Breaker()

    @cached_property
    def budget(self) -> ProviderBudget:
        """The provider's rate."""
        return ProviderBudget()

    def begin(self, lane: str, url: str) -> Share:
        """Begin an invocation for a lane: what its runs look up about sharing its slots."""
        self.share = Share(lane, url, self.lanes)
        return self.share

    def end_late(self, task_ids: list[str]) -> None:
        """End tasks that wait though their ``timeout_s`` is over, without waiting for it; see ``reported``."""
        self.report(end_late, self.gate, task_ids)

    @property
    def pages(self) -> httpx2.AsyncClient:
        """Pooled client for pages and APIs."""
        return clients.pages()

    async def take_slot(self, task: Task) -> bool:
        """Hold one of the user's running slots, if it has a cap; True without Valkey: replicas are the only bound.

        Runs that begin at the same moment share the way there.
        """
        return await self._slots.get((task.user, task.task_id, task.running_cap, task.lane))

    def _take_slots(self, wanted: list[Starting]) -> dict[Starting, bool]:
        try:
            ttl_s = settings().lease_seconds + SLOT_GRACE_SECONDS
            return dict(zip(wanted, self.gate.start_all(wanted, ttl_s), strict=True))
        except (RedisError, DependencyDown):
            return dict.fromkeys(wanted, True)

    def keep_slot(self, task: Task, lane: str, delay_s: float, ttl_s: int) -> None:
        """Keep the slot of a task that waits with a message in a lane, from ``delay_s`` on."""
        try:
            self.lanes.waits(lane, task.user, task.task_id, delay_s, ttl_s)
        except RedisError as error:
            raise DependencyDown("redis") from error

    async def before_call(self, model: str, owner: str) -> Permit:
        """Ask the model's breakers; runs that ask at the same moment share a round trip, and an owner's the answer."""
        asked = model, owner
        permit = await self._leaves.get(asked)
        if not permit.probe:
            return permit
        if permit.id == self._probing.get(asked):  # somebody else's already: only one may probe
            return (await asyncio.to_thread(self._ask_breakers, [asked]))[asked]
        self._probing[asked] = permit.id
        return permit

    def _ask_breakers(self, wanted: list[Asked]) -> dict[Asked, Permit]:
        provider = settings().openai_base_url
        named = [(breaker_name(provider, model), owner) for model, owner in wanted]
        return dict(zip(wanted, self.breaker.before_calls(named), strict=True))

    def report[**P](self, note: Callable[P, None], /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Run one of the ``note_…`` methods in a thread, without waiting for it; see ``reported``."""
        self._follow(asyncio.to_thread(note, *args, **kwargs))

    def _follow(self, report: Coroutine[Any, Any, None]) -> None:
        async def noting() -> None:
            try:
                await report
            except Exception:  # the run that it speaks of must not fail for it
                _log.exception("report failed")

        under_way = asyncio.ensure_future(noting())
        self._reports.add(under_way)
        under_way.add_done_callback(self._reports.discard)

    async def reported(self) -> None:
        """Wait for the reports under way: a frozen environment would keep them back."""
        if self._reports:
            await asyncio.wait(self._reports)

    def report_success(self, permit: Permit, model: str, reserved: int, actual: int) -> None:
        """Report a call that succeeded, without waiting for it; see ``reported``."""
        if permit.probe or permit.local or self.budget.limited:
            self.report(self.note_success, permit, model, reserved, actual)
            return
        # One report speaks for all that succeeded since the last: to the breaker, as the call that began last.
        asked = model, permit.owner
        with self._succeeded_lock:
            newest, calls = self._succeeded.get(asked, (permit, 0))
            self._succeeded[asked] = max(newest, permit, key=lambda one: one.started_us), calls + 1
        self._follow(self._successes.get(asked))

    def _tell_successes(self, wanted: list[Asked]) -> dict[Asked, None]:
        with self._succeeded_lock:
            # What is not found was spoken for by the trip before.
            found = {asked: self._succeeded.pop(asked) for asked in wanted if asked in self._succeeded}
        self.breaker.record_all([(newest, Sign.SUCCESS) for newest, _ in found.values()])
        if calls := sum(each for _, each in found.values()):
            self.budget.count(calls)
        return dict.fromkeys(wanted)

    def note_success(self, permit: Permit, model: str, reserved: int, actual: int) -> None:
        """Report a call that succeeded."""
        self.breaker.record(permit, Sign.SUCCESS)
        self.budget.adjust(model, reserved, actual)

    def note_failure(self, permit: Permit, model: str, reserved: int, failure: Failure, *, asked: bool) -> None:
        """Report a call that failed; what the provider threw away costs no tokens. ``asked``: a request was sent."""
        self.breaker.record(permit, sign_of(failure, asked=asked))
        self.budget.adjust(model, reserved, 0, throttled=failure.code == "rate_limit_exceeded")

    def note_nothing(self, permit: Permit, model: str, reserved: int) -> None:
        """Report a call that was not made, or not to its end: it says nothing of the provider."""
        self.breaker.record(permit, Sign.NEUTRAL)
        if reserved:
            self.budget.give_back(model, reserved)

    def bounded(self, task: Task) -> bool:
        """Tell whether a day's ceiling holds for the task; otherwise reserving needs no round trip."""
        return self.gate.bounded(tiers.of_task(task))

    def change_day(self, task: Task, before: str, used: tuple[int, int]) -> None:
        """Let go of what a task holds on a day that is over, having ``used`` so much, and count it on the new one.

        Without Valkey nothing is held; where a ceiling is set, the reservation that follows says so.
        """
        try:
            self.gate.rest(task.user, task.task_id, before, *used)
            self.gate.adopt(task.user, task.task_id, task.day, 0, 0, tiers.of_task(task))
        except (RedisError, DependencyDown) as error:
            _log.warning("day not changed", extra={"task_id": task.task_id, "error": str(error)})

    def reserve(self, task: Task, day: str, tokens: int, micro_usd: int) -> None:
        """Raise the task's reservation of a day to these amounts within its user's day and everyone's.

        Raises:
            BudgetExhausted: a ceiling would be passed.
            DependencyDown: Valkey is away and a ceiling is set: nobody could keep it.
        """
        # What it was charged with when it waited counts as used already.
        tokens_before, micro_usd_before = days.charged(task, day)
        held = max(0, tokens - tokens_before), max(0, micro_usd - micro_usd_before)
        self.gate.must_reserve(task.user, task.task_id, day, *held, tiers.of_task(task))

    async def end(self, end: ends.End) -> None:
        """Write a run's end, with those of others that end now; raises what `settle.settle` raises."""
        if len(end.outcome.response or "") > TOGETHER_CHARACTERS or end.outcome.data or end.asked:
            await asyncio.to_thread(ends.write, end)
        else:
            await self._ends.get(end)

    def _count_ends(self, tasks: Sequence[Task]) -> Sequence[aftermath.Counted]:
        return aftermath.count(self.gate, tasks)

    async def finished(self, task: Task) -> None:
        """See to what follows a settled task; never raises for it. Runs that end together share the way to Valkey."""
        try:
            found = await self.watchers.get(task.task_id)
            watched = bool(found.connections or found.listeners)
        except RedisError:
            watched = True  # for all that is known
        late: list[Task] = []
        if watched or owed.telling(task):
            await asyncio.to_thread(aftermath.finished, self.gate, task, watched=watched, late=late.append)
        else:
            counted = await self._counted.get(task)
            if not aftermath.settled(counted):
                late.append(task)
            if aftermath.goes_on(task, counted):
                await asyncio.to_thread(aftermath.go_on, self.gate, task, counted)
        if not settings().redis_url:  # there is nobody to tell
            return
        if self.untold.add(task) if late else self.untold.answered():
            self._follow(self.untold.go_on())


def _write_ends(wanted: Sequence[ends.End]) -> Sequence[Exception | None]:
    if len(wanted) > 1:
        return ends.write_each(wanted)
    ends.write(wanted[0])
    return [None]


_environment: Environment | None = None


def environment() -> Environment:
    """Return the environment's one set, made on first use inside its event loop."""
    global _environment  # noqa: PLW0603 - one per environment is the point
    if _environment is None:
        _environment = Environment()
        _set_executor()
    return _environment


def _set_executor() -> None:
    workers = 2 * settings().runs_per_environment + 4  # a run, and one that ended and is being seen off, for each slot
    loop = asyncio.get_running_loop()
    loop.set_default_executor(Threads(loop, workers))
