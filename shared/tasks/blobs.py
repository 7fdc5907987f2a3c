"""Values of any size in an item: small ones as text, larger ones compressed, the largest in S3.

DynamoDB takes at most 400 KB an item, attribute names included
(https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ServiceQuotas.html).
"""

import hashlib
import json
import zlib
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from shared import aws
from shared.errors import DependencyDown, Gone, TooLarge
from shared.logs import get_logger
from shared.settings import settings
from shared.tasks.model import dumps

PLAIN_BYTES = 8 * 1024
"""What is larger is compressed, unless another bound is given."""
SMALL_BYTES = 800
"""The bound for items that hold little else: up to it they cost one write unit as they are."""
USUAL = (
    b'"error":{"code":"model_error","message":"","type":"server_error"},"data":{"usage_details":{},"rounds":1}'
    b'{"events":[{"seq":2,"type":"started","at":1795900000.0,"data":{"agent":"chat"}},{"seq":3,"type":"token","at":1795900'
    b'000.0,"data":{"call":"model#1.1","text":""}},{"seq":4,"type":"step","at":1795900000.0,"data":{"step":"model","n":1,'
    b'"call":"model#1.1","model":"gpt-4o-mini","tokens":100,"ms":100,"cost_usd":0.0001,"input_tokens":10,'
    b'"output_tokens":90,"finish_reason":"stop"}}],"response":"'
)
"""What an end's JSON says over and over, as zlib's dictionary: a hundred bytes less. It must never change."""
ITEM_BYTES = 340 * 1024
"""Most bytes of one value in an item; leaves room for the other attributes."""
BLOB_BYTES = 64 * 1024 * 1024
"""Most bytes of one value at all."""
MISSING = frozenset({"NoSuchKey", "404", "AccessDenied", "403"})
"""What S3 says of an object that is not there. Without the right to list the bucket, which no function needs, it says
403 (https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html, 2026-11)."""

_log = get_logger("blobs")


def pack(text: str, s3_key: str, *, plain_bytes: int | None = None) -> dict[str, Any]:
    """Turn text into attributes: ``text``, ``z`` (zlib) or ``s3`` (written before this returns, under ``s3_key``).

    What is larger than ``plain_bytes`` (by default ``PLAIN_BYTES``) is compressed.

    S3 knows no lease: the object is there before the transaction that names it, which may yet be refused. So its key
    ends with a digest of the content. A late worker that has something else to say writes another object, which no item
    names and the bucket's lifecycle expires; a repeat of the same write finds its own.

    Raises:
        TooLarge: over ``BLOB_BYTES``, or it needs S3 and there is no bucket.
    """
    data = text.encode()
    if len(data) <= (PLAIN_BYTES if plain_bytes is None else plain_bytes):
        return {"text": {"S": text}}
    _check_size(data)
    packed = zlib.compress(data, 6)
    if len(packed) <= ITEM_BYTES:
        return {"z": {"B": packed}}
    return _put(s3_key, packed, len(data))


def put_plain(text: str, s3_key: str, content_type: str) -> dict[str, Any]:
    """Write text to S3 as it is, so that whoever is given its address can read it; returns the attributes of ``pack``.

    Raises:
        TooLarge: over ``BLOB_BYTES``, or there is no bucket.
    """
    data = text.encode()
    _check_size(data)
    return _put(s3_key, data, len(data), ContentType=content_type) | {"plain": {"BOOL": True}}


def _check_size(data: bytes) -> None:
    if len(data) > BLOB_BYTES:
        raise TooLarge(f"a value of {len(data)} bytes is over the limit of {BLOB_BYTES}")


def _put(s3_key: str, data: bytes, size: int, **more: Any) -> dict[str, Any]:
    bucket = settings().blob_bucket
    if not bucket:
        raise TooLarge(f"a value of {size} bytes needs BLOB_BUCKET, which is not set")
    key = f"{s3_key}/{hashlib.sha256(data).hexdigest()[:32]}"
    try:
        aws.s3().put_object(Bucket=bucket, Key=key, Body=data, **more, **owner())
    except (ClientError, BotoCoreError) as error:
        raise _away(error) from error
    return {"s3": {"S": key}}


def address(attributes: dict[str, Any]) -> str:
    """Return a presigned URL of what ``put_plain`` wrote: whoever has it may read that object for a while."""
    return str(
        aws.s3_signer().generate_presigned_url(
            "get_object",
            Params={"Bucket": settings().blob_bucket, "Key": attributes["s3"]["S"]},
            ExpiresIn=settings().result_url_seconds,
        )
    )


def unpack(attributes: dict[str, Any]) -> str:
    """Read back what ``pack`` made.

    Raises:
        Gone: the object that the item names is no longer there.
    """
    if "text" in attributes:
        return str(attributes["text"]["S"])
    if "z" in attributes:
        return zlib.decompress(attributes["z"]["B"]).decode()
    try:
        body = aws.s3().get_object(Bucket=settings().blob_bucket, Key=attributes["s3"]["S"], **owner())["Body"]
        return body.read().decode() if "plain" in attributes else zlib.decompress(body.read()).decode()
    except (ClientError, BotoCoreError) as error:
        raise _sorted_out(error) from error


def pack_small(content: dict[str, Any]) -> bytes:
    """Compress a small JSON object; it is told to begin with what such objects say (``USUAL``)."""
    packing = zlib.compressobj(9, zdict=USUAL)
    return packing.compress(dumps(content).encode()) + packing.flush()


def read_small(content: bytes) -> dict[str, Any]:
    """Read back what ``pack_small`` made."""
    found: dict[str, Any] = json.loads(zlib.decompressobj(zdict=USUAL).decompress(content))
    return found


def owner() -> dict[str, Any]:
    """Return the argument that has S3 refuse a bucket of another account, should ours be deleted and its name taken."""
    expected = settings().blob_bucket_owner
    return {"ExpectedBucketOwner": expected} if expected else {}


def _sorted_out(error: Exception) -> Exception:
    if aws.error_code(error) in MISSING:
        # The two cannot be told apart: an operator who took a right away reads here what S3 said.
        _log.error("object gone, or not to be read", extra={"cause": str(error)[:300]})
        return Gone("a stored part of this task is gone: it was deleted before the task, or may not be read any more")
    return _away(error)


def _away(error: Exception) -> Exception:
    if not aws.is_outage(error):
        return error
    if aws.error_code(error) in aws.UNSERVED:
        _log.error("S3 refused a call", extra={"cause": str(error)[:300]})
    return DependencyDown("s3")
