"""Keeping a task's items, and the S3 objects that they name, for longer: a run may wait past their usual time."""

from botocore.exceptions import BotoCoreError, ClientError

from shared import aws
from shared.clock import now
from shared.errors import DependencyDown
from shared.logs import get_logger
from shared.settings import settings
from shared.tasks import blobs, table
from shared.tasks.items import plain
from shared.tasks.ranges import under

_log = get_logger("keep")


def keep(task_id: str, until: float) -> float:
    """Keep all items of a live task until a time; returns until when they and its objects in S3 are kept now.

    The bucket deletes by age, and knows no exception: an object is written once more, which makes it young.

    Raises:
        DependencyDown: some may be kept for longer already.
    """
    objects = False
    asked = under(f"TASK#{task_id}", ProjectionExpression="pk, sk, s3, #ttl, v", ConsistentRead=True)
    for item in table.query(**asked, ExpressionAttributeNames={"#ttl": "ttl"}):
        if "s3" in item:
            objects = True
            _renew(item["s3"]["S"])
        if "ttl" in item and plain(item["ttl"]) < until:
            key = {"pk": item["pk"], "sk": item["sk"]}
            table.change(key, sets={"ttl": int(until)}, condition="attribute_exists(#pk)")  # erased meanwhile
    return min(until, now() + settings().blob_days * 86_400) if objects else until


def _renew(key: str) -> None:
    bucket = settings().blob_bucket
    try:
        found = aws.s3().get_object(Bucket=bucket, Key=key, **blobs.owner())
        body, kind = found["Body"].read(), found["ContentType"]  # a result's says what a browser makes of it
        aws.s3().put_object(Bucket=bucket, Key=key, Body=body, ContentType=kind, **blobs.owner())
    except (ClientError, BotoCoreError) as error:
        if aws.is_outage(error) and aws.error_code(error) not in blobs.MISSING:
            raise DependencyDown("s3") from error
        _log.error("object not kept", extra={"key": key, "code": aws.error_code(error)})  # its reader will be told
