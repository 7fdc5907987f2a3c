"""The way in: repeat? -> may they? -> write it down -> enqueue. The order is what keeps the promise.

What is refused has changed nothing. What is written is kept, whether or not SQS takes the message: the sweeper sends
it then. What could not be written is taken back, quota included.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from functions.api.contract.problem import Problem, invalid, retry_after
from functions.api.contract.requests import DEFAULT_OUTPUT_TOKENS, MESSAGE_BYTES
from functions.api.submit import agents, session_line
from functions.api.submit.refusals import refusals
from shared import metrics, traceparent
from shared.clock import day, now
from shared.errors import BudgetExhausted, Contended, DependencyDown, NotFound
from shared.limits import models, prices
from shared.limits.admission import BUDGETS, Ask, Gate
from shared.limits.headers import rate_limit_headers
from shared.logs import get_logger
from shared.settings import settings
from shared.tasks import lanes, spend, store
from shared.tasks.ids import new_task_id
from shared.tasks.model import Task, dumps

if TYPE_CHECKING:
    from collections.abc import Callable

    from functions.api.door.identity import Caller
    from shared.limits.admission import Verdict

log = get_logger("api")

WRITE_TRIES = 4
"""Times that a write is tried while another request holds the same item (two submits with one key)."""
INLINE_TOKENS = 3_000
"""What an image or file in a message is reckoned at, as so many bytes of text: the first model call reserves more."""
FRAME_BYTES = 256
"""Bytes that a first model call has around the message, as JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """What a client wants run, whichever dialect it came in."""

    message: str
    agent: str
    session_id: str | None
    """The conversation; None: nothing is remembered."""
    on_busy: str = "wait"
    """What becomes of it while another run of its session is under way: ``wait``, ``reject`` or ``parallel``."""
    begins_session: bool = False
    """Without a ``session_id``: begin a conversation, named like the task."""
    model: str | None = None
    priority: str | None = None
    params: dict[str, Any] = field(default_factory=dict)
    inline: list[int] = field(default_factory=list)
    """Sizes of the images and files in the message, which are no text."""
    beforehand: Callable[[Task], None] | None = None
    """Writes what must be there before the task's row is; called once it is admitted."""

    @property
    def text_bytes(self) -> int:
        """Size of the message without them."""
        return len(self.message.encode()) - sum(self.inline)


@dataclass(frozen=True, slots=True)
class Receipt:
    """The task that a submission made, or had made before (``repeat``), and the headers to answer with."""

    task: Task
    repeat: bool
    headers: dict[str, str]


@cache
def gate() -> Gate:
    """Return the limits of this environment."""
    return Gate(spend.load)


@dataclass(frozen=True, slots=True)
class Admitted:
    """A task that its limits let in, with what it takes to write it or to give all that back."""

    task: Task
    wanted: Submission
    ask: Ask
    verdict: Verdict
    idempotency: store.Idempotency | None
    headers: dict[str, str]
    in_line: bool
    """Whether it stands in its session's line."""


def submit(
    caller: Caller,
    wanted: Submission,
    *,
    idempotency: store.Idempotency | None = None,
    trace: str | None = None,
) -> Receipt:
    """Take a task on.

    Raises:
        Problem: 402, 403, 409, 413, 422 or 429; nothing was written or charged.
        DependencyDown: what is needed is away; nothing was written or charged.
    """
    admitted = admit(caller, wanted, idempotency=idempotency, trace=trace)
    if isinstance(admitted, Receipt):
        return admitted
    receipt = write(admitted)
    if not receipt.repeat:
        start(receipt.task)
    return receipt


def admit(
    caller: Caller, wanted: Submission, *, idempotency: store.Idempotency | None, trace: str | None
) -> Admitted | Receipt:
    """Hold a submission against every limit and reserve what it needs; a repeat is answered at once.

    Raises:
        Problem, DependencyDown: nothing was charged.
    """
    lane, model = allowed(caller, wanted)
    if idempotency and (earlier := _find_repeat(caller, idempotency)):
        return Receipt(earlier, True, {"Idempotent-Replayed": "true"})
    task = make_task(caller, wanted, new_task_id(), lane=lane, model=model, trace=trace)
    at, tokens, micro_usd = task.created, task.reserved_tokens, task.reserved_micro_usd
    ends = at + float(task.params["timeout_s"]) if task.params.get("timeout_s") else 0.0
    ask = Ask(task.user, task.task_id, task.day, tokens, micro_usd, caller.limits, lane, ends)
    verdict = gate().admit(ask)
    headers = rate_limit_headers(verdict)
    if verdict.degraded:
        headers["Sluice-Degraded"] = "redis"
    if not verdict.admitted:
        refusals.count(verdict.limit or "")
        metrics.count("Refused", limit=verdict.limit or "unknown")
        raise _refusal(verdict, ask, headers)
    task.parked = not verdict.slot
    in_line = bool(wanted.session_id) and wanted.on_busy != "parallel"
    if in_line:
        session_line.join(gate(), task, ask, wanted.on_busy)
    return Admitted(task, wanted, ask, verdict, idempotency, headers, in_line)


