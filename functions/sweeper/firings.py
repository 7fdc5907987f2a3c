"""Brings the firings of schedules within reach: sends the messages of those that are near, and again what was lost."""

from collections import Counter
from contextlib import suppress

from functions.sweeper.shards import go_through
from shared.clock import now
from shared.errors import DependencyDown, NotFound
from shared.logs import get_logger
from shared.schedules import store, telling, timers
from shared.schedules.model import SHARDS, read, shard_name
from shared.settings import settings
from shared.tasks.items import Attributes

TOLD = 200
"""Webhooks of firings sent per sweep."""

_log = get_logger("firings")


def bring(stop_at: float) -> Counter[str]:
    """See to every schedule that is due, until ``stop_at``; returns counts by what was done."""
    if not settings().queue_url_firings:
        return Counter()
    return go_through([shard_name(n) for n in range(SHARDS)], _see_to, stop_at)


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
    schedule = read(row)
    if schedule.next_at is None:
        return "no firing"
    near = timers.within_reach(schedule)
    if near:
        timers.send(schedule)
    store.look_later(schedule, timers.due_at(schedule))
    return "firing sent" if near else "firing announced"
