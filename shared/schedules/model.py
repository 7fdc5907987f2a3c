"""A schedule: what is to run, and when; and what became of its firings."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from shared.clock import iso
from shared.schedules.cron import LIBRARY, instants, next_after
from shared.tasks.items import Attributes, attribute, item, known, table_key, values_of
from shared.tasks.model import dumps

GRACE_SECONDS = 180.0
"""How late a firing may be made whatever its schedule says: what Sluice's own repair of a lost message takes."""
HELD_SECONDS = 82_800.0
"""How long a firing waits for the run before it. Less than an Idempotency-Key lives, so that none is made twice."""
SHOWN = 5
"""Instants that a schedule shows."""
_SPEC = ("name", "cron", "timezone", "at", "run", "jitter_s", "overlap", "catch_up_s", "library")


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A row. Times are epoch seconds."""

    schedule_id: str
    user: str
    key: str
    """Digest of the API key under whose limits it runs: of whoever changed it last."""
    created: float
    run: dict[str, Any]
    """The body of a submit."""
    cron: str | None = None
    at: float | None = None
    timezone: str = "UTC"
    name: str | None = None
    jitter_s: int = 0
    overlap: str = "skip"
    catch_up_s: int = 600
    library: str = LIBRARY
    paused: str = ""
    """Why it is paused: ``owner``, or ``key_revoked``."""
    ended: bool = False
    next_at: float | None = None
    """The instant that is to be fired next; None: paused or ended."""
    held: bool = False
    """Whether that firing waits for the run before it."""
    last: dict[str, Any] = field(default_factory=dict)
    """The latest firing: ``instant``, ``outcome``, ``task_id`` or ``error``."""
    last_task: str = ""
    key_id: str = ""
    """Id of that key: its secret signs what is told of firings that did not happen."""
    counted_for: str = ""
    """The trusted service among whose schedules it is counted, too."""
    counts: dict[str, int] = field(default_factory=dict)
    traceparent: str = ""
    """The trace of the request that made or last changed it: its runs are linked to that."""

    @property
    def status(self) -> str:
        """``active``, ``paused`` or ``ended``."""
        return "ended" if self.ended else "paused" if self.paused else "active"

    @property
    def fire_at(self) -> float:
        """When the next firing is made: its instant, and its part of the jitter."""
        assert self.next_at is not None  # noqa: S101 - for the type checker
        return self.next_at + jitter(self.schedule_id, self.next_at, self.jitter_s)

    @property
    def latest(self) -> float:
        """Until when that firing may be made."""
        return self.fire_at + (HELD_SECONDS if self.held else max(self.catch_up_s, GRACE_SECONDS))

    def after(self, instant: float) -> float | None:
        """Return the instant that follows one; None at the end."""
        if self.cron is None:
            return self.at if self.at is not None and self.at > instant else None
        return next_after(self.cron, self.timezone, instant)

    def coming(self, now: float) -> list[float]:
        """Return the next instants; none while it is paused."""
        if self.next_at is None:
            return []
        if self.cron is None:
            return [self.next_at]
        return [self.next_at, *islice(instants(self.cron, self.timezone, max(now, self.next_at)), SHOWN - 1)]

    def public(self, now: float) -> dict[str, Any]:
        """Return it as clients see it."""
        shown: dict[str, Any] = {
            "schedule_id": self.schedule_id,
            "status": self.status,
            "name": self.name,
            "cron": self.cron,
            "at": None if self.at is None else iso(self.at),
            "timezone": self.timezone,
            "run": self.run,
            "jitter_s": self.jitter_s,
            "overlap": self.overlap,
            "catch_up_s": self.catch_up_s,
            "paused": bool(self.paused),
            "next": [iso(at) for at in self.coming(now)],
            "created": iso(self.created),
            "last": self.last or None,
            "counts": self.counts,
        }
        if self.cron is not None:
            shown["library"] = self.library
        if self.next_at is not None:
            shown["fires_at"] = iso(self.fire_at)
        if self.paused:
            shown["paused_by"] = self.paused
        return shown

    def changed(self, **values: Any) -> Schedule:
        """Return it with other values."""
        return replace(self, **values)


def jitter(schedule_id: str, instant: float, jitter_s: int) -> float:
    """Return a firing's part of the jitter, 0 up to ``jitter_s`` seconds: always the same one for the same firing."""
    if not jitter_s:
        return 0.0
    drawn = int.from_bytes(hashlib.sha256(f"{schedule_id} {instant:.3f}".encode()).digest()[:8]) / 2**64
    return round(drawn * jitter_s, 3)


def partition(user: str) -> str:
    """Return the partition in which a user's schedules stand, with their number."""
    return f"SCHEDULES#{user}"


def key_of(user: str, schedule_id: str) -> Attributes:
    """Return the key of a schedule's row."""
    return table_key(partition(user), schedule_id)


def row_of(schedule: Schedule, *, due_at: float) -> Attributes:
    """Encode a schedule with its index attributes."""
    spec = {name: getattr(schedule, name) for name in _SPEC}
    values: dict[str, Any] = {
        "user": schedule.user,
        "spec": dumps(spec),
        "key": schedule.key,
        "created": f"{schedule.created:.3f}",
        "paused": schedule.paused or None,
        "ended": schedule.ended or None,
        "held": schedule.held or None,
        "last": dumps(schedule.last),
        "last_task": schedule.last_task or None,
        "key_id": schedule.key_id or None,
        "counted_for": schedule.counted_for or None,
        "traceparent": schedule.traceparent or None,
        "counts": dumps(schedule.counts),
    }
    row = key_of(schedule.user, schedule.schedule_id) | item(values)
    if schedule.next_at is not None:
        row |= {
            "next_at": attribute(float(schedule.next_at)),
            "due": {"S": shard_of(schedule.schedule_id)},
            "due_at": attribute(float(due_at)),
        }
    return row


def read(row: Attributes) -> Schedule:
    """Decode a row.

    Raises:
        NewerVersion: a newer version of Sluice wrote it.
    """
    values = values_of(known(row))
    spec = {name: value for name, value in json.loads(values["spec"]).items() if name in _SPEC}
    return Schedule(
        schedule_id=values["sk"],
        user=values["user"],
        key=values["key"],
        created=float(values["created"]),
        paused=values.get("paused", ""),
        ended=bool(values.get("ended", False)),
        held=bool(values.get("held", False)),
        next_at=float(values["next_at"]) if "next_at" in values else None,
        last=json.loads(values["last"]),
        last_task=values.get("last_task", ""),
        key_id=values.get("key_id", ""),
        counted_for=values.get("counted_for", ""),
        traceparent=values.get("traceparent", ""),
        counts=json.loads(values["counts"]),
        **spec,
    )


SHARDS = 16
"""Partitions of the ``due`` index that schedules have for themselves."""


def shard_of(schedule_id: str) -> str:
    """Spread schedules over them."""
    return shard_name(sum(schedule_id.encode()) % SHARDS)


def shard_name(n: int) -> str:
    """Return the name of one of them."""
    return f"FIRE{n}"
