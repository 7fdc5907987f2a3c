"""Messages that say: look at this batch. One at a time is under way for each, however many of its lines end.

The row is the truth; a message is a hint that may be lost or doubled. Whoever begins to look takes the mark away, so
that what happens from then on sends another. The sweeper sends one to every batch that nobody looks at.
"""

import secrets

from shared import aws, valkey
from shared.errors import DependencyDown
from shared.logs import get_logger
from shared.settings import settings
from shared.tasks import lanes
from shared.tasks.model import Task
from shared.valkey import RedisError

GATHER_SECONDS = 1.0
"""How long ends of lines are gathered."""
AGAIN_SECONDS = 5.0
"""When a batch that waits for room looks again."""
MARK_SECONDS = 60
"""How long a message that is under way holds others back: one that was lost does so no longer."""

_log = get_logger("bulk")


def send(user: str, batch_id: str, *, delay_s: float = 0) -> None:
    """Have a batch looked at.

    Raises:
        DependencyDown: SQS is away; the sweeper sees to it.
    """
    asked = lanes.message({"user": user, "batch_id": batch_id}, user=user, delay_s=delay_s)
    with lanes.calling():
        aws.sqs().send_message(QueueUrl=settings().queue_url_bulk, **asked)


def parse(body: str) -> tuple[str, str]:
    """Return (user, id of the batch) of a message.

    Raises:
        BadMessage: it is none of ours.
    """
    user, batch_id = lanes.values(body, "a batch's message", user=str, batch_id=str)
    return user, batch_id


def soon(user: str, batch_id: str, *, delay_s: float = GATHER_SECONDS) -> None:
    """Have a batch looked at, unless a message of this kind is under way; never raises: the sweeper repairs."""
    if not settings().queue_url_bulk:
        return
    mine = secrets.token_hex(8)
    try:
        # Its client asks once more when an answer is late: what the first time marked is not another's.
        if valkey.client().set(_mark(batch_id, delay_s), mine, nx=True, get=True, ex=MARK_SECONDS) not in (None, mine):
            return
    except RedisError as error:
        _log.warning("ends are not gathered", extra={"error": str(error)})
    try:
        send(user, batch_id, delay_s=delay_s)
    except DependencyDown as error:
        _log.warning("the sweeper has a batch looked at", extra={"batch_id": batch_id, "error": error.message})


def begun(batch_id: str) -> None:
    """Note that somebody begins to look: what happens from now on needs another message."""
    try:
        valkey.client().delete(_mark(batch_id, GATHER_SECONDS))
        valkey.client().delete(_mark(batch_id, AGAIN_SECONDS))
    except RedisError as error:
        _log.warning("the mark stays", extra={"error": str(error)})


def _mark(batch_id: str, delay_s: float) -> str:
    return f"{{sluice:bulk}}:{'again' if delay_s > GATHER_SECONDS else 'ended'}:{batch_id}"


def ended(task: Task) -> None:
    """Have the batch looked at that a task which just ended is a line of."""
    if task.batch:
        soon(task.user, task.batch)
