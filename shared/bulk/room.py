"""How many more lines a batch may have running: what everybody else leaves of the normal lane.

Lines have no queue of their own. They stay in their file until there is room, and then run in the normal lane like
other tasks. Room is a share (``bulk_share``) of the slots that the lane has now, less all that run or wait there,
whosever they are. So slots stay free for those who submit one task: they never wait behind a batch. Batches share the
room max-min fairly, by owners.
"""

from dataclasses import dataclass
from typing import Any

from shared import valkey
from shared.clock import now
from shared.errors import DependencyDown
from shared.limits import names
from shared.limits.shares import owner_of
from shared.settings import settings
from shared.valkey import RedisError

LANE = "normal"
ACTIVE = "{sluice:bulk}:active"
"""Sorted set: ``owner batch`` -> until when it is believed to want room."""
ACTIVE_SECONDS = 90
OWN_PART = 4
"""A fourth of its running cap, one slot at least, an owner's lines leave to the owner's other tasks."""


@dataclass(frozen=True, slots=True)
class Lane:
    """The normal lane as it is now."""

    slots: int
    busy: int
    """Tasks that run or wait there."""
    owners: int
    """Owners of batches that want room."""
    mine: int
    """Batches among these of the owner in question."""


def allowance(lane: Lane, running: int, share: int) -> int:
    """Return how many more lines a batch with so many running may start; ``share`` in percent."""
    most = lane.slots * share // 100
    fair = most // max(1, lane.owners) // max(1, lane.mine)
    return max(0, min(most - lane.busy, max(1, fair) - running))


def of_cap(cap: int) -> int:
    """Return how many of an owner's running slots its lines may hold; 0: no limit."""
    return cap if cap <= 1 else cap - max(1, cap // OWN_PART)


def look(user: str, batch_id: str) -> Lane:
    """Look at the lane, and note that this batch wants room there.

    Raises:
        DependencyDown: Valkey is away: a batch then waits.
    """
    at, owner = now(), owner_of(user)
    try:
        server: Any = valkey.client()
        server.zadd(ACTIVE, {f"{owner} {batch_id}": at + ACTIVE_SECONDS})
        server.zremrangebyscore(ACTIVE, "-inf", at)
        active = [_text(one).partition(" ")[0] for one in server.zrange(ACTIVE, 0, 999)]
        slots = int(server.hget(names.LANE_SLOTS, LANE) or 0)
        # Whoever lapsed runs no more. Nobody takes it off while no run begins: a batch alone would wait for it.
        running = int(server.zcount(f"{{sluice}}:lane:{LANE}:running", f"({at * 1e6:.0f}", "+inf"))
        waiting = int(server.zlexcount(names.LANES[1], f"[{LANE} ", f"({LANE}!"))
    except RedisError as error:
        raise DependencyDown("redis") from error
    slots = slots or max(2, settings().min_replicas // 2) * settings().runs_per_environment
    return Lane(slots, running + waiting, len(set(active)), active.count(owner))


def leave(user: str, batch_id: str) -> None:
    """Note that a batch wants no room any more; lost, it lapses by itself."""
    try:
        valkey.client().zrem(ACTIVE, f"{owner_of(user)} {batch_id}")
    except RedisError:
        return


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
