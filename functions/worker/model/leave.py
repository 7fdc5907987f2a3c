"""Leave to make a model call: a breaker's, a place in the provider's rate, room under every ceiling; in this order."""

import asyncio
import random
import time
from contextlib import AbstractContextManager

from functions.worker.environment.environment import Environment
from functions.worker.model.asked import Call
from functions.worker.record.ledger import Ledger
from functions.worker.record.stops import Defer
from shared import clock
from shared.errors import BudgetExhausted, UnpricedModel
from shared.limits import models
from shared.limits.breaker import Permit
from shared.limits.provider import ProviderBudget
from shared.limits.shares import owner_of
from shared.settings import settings
from shared.tasks import ceilings, days
from shared.tasks.model import Task

DEFER_JITTER_SECONDS = 3.0
"""Deferred tasks come back spread over this long, so that they do not all meet a provider that just recovered."""
HESITATION_SECONDS = 3.0
"""While the newest call has failed the next ones spread out over so long and then ask again: the breaker learns of an
outage from a few calls, not from all that were about to be made."""
PERMIT_SECONDS = 0.05
"""How long a breaker's leave is relied on; a new environment on a busy machine may take much longer to its call."""

EARLY_SHARE = 0.5
"""Part of the longest wait in memory by which a deferred run comes back before its place in the provider's budget."""


async def find_model(call: Call, task: Task, environment: Environment) -> tuple[Permit, str]:
    """Return a breaker's leave to ask a model, and which: the one asked for, or the first fallback that has it.

    Raises:
        Defer: no model can be asked now.
        UnpricedModel: nobody priced the one asked for.
    """
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
    raise deferral(soonest, "breaker_open")


async def _hesitate() -> None:
    await asyncio.sleep(_jitter(HESITATION_SECONDS))


async def renewed(permit: Permit, asked_at: float, model: str, environment: Environment) -> Permit:
    """Ask again for a permit that grew old while the call waited for its place: the breaker may have opened.

    Raises:
        Defer: it has.
    """
    if permit.probe or time.monotonic() - asked_at < PERMIT_SECONDS:
        return permit
    renewed = await environment.before_call(model, permit.owner)
    if not renewed.allowed:
        raise deferral(renewed.retry_after_s, "breaker_open")
    return renewed


def deferral(delay_s: float, reason: str) -> Defer:
    """Return a deferral that is spread a little."""
    return Defer(delay_s + _jitter(DEFER_JITTER_SECONDS), reason)


def _jitter(most_s: float) -> float:
    return random.uniform(0, most_s)  # noqa: S311 - no secret


async def await_provider(model: str, tokens: int, place: str, owner: str, budget: ProviderBudget) -> None:
    """Wait for a place in the provider's budget, or have the run come back for the one that is promised to it.

    Raises:
        Defer: it comes up too late to be waited for here.
    """
    if not budget.limited:
        return  # changing threads costs more than the answer
    grant = await asyncio.to_thread(budget.acquire, model, tokens, place=place, owner=owner)
    if not grant.taken:
        if grant.local:
            raise deferral(grant.wait_s, "provider_budget")
        # A little early, and the rest is waited for here: a place that is missed is another's.
        early = settings().provider_max_wait_seconds * EARLY_SHARE
        raise Defer(max(1.0, grant.wait_s - early), "provider_budget")
    if grant.wait_s > 0:
        try:
            await asyncio.sleep(grant.wait_s)
        except asyncio.CancelledError:
            await asyncio.to_thread(budget.give_back, model, tokens)
            raise


async def reserved(
    task: Task, ledger: Ledger, tokens: int, micro_usd: int, of_day: int, environment: Environment
) -> tuple[str, AbstractContextManager[None]]:
    """Reserve a call's worst case on top of what the run used today and has under way; returns the day of the call.

    ``of_day`` is what of ``micro_usd`` the day's ceilings bear.

    Raises:
        BudgetExhausted, DependencyDown: nothing is reserved.
    """
    async with ledger.turn:
        before, used = task.day, days.uncounted(task)
        if days.begin(task, clock.day(clock.now())):
            ledger.begin_day(task.day)
            await asyncio.to_thread(environment.change_day, task, before, used)
    ceiling = ceilings.own(task)  # from here to where it is counted nothing is waited for
    if ceiling is not None and ledger.micro_usd + micro_usd > ceiling:
        alone = ledger.used.micro_usd + micro_usd <= ceiling
        raise BudgetExhausted(ceilings.OWN, needs=(tokens, micro_usd), fits_alone=alone)
    day = task.day
    more_tokens = max(0, ledger.day_tokens + tokens - task.reserved_tokens)
    more_money = max(0, ledger.day_micro_usd + of_day - task.reserved_micro_usd)
    # Counted before the round trip, so that a parallel call does not count on the same room.
    ledger.begin_call(day, tokens, micro_usd, of_day)
    task.reserved_tokens += more_tokens
    task.reserved_micro_usd += more_money
    if (more_tokens or more_money) and environment.bounded(task):
        try:
            await asyncio.to_thread(environment.reserve, task, day, task.reserved_tokens, task.reserved_micro_usd)
        except BaseException as error:
            ledger.undo_call(day, tokens, micro_usd, of_day)
            if task.day == day:
                task.reserved_tokens -= more_tokens
                task.reserved_micro_usd -= more_money
            if isinstance(error, BudgetExhausted):
                alone = _fits_day(task, ledger, error.limit, tokens, of_day)
                raise BudgetExhausted(error.limit, needs=(tokens, micro_usd), fits_alone=alone) from error
            raise
    return day, ledger.held(day, tokens, micro_usd, of_day)


def _fits_day(task: Task, ledger: Ledger, limit: str, tokens: int, of_day: int) -> bool:
    """Whether a day's ceiling has room for a call beside what its run used of that day: not known of everybody's."""
    ceiling = ceilings.of(task, limit)
    if ceiling is None:
        return True
    if ceilings.UNITS[limit] == "tokens":
        return ledger.used.day_tokens + tokens <= ceiling
    return ledger.used.day_micro_usd + of_day <= ceiling