def make_task(
    caller: Caller, wanted: Submission, task_id: str, *, lane: str, model: str, trace: str | None = None
) -> Task:
    """Make the task that a submission asks for, with what its first model call may cost at worst."""
    at = now()
    size = wanted.text_bytes + len(dumps(wanted.params.get("tools") or [])) + FRAME_BYTES
    size += len(dumps(wanted.params.get("options") or {})) + INLINE_TOKENS * len(wanted.inline)
    size += len((wanted.params.get("instructions") or "").encode())
    output_tokens = wanted.params.get("max_output_tokens") or DEFAULT_OUTPUT_TOKENS
    tokens, micro_usd = prices.worst_case(model, size, output_tokens)
    return Task(
        task_id=task_id,
        user=caller.user,
        lane=lane,
        agent=wanted.agent,
        model=model,
        created=at,
        day=day(at),
        tier=caller.limits.tier,
        running_cap=caller.limits.running,
        cap_tokens=caller.limits.tokens_per_day,
        cap_micro_usd=caller.limits.micro_usd_per_day,
        cap_key_tokens=caller.limits.key_tokens_per_day,
        cap_key_micro_usd=caller.limits.key_micro_usd_per_day,
        session_id=wanted.session_id or (task_id if wanted.begins_session else ""),
        key_id=caller.key_id,
        params=_params(wanted, caller),
        reserved_tokens=tokens,
        reserved_micro_usd=micro_usd,
        trace=trace,
    )


def write(admitted: Admitted) -> Receipt:
    """Write an admitted task down, or give back what it was admitted with. Nothing is sent yet: see `start`.

    Raises:
        Problem, DependencyDown: nothing was written or charged.
    """
    task = admitted.task
    written: Task | None = None
    try:
        written = _write(task, admitted.wanted, admitted.ask, admitted.verdict, admitted.idempotency)
    finally:
        if admitted.in_line and written is not task:
            session_line.leave(task)
    if written.task_id != task.task_id:  # another request with the same key was quicker
        gate().undo(admitted.ask)
        return Receipt(written, True, {"Idempotent-Replayed": "true"})
    return Receipt(task, False, admitted.headers)


def start(task: Task) -> None:
    """Send a task that was just written, or have it wait for the one in front of it."""
    if task.after:
        session_line.follow(gate(), task)
    elif not task.parked:
        _send(task)
    metrics.count("Submitted", lane=task.lane)


def give_up(admitted: Admitted) -> None:
    """Give back what a task was admitted with that is not written."""
    if admitted.in_line:
        session_line.leave(admitted.task)
    gate().undo(admitted.ask)


def _params(wanted: Submission, caller: Caller) -> dict[str, Any]:
    """Return what is kept of a submission, with what its tier adds: what it asks before it does it."""
    params = {name: value for name, value in wanted.params.items() if value is not None}
    asked = params.get("approve")
    if caller.limits.approve and asked is not True:
        params["approve"] = sorted({*caller.limits.approve, *(asked or ())})
    if caller.limits.on_budget == "ask":
        params.setdefault("on_budget", "ask")
    if (place := traceparent.INCOMING.get()) is not None:
        params[traceparent.HEADER] = place
    return params


