"""Counting again what Valkey forgot: the open tasks of every user, with what they reserved.

Valkey may lose its data (a restart, a failover without the last writes). Then every queue looks empty and nothing seems
reserved, until the tasks end. A marker in Valkey is lost together with the counters; where it is missing, every live
task of its shard is put back from its row. It lasts some hours, so that what was admitted without Valkey is counted at
last, too.
"""

from shared import valkey
from shared.clock import now
from shared.errors import DependencyDown, NewerVersion, SettingError
from shared.limits import names, tiers
from shared.limits.admission import Gate
from shared.logs import get_logger
from shared.tasks import days, listing, table
from shared.tasks.items import DUE_SHARDS, Attributes, read_task, row_key

AGAIN_SECONDS = 6 * 3600
"""How long a count holds that Valkey did not lose."""

_log = get_logger("recount")


def recount(gate: Gate, stop_at: float) -> int:
    """Put back the live tasks of the shards that are not marked; returns how many were looked at.

    A shard that is not finished at ``stop_at``, or while a service is away, stays unmarked for the next sweep. Putting
    back twice changes nothing.
    """
    looked_at = 0
    try:
        for shard in _unmarked():
            for ids in listing.live(str(shard)):
                if now() > stop_at:
                    return looked_at
                for row in table.get_many([row_key(task_id) for task_id in ids]):
                    _put_back(gate, row)
                looked_at += len(ids)
            valkey.client().set(names.recount_key(shard), int(now()), ex=AGAIN_SECONDS)
    except (valkey.RedisError, DependencyDown) as error:
        _log.warning("not all recounted", extra={"error": str(error)})
    return looked_at


def _unmarked() -> list[int]:
    marks = valkey.client().mget([names.recount_key(shard) for shard in range(DUE_SHARDS)])
    return [shard for shard, mark in enumerate(marks) if mark is None]


def _put_back(gate: Gate, row: Attributes) -> None:
    try:
        task = read_task(row)
        limits = tiers.of_task(task)
    except NewerVersion:
        return  # workers of that version see to it
    except (KeyError, ValueError, TypeError, SettingError):  # the last: its tier is no longer in tiers.json
        _log.exception("row not understood", extra={"pk": row.get("pk")})
        return
    if not task.status.terminal:
        gate.adopt(task.user, task.task_id, task.day, *days.reserved(task), limits)
