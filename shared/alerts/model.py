"""What an alert is: a day's use of one unit that has come to a threshold of its ceiling, kept as an item of its own.

There is one item, and so one webhook id, for each (whose, day, unit, threshold), whoever notices it and how often.
While it stands in the partition ``ALERTS`` of the ``due`` index its message may not have been sent.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

from shared.clock import iso, now
from shared.errors import NotFound
from shared.limits.verdict import THRESHOLDS
from shared.tasks import costs, table
from shared.tasks.items import Attributes, item, table_key, values_of

TYPE = "budget.threshold"
"""Type of the webhook."""
UNITS = ("tokens", "usd")
EVERYONE = "*"
DUE = "ALERTS"
ALERT = "ALERT"
"""An item's sort key."""
GRACE_SECONDS = 30.0
"""How long the sweeper leaves a new alert to who noticed it."""


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert. ``whose``: a user, ``service/*`` for all of a service's users, or ``*``; money in micro-USD."""

    whose: str
    day: str
    unit: str
    threshold: int
    limit: int
    used: int
    at: float
    """When it was noticed, epoch seconds; with ``used`` it says the same on every try."""
    to: tuple[str, ...]
    """Who is told: ``operator``, ``user``."""

    @property
    def place(self) -> str:
        """The item's partition."""
        return place_of(self.whose, self.day, self.unit, self.threshold)

    @property
    def message_id(self) -> str:
        """The webhook's id, the same for all who are told."""
        return f"msg_budget_{hashlib.sha256(self.place.encode()).hexdigest()[:32]}"

    def payload(self) -> dict[str, Any]:
        """Return what the webhook says."""
        scale = 1_000_000 if self.unit == "usd" else 1
        if self.whose == EVERYONE:
            of: dict[str, Any] = {"scope": "global"}
        elif self.whose.endswith("/*"):
            of = {"scope": "service", "service": self.whose.removesuffix("/*")}
        else:
            of = {"scope": "user", "user": self.whose}
        figures = {"limit": self.limit / scale, "used": self.used / scale} if scale > 1 else {}
        data = of | {"day": self.day, "unit": self.unit, "limit": self.limit, "used": self.used} | figures
        return {"type": TYPE, "timestamp": iso(self.at), "data": data | {"threshold": self.threshold}}


def place_of(whose: str, day: str, unit: str, threshold: int) -> str:
    """Return the partition of an alert's item."""
    return f"ALERT#{whose}#{day}#{unit}#{threshold}"


def passed(used: int, limit: int) -> list[int]:
    """Return the thresholds that a day's use has come to, the lowest first; a limit of 0 is none.

    One run may pass several: each is told of.
    """
    return [threshold for threshold in THRESHOLDS if limit and used * 100 >= limit * threshold]


def key_of(place: str) -> Attributes:
    """Return an alert's key."""
    return table_key(place, ALERT)


def put(alert: Alert) -> bool:
    """Write an alert that is to be sent; False: it was noticed before.

    Raises:
        Contended, DependencyDown: it was not written.
    """
    values = {
        "whose": alert.whose,
        "day": alert.day,
        "unit": alert.unit,
        "threshold": alert.threshold,
        "ceiling": alert.limit,
        "used": alert.used,
        "at": alert.at,
        "told": ",".join(alert.to),
        "due": DUE,
        "due_at": now() + GRACE_SECONDS,
        "ttl": costs.kept_until(alert.day),
    }
    return table.placed(table.put_op(key_of(alert.place) | item(values), condition="attribute_not_exists(pk)"))


def read(place: str) -> Alert:
    """Read an alert by its partition.

    Raises:
        NotFound: there is none.
    """
    row = table.get(key_of(place))
    if row is None:
        raise NotFound("no such alert")
    return of_row(row)


def of_row(row: Attributes) -> Alert:
    """Decode an alert."""
    found = values_of(row)
    same = {name: found[name] for name in ("whose", "day", "unit", "threshold", "used")}
    return Alert(limit=found["ceiling"], at=float(found["at"]), to=tuple(found["told"].split(",")), **same)


def sent(alert: Alert) -> None:
    """Note that an alert's messages are on their way.

    Raises:
        Contended, DependencyDown: the sweeper sends them once more, under the same id.
    """
    table.change(key_of(alert.place), removes=("due", "due_at"), condition="attribute_exists(#pk)")  # its time is over