def allowed(caller: Caller, wanted: Submission) -> tuple[str, str]:
    """Hold a submission against the tier; returns (lane, model).

    Raises:
        Problem: 403, 413 or 422.
    """
    limits, model = caller.limits, wanted.model or settings().default_model
    known = agents.agents()
    if known is not None and wanted.agent not in known:
        raise invalid(
            f"there is no agent {wanted.agent!r}; there are {', '.join(sorted(known))}",
            "agent",
            code="unknown_agent",
        )
    if wanted.params.get("webhook_url") and not settings().sends_webhooks:
        raise invalid("this deployment sends no webhooks", "webhook_url", code="webhooks_off")
    most = min(MESSAGE_BYTES, limits.message_bytes or MESSAGE_BYTES)
    if wanted.text_bytes > most:
        raise Problem(413, "message_too_large", f"the message is over the limit of {most} bytes", "message")
    if not limits.allows_agent(wanted.agent):
        raise Problem(403, "agent_not_allowed", f"the tier {limits.tier} may not run the agent {wanted.agent}", "agent")
    if not limits.allows_model(model):
        raise Problem(403, "model_not_allowed", f"the tier {limits.tier} may not use the model {model}", "model")
    if not models.is_allowed(model):
        raise invalid(f"nobody priced the model {model!r}, so no ceiling could hold", "model", code="unpriced_model")
    lane = wanted.priority or limits.lane
    if not limits.allows_lane(lane):
        raise Problem(
            403, "priority_not_allowed", f"the tier {limits.tier} may not use the priority {lane}", "priority"
        )
    return lane, model


def _find_repeat(caller: Caller, idempotency: store.Idempotency) -> Task | None:
    try:
        return store.find_repeat(caller.user, idempotency)
    except NotFound:
        raise _gone() from None


def _gone() -> Problem:
    return Problem(
        409,
        "idempotency_gone",
        "the task that this Idempotency-Key made was deleted; use another key",
        "Idempotency-Key",
    )


def _refusal(verdict: Verdict, ask: Ask, headers: dict[str, str]) -> Problem:
    limit = verdict.limit or ""
    if limit in BUDGETS:
        return _spent(limit, ask, headers)
    message = f"the limit {limit} is reached; try again in {headers['Retry-After']} s"
    return Problem(429, "rate_limit_exceeded", message, limit=limit, headers=headers)


def _spent(limit: str, ask: Ask, headers: dict[str, str]) -> Problem:
    message = f"the budget {limit} does not cover this request"
    if gate().never_fits(limit, ask):  # no use in coming back
        headers = {name: value for name, value in headers.items() if name != "Retry-After"}
        message = f"this request's worst case is more than the budget {limit} of a whole day"
    elif "Retry-After" in headers:
        message += f"; it is renewed in {headers['Retry-After']} s"
    return Problem(402, "insufficient_quota", message, limit=limit, headers=headers)


def _write(task: Task, wanted: Submission, ask: Ask, verdict: Verdict, idempotency: store.Idempotency | None) -> Task:
    """Write the row; whatever goes wrong, either it stands or the admission is taken back."""
    if verdict.precharge:
        task.precharged_tokens, task.precharged_micro_usd = ask.tokens, ask.micro_usd
    precharge = verdict.precharge
    try:
        if wanted.beforehand is not None:
            wanted.beforehand(task)
        return _patiently(lambda: store.submit(task, wanted.message, idempotency=idempotency, precharge=precharge))
    except BudgetExhausted as error:
        gate().undo(ask)
        midnight = 86_400 - task.created % 86_400
        raise _spent(error.limit, ask, retry_after(midnight)) from error
    except NotFound:
        gate().undo(ask)
        raise _gone() from None
    except Exception:
        if _stands(task):
            return task
        gate().undo(ask)
        raise


def _patiently(write: Callable[[], Task]) -> Task:
    """Write, a few times over if another request (one with the same key) holds an item just then."""
    for tried in range(1, WRITE_TRIES):
        try:
            return write()
        except Contended:
            time.sleep(0.05 * tried)
    try:
        return write()
    except Contended as error:
        raise DependencyDown("dynamodb", retry_after_s=1) from error


def _stands(task: Task) -> bool:
    """After a failed write: did it happen all the same, only its answer being lost?"""
    try:
        store.get(task.task_id)
    except Exception:  # away still, or never written: the client is told to come again
        return False
    return True


def _send(task: Task) -> None:
    try:
        lanes.send(task.lane, task.task_id, task.gen, user=task.user, trace=task.trace)
    except DependencyDown:
        log.warning("SQS refused a message; the sweeper will send it", extra={"task_id": task.task_id})
        try:
            store.mark_unsent(task)
        except Exception as error:
            log.warning("the task becomes due by itself", extra={"task_id": task.task_id}, exc_info=error)
