"""Many items at once that no transaction holds together: all of a partition deleted, or the rows of a new one put.

Either is safe to repeat, and is repeated where it was cut off.
"""

import time
from collections.abc import Sequence
from typing import Any

from shared import aws
from shared.errors import DependencyDown
from shared.settings import settings
from shared.tasks import blobs, table
from shared.tasks.items import Attributes
from shared.tasks.ranges import under

AT_ONCE = 25
"""Most items of one BatchWriteItem."""
TRIES = 5


def delete(pk: str) -> int:
    """Delete every item under a key, with the S3 objects that they name; returns how many.

    Raises:
        DependencyDown: DynamoDB or S3 is away; what is deleted so far stays deleted.
    """
    found = list(table.query(**under(pk, ProjectionExpression="pk, sk, s3", ConsistentRead=True)))
    # The row goes last: while it stands, a repeat of this call finds the task again.
    found.sort(key=lambda item: item["sk"]["S"] == "TASK")
    with table.calling():
        for item in found:
            if "s3" in item:
                aws.s3().delete_object(Bucket=settings().blob_bucket, Key=item["s3"]["S"], **blobs.owner())
    _write([{"DeleteRequest": {"Key": {"pk": item["pk"], "sk": item["sk"]}}} for item in found])
    return len(found)


def put(items: Sequence[Attributes]) -> None:
    """Put items, whatever stood there.

    Raises:
        DependencyDown: DynamoDB is away; some may be there.
    """
    _write([{"PutRequest": {"Item": item}} for item in items])


def _write(requests: Sequence[dict[str, Any]]) -> None:
    with table.calling():
        for start in range(0, len(requests), AT_ONCE):
            _write_batch(requests[start : start + AT_ONCE])


def _write_batch(requests: Sequence[dict[str, Any]]) -> None:
    waiting: Any = {settings().table_name: requests}
    for tried in range(TRIES):
        waiting = aws.dynamodb().batch_write_item(RequestItems=waiting).get("UnprocessedItems")
        if not waiting:
            return
        time.sleep(0.05 * 2**tried)
    raise DependencyDown("dynamodb")
