"""One model call within every bound: breaker, provider's rate, the run's and the owner's budgets.

Order matters: what costs nothing is asked first, and money is reserved last, just before the call.
"""

import asyncio
import time
from collections.abc import Callable

from functions.worker.environment import clients
from functions.worker.environment.environment import Environment
from functions.worker.model import call as model_client
from functions.worker.model import charges, limits, terms
from functions.worker.model import own as own_keys
from functions.worker.model.asked import Call
from functions.worker.model.codes import bounded
from functions.worker.model.leave import await_provider, deferral, find_model, renewed, reserved
from functions.worker.model.progress import Progress
from functions.worker.model.telling import CallPiece
from functions.worker.record.eventlog import EventLog
from functions.worker.record.flights import Flight
from functions.worker.record.ledger import Ledger, charge
from shared import metrics, retry
from shared.limits.permits import Sign
from shared.limits.shares import owner_of
from shared.settings import settings
from shared.tasks.model import Task, Usage
from sluice.types import ModelReply

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
        permit, model = await find_model(call, task, environment)
    else:
        permit, model = own_keys.permit(call.model, task.user), call.model
    asked_at = time.monotonic()
    price = own.price(model) if own is not None else None
    asked = terms.of_call(call, model, (own.base_url if own is not None else "") or settings().openai_base_url)
    tokens, micro_usd = terms.worst_case(model, call.payload_bytes, call.max_output_tokens, asked, at=price)
    of_day = micro_usd if own is None else 0  # the deployment does not pay it
    taken = 0
    progress = Progress(asked=asked)
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
        _tell(call, call_id, log, text, refused=progress.refused)

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
            await await_provider(model, tokens, place, owner_of(task.user), environment.budget)
            taken = tokens
        else:
            await await_provider(model, tokens, place, task.user, own_keys.budget(own))
        day, held = await reserved(task, ledger, tokens, micro_usd, of_day, environment)
        with held:
            check_time(call.needs_s)  # again: finding a place may have taken a while
            if own is None:
                permit = await renewed(permit, asked_at, model, environment)
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
        reached = bool(progress.tries and progress.tries[-1].sent_at is not None)
        await asyncio.to_thread(environment.note_failure, permit, model, unused, verdict, asked=reached)
        if permit.probe and verdict.counts_for_breaker and (permit.for_all or _outage(error, task, asked=reached)):
            # The outage goes on. Whoever happens to probe it must not use up its tries in doing so.
            raise deferral(settings().breaker_open_seconds, "breaker_open") from error
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


def _tell(call: Call, call_id: str, log: EventLog, text: str, *, refused: bool) -> None:
    """Show a piece of text to watchers, and to the agent that listens."""
    log.token(call_id, text, refused=refused)
    if call.listen is not None:
        call.listen(text)
