"""Brings the firings of schedules within reach: sends the messages of those that are near, and again what was lost.

Schedules stand in partitions of their own of the ``due`` index, by when they must be looked at, so that a sweep meets
those whose turn it is and no other, however many there are.
"""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from random import randrange
from typing import TYPE_CHECKING

from shared.clock import now
from shared.errors import Contended, DependencyDown, NewerVersion, NotFound
from shared.logs import get_logger
from shared.schedules import store, telling, timers
from shared.schedules.model import SHARDS, read, shard_name
from shared.settings import settings
from shared.tasks.table import READ_AT_ONCE

if TYPE_CHECKING:
    from shared.tasks.items import Attributes

TOLD = 200
"""Webhooks of firings sent per sweep."""
AT_ONCE = 8
"""Schedules seen to at the same time."""

_log = get_logger("firings")


def bring(stop_at: float) -> Counter[str]:
    """See to every schedule that is due, until ``stop_at``; returns counts by what was done."""
    done: Counter[str] = Counter()
    if not settings().queue_url_firings:
        return done
    first = randrange(SHARDS)  # noqa: S311 - whose turn comes first when there is no time for all
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="firing") as pool:
        for n in range(SHARDS):
            shard = shard_name((first + n) % SHARDS)
            while now() < stop_at:
                rows = store.due(shard, before=now(), limit=READ_AT_ONCE)
                seen = list(pool.map(_see_to, rows))
                done.update(seen)
                if len(rows) < READ_AT_ONCE or set(seen) <= {"away", "unreadable", "of a newer version"}:
                    break
    return done


def tell(stop_at: float) -> Counter[str]:
    """Send the webhooks of firings whose messages may not have been sent; returns how many."""
    done: Counter[str] = Counter()
    if not settings().queue_url_webhook:
        return done
    try:
        for place, instant in telling.unsent(TOLD):
            if now() > stop_at:
                break
            with suppress(NotFound):
                telling.send(telling.read(place, instant))
                done["firings told again"] += 1
    except DependencyDown as error:
        _log.warning("news left to the next sweep", extra={"error": error.message})
    return done


def _see_to(row: Attributes) -> str:
    try:
        schedule = read(row)
        if schedule.next_at is None:
            return "no firing"
        near = timers.within_reach(schedule)
        if near:
            timers.send(schedule)
        store.look_later(schedule, timers.due_at(schedule))
    except NewerVersion:
        return "of a newer version"
    except (DependencyDown, Contended) as error:
        _log.warning("not seen to", extra={"pk": row["pk"]["S"], "error": error.message})
        return "away"
    except (KeyError, ValueError, TypeError):  # a damaged row must not keep the others from being looked after
        _log.exception("row not understood", extra={"pk": row["pk"]["S"]})
        return "unreadable"
    return "firing sent" if near else "firing announced"
