"""One model call within every bound: breaker, provider's rate, the run's and the owner's budgets.

Order matters: what costs nothing is asked first, and money is reserved last, just before the call.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING

from functions.worker.environment import clients
from functions.worker.model import call as model_client
from functions.worker.model import charges, limits
from functions.worker.model import own as own_keys
from functions.worker.model.asked import Call
from functions.worker.model.codes import bounded
from functions.worker.model.progress import Progress
from functions.worker.record.flights import Flight
from functions.worker.record.ledger import charge
from functions.worker.record.stops import Defer
from shared import clock, metrics, retry
from shared.errors import BudgetExhausted, UnpricedModel
from shared.limits import models, prices
from shared.limits.permits import Sign
from shared.limits.shares import owner_of
from shared.settings import settings
from shared.tasks import ceilings, days

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from functions.worker.environment.environment import Environment
    from functions.worker.model.telling import CallPiece
    from functions.worker.record.eventlog import EventLog
    from functions.worker.record.ledger import Ledger
    from shared.limits.breaker import Permit
    from shared.limits.provider import ProviderBudget
    from shared.tasks.model import Task, Usage
    from sluice.types import ModelReply

DEFER_JITTER_SECONDS = 3.0
"""Deferred tasks come back spread over this long, so that they do not all meet a provider that just recovered."""
HESITATION_SECONDS = 3.0
"""While the newest call has failed the next ones spread out over so long and then ask again: the breaker learns of an
outage from a few calls, not from all that were about to be made."""
PERMIT_SECONDS = 0.05
"""How long a breaker's leave is relied on; a new environment on a busy machine may take much longer to its call."""

EARLY_SHARE = 0.5
"""Part of the longest wait in memory by which a deferred run comes back before its place in the provider's budget."""
OUTAGE_STATUSES = frozenset({502, 503, 504, 529})
"""By which gateways say that a provider is away or overloaded."""
FREE_PROBES = 20
"""Deferrals after which a run's failed probe of its owner's own breaker uses up an attempt even then."""


