"""What the owner of a schedule is told by webhook: that a firing made no run, or that the schedule was paused.

It goes where the run's own webhook would have gone. The item is written in the same transaction that moves the schedule
on, so that nothing is told which another writer saw otherwise, and nothing is lost: while it stands in the partition
``FIRED`` of the ``due`` index, its message may not have been sent, and the sweeper sends it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shared import webhooks
from shared.clock import iso, now
from shared.errors import Contended, DependencyDown, NotFound
from shared.limits.shares import owner_of
from shared.logs import get_logger
from shared.settings import settings
from shared.tasks import table
from shared.tasks.items import Attributes, item, table_key, values_of
from shared.tasks.model import dumps

if TYPE_CHECKING:
    from shared.schedules.model import Schedule

PREFIX = "FIRING#"
"""How the partition of a schedule's news begins."""
TYPES = ("schedule.skipped", "schedule.missed", "schedule.refused", "schedule.paused")
"""Types of the webhooks."""
DUE = "FIRED"
GRACE_SECONDS = 30.0
"""How long the sweeper leaves news to whoever wrote it."""
KEPT_SECONDS = 2 * 86_400
"""How long news is kept: for longer than its webhook is tried."""

_log = get_logger("firings")


@dataclass(frozen=True, slots=True)
class News:
    """What one firing has to tell. There is one for each instant of a schedule, and so one webhook id."""

    schedule_id: str
    user: str
    instant: str
    type: str
    at: float
    url: str
    key_id: str
    data: dict[str, Any]

    @property
    def place(self) -> str:
        """The item's partition."""
        return f"{PREFIX}{self.schedule_id}"

    @property
    def message_id(self) -> str:
        """The webhook's id."""
        return f"msg_{self.schedule_id}_{hashlib.sha256(self.instant.encode()).hexdigest()[:16]}"

    def payload(self) -> dict[str, Any]:
        """Return what the webhook says, the same on every try."""
        return {"type": self.type, "timestamp": iso(self.at), "data": self.data}


def of_firing(schedule: Schedule) -> News | None:
    """Return what the latest firing of a schedule has to tell; None: it made a run, or nobody is to be told."""
    url, last = str(schedule.run.get("webhook_url") or ""), schedule.last
    if not url or not schedule.key_id or last["outcome"] == "submitted" or not settings().queue_url_webhook:
        return None
    data = {"schedule_id": schedule.schedule_id, "name": schedule.name, **last, "status": schedule.status}
    data["next"] = None if schedule.next_at is None else iso(schedule.next_at)
    if schedule.paused:
        data["paused_by"] = schedule.paused
    if last["outcome"] == "skipped":
        data["running_task_id"] = schedule.last_task
    kind = "paused" if schedule.paused else last["outcome"]
    return News(
        schedule_id=schedule.schedule_id,
        user=schedule.user,
        instant=last["instant"],
        type=f"schedule.{kind}",
        at=now(),
        url=url,
        key_id=schedule.key_id,
        data=data,
    )


def _key(place: str, instant: str) -> Attributes:
    return table_key(place, f"NEWS#{instant}")


def put_op(news: News) -> dict[str, Any]:
    """Make the Put of what is to be told."""
    values = {
        "user": news.user,
        "type": news.type,
        "at": news.at,
        "url": news.url,
        "key_id": news.key_id,
        "data": dumps(news.data),
        "due": DUE,
        "due_at": now() + GRACE_SECONDS,
        "ttl": int(news.at + KEPT_SECONDS),
    }
    return table.put_op(_key(news.place, news.instant) | item(values))


def read(place: str, instant: str) -> News:
    """Read what is to be told of an instant.

    Raises:
        NotFound: there is nothing (any more): its schedule was deleted, say.
    """
    found = values_of(table.get(_key(place, instant)) or {})
    schedule_id = place.removeprefix(PREFIX)
    if not found or table.get(table_key(f"SCHEDULES#{found['user']}", schedule_id)) is None:
        raise NotFound("nothing is to be told of this firing")
    same = {name: found[name] for name in ("user", "type", "url", "key_id")}
    return News(schedule_id, instant=instant, at=float(found["at"]), data=json.loads(found["data"]), **same)


def send(news: News) -> None:
    """Put the message into the queue of webhooks; what SQS does not take stays due."""
    at = now()
    what = {"task_id": news.place, "type": news.type, "url": news.url, "wait": news.instant}
    try:
        webhooks.send(what | {"owner": owner_of(news.user)}, attempt=1, first=at, due=at)
        key = _key(news.place, news.instant)
        table.change(key, removes=("due", "due_at"), condition="attribute_exists(#pk)")  # its schedule is still there
    except (DependencyDown, Contended) as error:
        _log.warning("news not sent yet", extra={"schedule_id": news.schedule_id, "error": error.message})


def unsent(limit: int) -> list[tuple[str, str]]:
    """Return (partition, instant) of what may not have been sent, the oldest first."""
    found = table.due(DUE, before=now(), limit=limit)
    return [(one["pk"]["S"], one["sk"]["S"].partition("#")[2]) for one in found]
