"""Objects of the bucket: contents of files, and what files are put together of.

Every call raises `DependencyDown` when S3 is away.
"""

from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from shared import aws
from shared.errors import DependencyDown, NotFound
from shared.logs import get_logger
from shared.settings import settings
from shared.tasks import blobs

_log = get_logger("files")


def put(key: str, content: bytes) -> None:
    """Write an object."""
    try:
        aws.s3().put_object(Bucket=settings().blob_bucket, Key=key, Body=content, **blobs.owner())
    except (ClientError, BotoCoreError) as error:
        raise away(error) from error


def size(key: str) -> int | None:
    """Return an object's bytes; None where there is none."""
    try:
        head = aws.s3().head_object(Bucket=settings().blob_bucket, Key=key, **blobs.owner())
    except (ClientError, BotoCoreError) as error:
        if aws.error_code(error) in blobs.MISSING:
            return None
        raise away(error) from error
    return int(head["ContentLength"])


def read(key: str, start: int = 0, most: int | None = None) -> bytes:
    """Read an object from ``start`` on, ``most`` bytes of it; nothing from its end on.

    Raises:
        NotFound: it is not there.
    """
    extra: dict[str, Any] = {}
    if start or most is not None:
        extra["Range"] = f"bytes={start}-" + ("" if most is None else str(start + most - 1))
    try:
        answer = aws.s3().get_object(Bucket=settings().blob_bucket, Key=key, **extra, **blobs.owner())
        return answer["Body"].read()
    except (ClientError, BotoCoreError) as error:
        if aws.error_code(error) == "InvalidRange":
            return b""
        if aws.error_code(error) in blobs.MISSING:
            raise NotFound("the file's content is not there any more") from error
        raise away(error) from error


def delete(key: str) -> None:
    """Delete an object; one that is gone does no harm."""
    try:
        aws.s3().delete_object(Bucket=settings().blob_bucket, Key=key, **blobs.owner())
    except (ClientError, BotoCoreError) as error:
        raise away(error) from error


def address(call: str, key: str, seconds: int, **more: Any) -> str:
    """Return a presigned URL for a call of S3, ``put_object`` or ``get_object``, with more of its parameters."""
    asked = {"Bucket": settings().blob_bucket, "Key": key, **more}
    return str(aws.s3_signer().generate_presigned_url(call, Params=asked, ExpiresIn=seconds))


def away(error: Exception) -> Exception:
    """Turn a failed call of S3 into what callers handle."""
    outage = aws.is_outage(error)
    if not outage or aws.error_code(error) in aws.UNSERVED:
        _log.error("S3 refused a call", extra={"cause": str(error)[:300]})
    return DependencyDown("s3") if outage else error
