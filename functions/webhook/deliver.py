"""One delivery: read what is due, post it, see to the next try, record what came of it."""

import json
import random
from dataclasses import dataclass
from logging import ERROR, WARNING
from typing import Any

from functions.webhook import news, record
from functions.webhook.post import Answer, post
from functions.webhook.schedule import GIVE_UP_SECONDS, next_try
from shared import traces, webhooks
from shared.alerts import model
from shared.clock import now
from shared.errors import Contended, DependencyDown, NewerVersion, NotFound, SluiceError
from shared.logs import get_logger
from shared.schedules import telling
from shared.tasks import store
from shared.tasks.model import Status

EARLY_SECONDS = 1.0
"""SQS counts whole seconds: what comes this little too soon is not sent on."""
STORAGE_RETRY_SECONDS = 60.0
"""When a delivery whose task cannot be read is taken up again; that is no try."""

_log = get_logger("webhook")


class BadDelivery(SluiceError):
    """The queue held something that is no delivery."""

    code = "bad_message"


@dataclass(frozen=True, slots=True)
class Delivery:
    """What the queue carries. Times are epoch seconds."""

    task_id: str
    type: str
    url: str
    attempt: int
    first: float
    due: float
    wait: str = ""
    """Which wait of the task it tells of; empty: its end. Of an alert, who is told; of a schedule, which instant."""
    owner: str = ""
    """Whose delivery it is (`shared.limits.shares`); a message of an older version names nobody."""

    def again(self, *, attempt: int, due: float) -> None:
        """Put another try into the queue."""
        what = {"task_id": self.task_id, "type": self.type, "url": self.url}
        what |= {"wait": self.wait} if self.wait else {}
        what |= {"owner": self.owner} if self.owner else {}
        webhooks.send(what, attempt=attempt, first=self.first, due=due)


def parse(body: str) -> Delivery:
    """Read a queue message.

    Raises:
        BadDelivery: it is none.
    """
    try:
        value: dict[str, Any] = json.loads(body)
        if value["v"] != webhooks.VERSION:
            raise BadDelivery("not a delivery of this version")
        return Delivery(
            task_id=str(value["task_id"]),
            type=str(value["type"]),
            url=str(value["url"]),
            attempt=int(value["attempt"]),
            first=float(value["first"]),
            due=float(value["due"]),
            wait=str(value.get("wait", "")),
            owner=str(value.get("owner", "")),
        )
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise BadDelivery(f"not a delivery: {type(error).__name__}") from error


def is_trace(body: str) -> bool:
    """Tell whether a readable message asks for an export, and not for a webhook."""
    return parse(body).type == traces.KIND


def see_to(body: str) -> str:
    """Make the try that a message asks for, and return what came of it.

    The message of the next try is sent before this one is acknowledged, and an outcome once recorded is not repeated,
    so a crash at any point repeats a try at most: at least once, always with the same id.

    Raises:
        BadDelivery: unreadable.
        DependencyDown: SQS is away; the message comes back.
    """
    delivery = parse(body)
    if delivery.due > now() + EARLY_SECONDS:
        delivery.again(attempt=delivery.attempt, due=delivery.due)
        return "early"
    if delivery.type == traces.KIND:
        return _export(delivery)
    try:
        if record.is_done(delivery.task_id, delivery.attempt, wait=delivery.wait):
            return "repeat"
        answer = _post(delivery)
        if answer is None:
            return "moot"
    except NotFound:
        return "erased"
    except (DependencyDown, NewerVersion):
        if not _postponed(delivery):
            raise
        return "postponed"
    if answer.delivered:
        status = "delivered"
    elif answer.final:
        status = "given_up" if answer.status else "refused"
    else:
        status = _again(delivery, answer.retry_after_s)
    try:
        record.write(
            delivery.task_id, record.Try(status, delivery.attempt, answer.status, answer.error), wait=delivery.wait
        )
    except (DependencyDown, Contended) as error:
        # The try is over whether that is known or not; making it again would be worse.
        _log.error("webhook outcome not recorded", extra={"task_id": delivery.task_id, "error": error.message})
    return status


def _post(delivery: Delivery) -> Answer | None:
    """Send what a delivery tells of; None when there is nothing to tell any more."""
    if delivery.type == model.TYPE:
        return news.of_budget(delivery.task_id, delivery.wait)
    if delivery.type in telling.TYPES:
        return news.of_firing(delivery.task_id, delivery.wait)
    task = store.get(delivery.task_id)
    if delivery.wait and (task.status is not Status.WAITING or str(task.gen) != delivery.wait):
        return None  # it waits no more for what this tells of
    return post(task, delivery.url)


def _export(delivery: Delivery) -> str:
    """Send a run's trace. Nothing is recorded of it: the ids are the same each time."""
    from functions.webhook.traces import export  # here: without a collector nobody needs it

    try:
        answer = export.export(delivery.task_id)
    except NotFound:
        return "erased"
    except (DependencyDown, NewerVersion):
        if not _postponed(delivery):
            raise
        return "postponed"
    if answer.exported:
        return "delivered"
    status = "refused" if answer.final else _again(delivery, answer.retry_after_s)
    known = {"task_id": delivery.task_id, "attempt": delivery.attempt, "error": answer.error}
    _log.log(WARNING if status == "waiting" else ERROR, f"trace {status}", extra=known)
    return status


def _postponed(delivery: Delivery) -> bool:
    """Take a delivery up later, at no try: the queue would give up after a few receives. False once it is too old."""
    young = now() < delivery.first + GIVE_UP_SECONDS
    if young:
        delivery.again(attempt=delivery.attempt, due=now() + STORAGE_RETRY_SECONDS)
    return young


def _again(delivery: Delivery, retry_after_s: float | None) -> str:
    due = next_try(delivery.attempt, delivery.first, now(), retry_after_s, random.random)
    if due is None:
        return "given_up"
    delivery.again(attempt=delivery.attempt + 1, due=due)
    return "waiting"
