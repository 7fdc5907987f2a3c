"""Has batches looked at that nobody looks at: whose message was lost, whose writer died, whose time is over."""

from collections import Counter

from shared.bulk import pokes, store
from shared.bulk.model import SHARDS, shard_name
from shared.clock import now
from shared.errors import Contended, DependencyDown
from shared.logs import get_logger
from shared.settings import settings

PER_SHARD = 200
"""Batches seen to per partition and sweep."""

_log = get_logger("bulk")


def poke(stop_at: float) -> Counter[str]:
    """Send the messages of all batches that are due, until ``stop_at``; returns counts by what was done."""
    done: Counter[str] = Counter()
    if not settings().queue_url_bulk:
        return done
    for n in range(SHARDS):
        for user, batch_id in store.due(shard_name(n), before=now(), limit=PER_SHARD):
            if now() > stop_at:
                return done
            try:
                pokes.send(user, batch_id)
                store.look_later(user, batch_id)
                done["batch looked at"] += 1
            except (DependencyDown, Contended) as error:
                _log.warning("not seen to", extra={"batch_id": batch_id, "error": error.message})
                done["away"] += 1
    return done