async def perform(
    call: Call,
    call_id: str,
    task: Task,
    ledger: Ledger,
    log: EventLog,
    environment: Environment,
    check_time: Callable[[float], None],
) -> tuple[ModelReply, Usage]:
    """Make the call on the first model whose breaker lets it through; returns the reply and what it cost.

    The ledger has counted that when this returns; the task is charged by whoever records it.

    Raises:
        Defer: no model can be asked now, or the provider's budget would take too long to come.
        BudgetExhausted: a ceiling does not cover the worst case.
        ModelError: the provider refused or failed.
    """
    await clients.ready()
    clients.model()  # its first import takes seconds, in which a permit would grow old
    own = await own_keys.of(task.user)
    if own is None:
        permit, model = await _find_model(call, task, environment)
    else:
        permit, model = own_keys.permit(call.model, task.user), call.model
    asked_at = time.monotonic()
    price = own.price(model) if own is not None else None
    tokens, micro_usd = prices.worst_case(model, call.payload_bytes, call.max_output_tokens, at=price)
    of_day = micro_usd if own is None else 0  # the deployment does not pay it
    taken = 0
    progress = Progress()
    reported = False
    day = ""

    def stopped(error: retry.ModelError | None) -> None:
        """Charge what was sent and got of a call that brings no reply."""
        if (use := charges.of_cut(model, call, progress, error)) is not None:
            use = charges.priced(model, use, progress, day, own=price)
            ledger.add(use)
            charge(task, use)
            if call_id in task.under_way:
                task.under_way[call_id].use, task.under_way[call_id].cut = use, True
        else:
            task.under_way.pop(call_id, None)

    probing = permit.probe

    def proven() -> None:
        """Let others call as soon as a probe's reply begins: it may go on for long."""
        nonlocal probing
        if probing:
            probing = False
            environment.report(environment.breaker.record, permit, Sign.SUCCESS)

    def told(text: str) -> None:
        proven()
        _tell(call, call_id, log, text)

    def thought(text: str) -> None:
        proven()
        log.reasoning(call_id, text)

    def called(piece: CallPiece) -> None:
        proven()
        if piece.name in call.shown_tools:
            log.tool_arguments(call_id, piece)

    try:
        place = f"{task.task_id}:{call_id.rpartition('.')[0]}"
        if own is None:
            await _await_provider(model, tokens, place, owner_of(task.user), environment.budget)
            taken = tokens
        else:
            await _await_provider(model, tokens, place, task.user, own_keys.budget(own))
        day, held = await _reserved(task, ledger, tokens, micro_usd, of_day, environment)
        with held:
            check_time(call.needs_s)  # again: finding a place may have taken a while
            if own is None:
                permit = await _renewed(permit, asked_at, model, environment)
            probing = permit.probe
            step, _, nth = call_id.rpartition(".")[0].rpartition("-")
            flight = Flight(step, int(nth), model, day, call, progress, own=price)
            environment.flights.begin(task, flight, call_id)
            reply = await model_client.call(
                model,
                call.messages,
                tools=call.tools,
                tool_choice=call.tool_choice,
                max_output_tokens=call.max_output_tokens,
                options=call.options,
                timeout_s=limits.whole_s(call.deadline),
                on_delta=told,
                on_reasoning=thought,
                on_call=called if call.shown_tools else None,
                before=log.shown_before.get(f"{step}-{nth}"),
                stream=call.stream,
                progress=progress,
                own=own,
            )
            usage = charges.priced(model, reply.usage, progress, day, reply.details, own=price)
            ledger.add(usage)
            task.under_way[call_id].use = usage
        reported = True
        # Told beside what follows: nothing may come between a reply that was paid for and its recording.
        if own is None:
            environment.report_success(permit, model, tokens, reply.usage.tokens)
    except retry.ModelError as error:
        reported = True
        stopped(error)
        if own is not None:
            raise own_keys.told(error, own) from None
        verdict = retry.classify(error)
        # The model is a client's word: a field of the line, no dimension, each of whose values costs money.
        metrics.emit_beside({"model": model}, ({"ModelErrors": (1, "Count")}, {"code": bounded(verdict.code)}))
        unused = 0 if error.unseen else tokens  # of the provider's rate
        asked = bool(progress.tries and progress.tries[-1].sent_at is not None)
        await asyncio.to_thread(environment.note_failure, permit, model, unused, verdict, asked=asked)
        if permit.probe and verdict.counts_for_breaker and (permit.for_all or _outage(error, task, asked=asked)):
            # The outage goes on. Whoever happens to probe it must not use up its tries in doing so.
            raise _deferral(settings().breaker_open_seconds, "breaker_open") from error
        raise
    except asyncio.CancelledError:
        if not reported:
            stopped(None)
        raise
    finally:
        if not reported and own is None:  # cancelled, or refused before the provider was asked
            await asyncio.to_thread(environment.note_nothing, permit, model, taken)
    return reply, usage


def _outage(error: retry.ModelError, task: Task, *, asked: bool) -> bool:
    """Tell whether the failed probe of an owner's own breaker looks like an outage, rather than its run's own fault.

    A prompt can have a gateway answer so, too: not for ever.
    """
    return not asked or (error.status in OUTAGE_STATUSES and task.deferrals < FREE_PROBES)


def _tell(call: Call, call_id: str, log: EventLog, text: str) -> None:
    """Show a piece of text to watchers, and to the agent that listens."""
    log.token(call_id, text)
    if call.listen is not None:
        call.listen(text)


async def _find_model(call: Call, task: Task, environment: Environment) -> tuple[Permit, str]:
    fallbacks = task.params.get("models") or [name for name in settings().fallback_models.split(",") if name.strip()]
    if settings().prices_object:
        await asyncio.to_thread(models.is_allowed, call.model)  # the first to ask reads it
    if not models.is_allowed(call.model):
        raise UnpricedModel(f"nobody priced the model {call.model!r}, so no ceiling could hold", param="model")
    fallbacks = [name for name in fallbacks if models.is_allowed(name.strip())]
    soonest, for_all = float("inf"), True
    for model in dict.fromkeys([call.model, *(name.strip() for name in fallbacks)]):
        permit = await environment.before_call(model, owner_of(task.user))
        if permit.failures:
            await _hesitate()
            permit = await environment.before_call(model, owner_of(task.user))
        if permit.allowed:
            return permit, model
        soonest = min(soonest, permit.retry_after_s)
        for_all = for_all and permit.for_all
    if for_all and call.model == settings().default_model:  # else other runs, which ask for others, may well go on
        environment.hold(soonest)
    raise _deferral(soonest, "breaker_open")


