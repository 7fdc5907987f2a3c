"""Messages as they were received, and what leads from them to tasks: claiming these, or declining the message."""

import asyncio
from dataclasses import dataclass, field, replace
from enum import StrEnum

from functions.worker.record.persist import persist
from functions.worker.run.outcomes import NEWER_DELAY_SECONDS
from shared.logs import get_logger
from shared.tasks import claims, lanes
from shared.tasks.claims import Refused
from shared.tasks.model import Task

TOGETHER = 2
"""Messages from which on their tasks are claimed together."""
AHEAD_SECONDS = (1.0, 2.0, 4.0)
"""How long a message stays hidden that was quicker than the write which it was sent for, by how often it came. After
that for as long as the lease lasts, as any other: who holds the task died in between, or did not give it back."""

_log = get_logger("deliveries")


class Disposition(StrEnum):
    """What becomes of a run's message."""

    DONE = "done"
    """Delete it: the task ended, or a newer message carries it."""
    KEEP = "keep"
    """Leave it hidden: it comes back by itself."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message as it was received."""

    message: lanes.Message
    lane: str
    queue_url: str
    receipt: str
    """Its receipt handle; empty for a task that was handed out by name: its message is met later."""
    receives: int = 1
    """How often the message was handed out, this time included."""
    hidden: asyncio.Task[None] | None = None
    """Hides it for one lease, beside the run; whoever hides it for another time waits for that."""
    owner: str = field(default_factory=claims.new_owner)
    claimed: Task | None = None
    """The task, where it was claimed together with others for ``owner``."""


async def claim_together(deliveries: list[Delivery]) -> list[Delivery]:
    """Claim the tasks of several messages at once; who gets none that way claims for itself (`claim`)."""
    asked = [claims.Asked(one.message.task_id, one.message.gen, one.owner) for one in deliveries]
    if len(asked) < TOGETHER:
        return deliveries
    taken = await asyncio.to_thread(claims.claim_together, asked)
    return [replace(one, claimed=task) for one, task in zip(deliveries, taken, strict=True)]


async def claim(delivery: Delivery) -> Task | Refused:
    """Return a message's task, claimed together with others or now."""
    if delivery.claimed is not None:
        return delivery.claimed
    return await persist(claims.claim, delivery.message.task_id, delivery.message.gen, owner=delivery.owner)


async def decline(delivery: Delivery, refused: claims.Refused) -> Disposition:
    """Say what becomes of a message whose task cannot be had; returns it."""
    _log.info("message declined", extra={"why": str(refused.why)})
    if refused.why is claims.Refusal.NEWER:
        # A message of its own instead of hiding this one, whose receives are counted. Whose task it is cannot be read.
        message = delivery.message
        delay_s = NEWER_DELAY_SECONDS
        await persist(lanes.send, delivery.lane, message.task_id, message.gen, user=message.task_id, delay_s=delay_s)
        return Disposition.DONE
    if refused.hide_s <= 0 or not delivery.receipt:
        return Disposition.DONE
    if delivery.hidden is not None:
        await delivery.hidden
    hide_s = refused.hide_s
    if refused.why is claims.Refusal.AHEAD and delivery.receives <= len(AHEAD_SECONDS):
        hide_s = min(hide_s, AHEAD_SECONDS[delivery.receives - 1])
    await persist(lanes.hide, delivery.queue_url, [(delivery.receipt, hide_s + 0.999)])
    return Disposition.KEEP
