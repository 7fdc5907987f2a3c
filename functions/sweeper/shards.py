"""Seeing to what is due, partition by partition of the ``due`` index: a sweep meets only those whose turn it is."""

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from random import randrange

from shared.clock import now
from shared.errors import Contended, DependencyDown, LeaseLost, NewerVersion, NotFound
from shared.logs import get_logger
from shared.tasks import table
from shared.tasks.items import Attributes

AT_ONCE = 8
"""Rows seen to at the same time."""
AWAY, UNREADABLE, NEWER, CHANGED, LEFT = "away", "unreadable", "of a newer version", "changed meanwhile", "left"
STILL_DUE = frozenset({AWAY, UNREADABLE, NEWER, CHANGED, LEFT})
"""What is said of rows that the next look finds again; where it is said of all, that look is the next sweep's."""

_log = get_logger("sweep")


def go_through(shards: Sequence[str], see_to: Callable[[Attributes], str], stop_at: float) -> Counter[str]:
    """See to every row that is due in these partitions, until ``stop_at``; returns counts by what was done."""
    done: Counter[str] = Counter()
    first = randrange(len(shards))  # noqa: S311 - whose turn comes first when there is no time for all
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="due") as pool:
        for shard in (*shards[first:], *shards[:first]):
            while now() < stop_at:
                due = table.due(shard, before=now(), limit=table.READ_AT_ONCE)
                rows = table.get_many([{"pk": one["pk"], "sk": one["sk"]} for one in due]) if due else []
                told = list(pool.map(partial(seen, see_to, stop_at), rows))
                done.update(told)
                if len(due) < table.READ_AT_ONCE or set(told) <= STILL_DUE:
                    break
    return done


def seen(see_to: Callable[[Attributes], str], stop_at: float, row: Attributes) -> str:
    """See to one row, unless it is ``stop_at``; never raises: none may keep the others from being looked after."""
    if now() >= stop_at:
        return LEFT
    try:
        return see_to(row)
    except NotFound:
        return "gone"
    except NewerVersion:
        return NEWER
    except (LeaseLost, Contended, table.ConditionFailed):
        return CHANGED
    except DependencyDown as error:
        _log.warning("not seen to", extra={"pk": row["pk"]["S"], "error": error.message})
        return AWAY
    except Exception:  # a damaged row, an object that is gone, a write that DynamoDB refuses
        _log.exception("row not understood", extra={"pk": row["pk"]["S"]})
        return UNREADABLE