async def _hesitate() -> None:
    await asyncio.sleep(_jitter(HESITATION_SECONDS))


async def _renewed(permit: Permit, asked_at: float, model: str, environment: Environment) -> Permit:
    """Ask again for a permit that grew old while the call waited for its place: the breaker may have opened.

    Raises:
        Defer: it has.
    """
    if permit.probe or time.monotonic() - asked_at < PERMIT_SECONDS:
        return permit
    renewed = await environment.before_call(model, permit.owner)
    if not renewed.allowed:
        raise _deferral(renewed.retry_after_s, "breaker_open")
    return renewed


def _deferral(delay_s: float, reason: str) -> Defer:
    return Defer(delay_s + _jitter(DEFER_JITTER_SECONDS), reason)


def _jitter(most_s: float) -> float:
    return random.uniform(0, most_s)  # noqa: S311 - no secret


async def _await_provider(model: str, tokens: int, place: str, owner: str, budget: ProviderBudget) -> None:
    """Wait for a place in the provider's budget, or have the run come back for the one that is promised to it.

    Raises:
        Defer: it comes up too late to be waited for here.
    """
    if not budget.limited:
        return  # changing threads costs more than the answer
    grant = await asyncio.to_thread(budget.acquire, model, tokens, place=place, owner=owner)
    if not grant.taken:
        if grant.local:
            raise _deferral(grant.wait_s, "provider_budget")
        # A little early, and the rest is waited for here: a place that is missed is another's.
        early = settings().provider_max_wait_seconds * EARLY_SHARE
        raise Defer(max(1.0, grant.wait_s - early), "provider_budget")
    if grant.wait_s > 0:
        try:
            await asyncio.sleep(grant.wait_s)
        except asyncio.CancelledError:
            await asyncio.to_thread(budget.give_back, model, tokens)
            raise


async def _reserved(
    task: Task, ledger: Ledger, tokens: int, micro_usd: int, of_day: int, environment: Environment
) -> tuple[str, AbstractContextManager[None]]:
    """Reserve a call's worst case on top of what the run used today and has under way; returns the day of the call.

    ``of_day`` is what of ``micro_usd`` the day's ceilings bear.

    Raises:
        BudgetExhausted, DependencyDown: nothing is reserved.
    """
    ceiling = ceilings.own(task)
    if ceiling is not None and ledger.micro_usd + micro_usd > ceiling:
        raise BudgetExhausted(ceilings.OWN, needs=(tokens, micro_usd))
    async with ledger.turn:
        before, used = task.day, days.uncounted(task)
        if days.begin(task, clock.day(clock.now())):
            ledger.begin_day(task.day)
            await asyncio.to_thread(environment.change_day, task, before, used)
    day = task.day
    more_tokens = max(0, ledger.day_tokens + tokens - task.reserved_tokens)
    more_money = max(0, ledger.day_micro_usd + of_day - task.reserved_micro_usd)
    # Counted before the round trip, so that a parallel call does not count on the same room.
    ledger.hold(day, tokens, micro_usd, of_day)
    task.reserved_tokens += more_tokens
    task.reserved_micro_usd += more_money
    if (more_tokens or more_money) and environment.bounded(task):
        try:
            await asyncio.to_thread(environment.reserve, task, day, task.reserved_tokens, task.reserved_micro_usd)
        except BaseException as error:
            ledger.drop(day, tokens, micro_usd, of_day)
            if task.day == day:
                task.reserved_tokens -= more_tokens
                task.reserved_micro_usd -= more_money
            if isinstance(error, BudgetExhausted):
                raise BudgetExhausted(error.limit, needs=(tokens, micro_usd)) from error
            raise
    return day, ledger.held(day, tokens, micro_usd, of_day)
