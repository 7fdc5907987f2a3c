"""Erasing what belongs to a user: schedules, files, batches, tasks with events, steps and large values, conversations.

What is left, and why: the day's spending (two totals, which hold the ceilings; they expire by themselves), digests of
idempotency keys (a day), and tasks that a worker is just running: these are asked to stop and erased by the next call.
Large values are found through the items that name them. One whose transaction was refused (its worker had lost the
lease) is named by none and goes with the bucket's lifecycle, ``BlobDays`` after it was written.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from functions.api.control.cancel import cancel
from functions.api.dialect import conversations
from shared import aws, credentials
from shared.errors import Contended, DependencyDown, NotFound
from shared.settings import settings
from shared.tasks import blobs, listing, sessions, store, table
from shared.tasks.items import listed_under

if TYPE_CHECKING:
    from collections.abc import Iterable

LONGEST_S = 15.0
"""One call works no longer than this; the caller repeats it while ``more`` is true."""
PAGE = 25
"""Tasks looked at together, and the most items of one DynamoDB batch."""


@dataclass(slots=True)
class Erasure:
    """What was done."""

    tasks: int = 0
    sessions: int = 0
    items: int = 0
    cancelled: int = 0
    more: bool = False

    def public(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


def erase(user: str, *, longest_s: float = LONGEST_S) -> Erasure:
    """Erase a user's data, for ``longest_s`` seconds at most. Repeating it is harmless.

    Raises:
        DependencyDown: DynamoDB or S3 is away; what is erased so far stays erased.
    """
    until = time.monotonic() + longest_s
    done, cursor, known = Erasure(), None, set[str]()
    done.items += delete_partition(f"SCHEDULES#{user}")  # first: they make new tasks
    done.items += delete_partition(f"FILES#{user}")
    done.items += delete_partition(f"CREDENTIALS#{user}")
    credentials.forget(user)
    done.items += delete_partition(f"ALERTS#{user}")
    _erase_batches(user, until, done)
    if done.more:
        return done
    while True:
        found, cursor = listing.list_tasks(user, limit=PAGE, cursor=cursor)
        for summary in found:
            # The conversation first: it can only be found through its tasks.
            session = str(summary.get("session_id", "default"))
            if session and session not in known:
                known.add(session)
                turns = delete_partition(f"SESSION#{user}#{session}")
                done.items += turns
                done.sessions += turns > 0
            _erase_task(user, str(summary["task_id"]), done)
            if time.monotonic() >= until:
                done.more = True
                return done
        if cursor is None:
            # Again: a run that ended meanwhile has put another turn.
            for session in known:
                done.items += delete_partition(f"SESSION#{user}#{session}")
            done.items += conversations.forget_all(user)
            return done


def _erase_batches(user: str, until: float, done: Erasure) -> None:
    """Erase batches with the tasks of their lines: each batch last, as these can only be found through it."""
    from shared.bulk import model  # here: few users have any
    from shared.bulk import store as batches

    while True:
        found, more = batches.page(user, limit=PAGE, after=None)
        for batch in found:
            if not batch.ended and not batches.stop(batch):
                done.more = True  # somebody is just at it
                return
            cursor = None
            while True:
                where = listed_under(user, batch.batch_id)
                lines, cursor = listing.list_tasks(where, limit=PAGE, cursor=cursor)
                for line in lines:
                    _erase_task(user, str(line["task_id"]), done)
                    if time.monotonic() >= until:
                        done.more = True
                        return
                if cursor is None:
                    break
            if done.more:
                return
            done.items += delete_partition(f"BATCH#{batch.batch_id}")
            sessions.delete_items([model.key_of(user, batch.batch_id)])
        if not more:
            done.items += delete_partition(f"BATCHES#{user}")
            return


def _erase_task(user: str, task_id: str, done: Erasure) -> None:
    try:
        task = store.get(task_id)
        if task.user != user:
            return
        if not task.status.terminal:
            task = cancel(task)
            done.cancelled += 1
            if not task.status.terminal:
                done.more = True
                return
    except NotFound:  # its row is gone, the index has not noticed yet
        return
    except Contended:
        done.more = True
        return
    done.items += delete_partition(f"TASK#{task_id}")
    done.tasks += 1


def delete_partition(pk: str) -> int:
    """Delete every item under a key, with the S3 objects that they name; returns how many."""
    found = list(
        table.query(
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": {"S": pk}},
            ProjectionExpression="pk, sk, s3",
            ConsistentRead=True,
        )
    )
    # The row goes last: while it stands, a repeat of this call finds the task again.
    found.sort(key=lambda item: item["sk"]["S"] == "TASK")
    try:
        _delete_objects(item["s3"]["S"] for item in found if "s3" in item)
        for start in range(0, len(found), PAGE):
            _delete_batch([{"pk": item["pk"], "sk": item["sk"]} for item in found[start : start + PAGE]])
    except (ClientError, BotoCoreError) as error:
        if aws.is_outage(error):
            raise DependencyDown("dynamodb") from error
        raise
    return len(found)


def _delete_batch(keys: list[dict[str, Any]]) -> None:
    waiting: Any = {settings().table_name: [{"DeleteRequest": {"Key": key}} for key in keys]}
    for tried in range(5):
        waiting = aws.dynamodb().batch_write_item(RequestItems=waiting).get("UnprocessedItems")
        if not waiting:
            return
        time.sleep(0.05 * 2**tried)
    raise DependencyDown("dynamodb")


def _delete_objects(keys: Iterable[str]) -> None:
    for key in keys:
        aws.s3().delete_object(Bucket=settings().blob_bucket, Key=key, **blobs.owner())
