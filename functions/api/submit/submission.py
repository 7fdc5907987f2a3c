"""What a client wants run, and the task that is made of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from functions.api.contract.requests import AgentRequest
from shared import traceparent
from shared.clock import day, now
from shared.limits import prices
from shared.limits.output import output_tokens
from shared.tasks.model import Task, dumps

if TYPE_CHECKING:
    from functions.api.door.identity import Caller

INLINE_TOKENS = 3_000
"""What an image or file in a message is reckoned at, as so many bytes of text: the first model call reserves more."""
FRAME_BYTES = 256
"""Bytes that a first model call has around the message, as JSON."""
_PARAMS = (
    *("max_output_tokens", "timeout_s", "max_cost_usd", "on_budget"),
    *("metadata", "stream", "webhook_url", "approve"),
)


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


def wanted_of(asked: AgentRequest) -> Submission:
    """Return what a body asks to be run."""
    values = asked.model_dump(exclude_none=True)
    return Submission(
        message=asked.message,
        agent=asked.agent,
        session_id=asked.session_id,
        on_busy=asked.on_busy,
        model=asked.model,
        priority=asked.priority,
        params={name: values[name] for name in _PARAMS if name in values},
    )


def make_task(
    caller: Caller, wanted: Submission, task_id: str, *, lane: str, model: str, trace: str | None = None
) -> Task:
    """Make the task that a submission asks for, with what its first model call may cost at worst."""
    at = now()
    size = wanted.text_bytes + len(dumps(wanted.params.get("tools") or [])) + FRAME_BYTES
    size += len(dumps(wanted.params.get("options") or {})) + INLINE_TOKENS * len(wanted.inline)
    size += len((wanted.params.get("instructions") or "").encode())
    task = Task(
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
        trace=trace,
    )
    task.reserved_tokens, task.reserved_micro_usd = prices.worst_case(model, size, output_tokens(task))
    return task


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
