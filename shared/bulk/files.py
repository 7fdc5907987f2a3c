"""A user's files: a row in the table, and the content in S3.

The rows of a user stand in one partition, by ids that sort by time. A file whose content its client puts to S3 itself
is ``pending`` until somebody asks for it; then S3 is asked what came.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from shared import aws
from shared.clock import now
from shared.errors import Conflict, DependencyDown, NotFound, TooLarge
from shared.logs import get_logger
from shared.settings import settings
from shared.tasks import blobs, sessions, table
from shared.tasks.items import item, plain

if TYPE_CHECKING:
    from shared.tasks.items import Attributes

PREFIX = "file-"
UPLOAD_PREFIX = "upload_"
ID_CHARACTERS = 64
UPLOAD_SECONDS = 3600
"""How long the parts of a file may take to come, and its presigned address is good."""
INPUT, OUTPUT = "batch", "batch_output"
"""What files are for: requests of a batch, and what became of them."""

_log = get_logger("files")


class TooMany(Conflict):
    """The user has as many files as one may."""

    code = "too_many_files"


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A row. Times are epoch seconds."""

    file_id: str
    user: str
    filename: str
    purpose: str
    size: int
    """Its bytes; of a pending one, those announced."""
    made_at: float
    expires_at: float
    state: str = "processed"
    """``pending``, ``processed`` or ``error``."""
    why: str = ""
    """What is wrong with it."""

    @property
    def key(self) -> str:
        """Where its content is in the bucket."""
        return f"files/{self.file_id}"

    def public(self) -> dict[str, Any]:
        """Return it as OpenAI's file object."""
        return {
            "id": self.file_id,
            "object": "file",
            "bytes": self.size,
            "created_at": int(self.made_at),
            "expires_at": int(self.expires_at),
            "filename": self.filename,
            "purpose": self.purpose,
            "status": "uploaded" if self.state == "pending" else self.state,
            "status_details": self.why or ("its content has not come yet" if self.state == "pending" else None),
        }


def new_id(prefix: str) -> str:
    """Return an id that sorts by time and cannot be guessed."""
    return f"{prefix}{int(now() * 1000):012x}{secrets.token_hex(10)}"


def named(one: str, prefix: str) -> bool:
    """Tell whether a text can be an id of this kind at all."""
    rest = one.removeprefix(prefix)
    return one.startswith(prefix) and len(one) <= ID_CHARACTERS and rest.isascii() and rest.isalnum()


def key_of(user: str, file_id: str) -> Attributes:
    """Return the key of a file's row."""
    return {"pk": {"S": f"FILES#{user}"}, "sk": {"S": file_id}}


def make(user: str, *, filename: str, purpose: str, size: int, seconds: float | None = None, state: str) -> File:
    """Describe a new file; ``seconds`` is how long it is kept, at most as long as any."""
    at, longest = now(), settings().file_days * 86_400
    return File(
        file_id=new_id(PREFIX),
        user=user,
        filename=filename,
        purpose=purpose,
        size=size,
        made_at=at,
        expires_at=at + (min(seconds, longest) if seconds else longest),
        state=state,
    )


def check_room(user: str, size: int) -> None:
    """See that a user may have another file, of so many bytes.

    Raises:
        TooMany, TooLarge: no.
        DependencyDown: DynamoDB is away.
    """
    if not settings().blob_bucket:
        raise TooLarge("this deployment has no bucket for files")
    if size > settings().max_file_bytes:
        raise TooLarge(f"a file may have {settings().max_file_bytes} bytes, and this one has {size}", param="file")
    most = settings().max_files
    where = {":pk": key_of(user, "")["pk"], ":prefix": {"S": PREFIX}}
    there = table.query(
        KeyConditionExpression="pk = :pk AND begins_with(sk, :prefix)",
        ExpressionAttributeValues=where,
        ProjectionExpression="pk, sk",
    )
    if sum(1 for _ in islice(there, most)) < most:
        return
    raise TooMany(f"there are {most} files already; delete some")


def row_op(file: File) -> dict[str, Any]:
    """Make the Put of a file's row."""
    values = {
        "user": file.user,
        "filename": file.filename,
        "purpose": file.purpose,
        "size": file.size,
        "made_at": float(file.made_at),
        "expires_at": float(file.expires_at),
        "state": file.state,
        "why": file.why or None,
        "s3": file.key,
        "ttl": int(file.expires_at),
    }
    return table.put_op(key_of(file.user, file.file_id) | item(values))


def _read(row: Attributes) -> File:
    values = {name: plain(value) for name, value in row.items()}
    return File(
        file_id=values["sk"],
        user=values["user"],
        filename=values["filename"],
        purpose=values["purpose"],
        size=values["size"],
        made_at=float(values["made_at"]),
        expires_at=float(values["expires_at"]),
        state=values["state"],
        why=values.get("why", ""),
    )


def store(file: File, content: bytes) -> None:
    """Write a file's content, and then its row: there is no row without content.

    Raises:
        DependencyDown: S3 or DynamoDB is away; nothing is to be seen of the file.
    """
    try:
        aws.s3().put_object(Bucket=settings().blob_bucket, Key=file.key, Body=content, **blobs.owner())
    except (ClientError, BotoCoreError) as error:
        raise away(error) from error
    table.put(row_op(file))


def announce(file: File) -> str:
    """Write the row of a file whose content comes later; returns the address that its client puts it to.

    The length is signed: S3 takes no other content than one of as many bytes as were announced.

    Raises:
        DependencyDown: DynamoDB is away.
    """
    table.put(row_op(file))
    return str(
        aws.s3_signer().generate_presigned_url(
            "put_object",
            Params={"Bucket": settings().blob_bucket, "Key": file.key, "ContentLength": file.size},
            ExpiresIn=UPLOAD_SECONDS,
        )
    )


def load(user: str, file_id: str) -> File:
    """Read a file's row; of a pending one S3 is asked whether it has come.

    Raises:
        NotFound: the user has none of that id, or it has expired.
        DependencyDown: DynamoDB or S3 is away.
    """
    row = table.get(key_of(user, file_id)) if named(file_id, PREFIX) else None
    if row is None or (found := _read(row)).expires_at <= now():
        raise NotFound(f"No such File object: {_shown(file_id)}")
    return _arrived(found) if found.state == "pending" else found


def _shown(text: str) -> str:
    return text.encode("ascii", "replace").decode()[:80]


def _arrived(file: File) -> File:
    try:
        head = aws.s3().head_object(Bucket=settings().blob_bucket, Key=file.key, **blobs.owner())
    except (ClientError, BotoCoreError) as error:
        if aws.error_code(error) in blobs.MISSING:
            return file
        raise away(error) from error
    size = int(head["ContentLength"])
    if size == file.size:
        found = replace(file, state="processed")
    else:
        why = f"{file.size} bytes were announced, and {size} came"
        found = replace(file, state="error", why=why)
    op = table.update_op(
        key_of(file.user, file.file_id),
        sets={"state": found.state} | ({"why": found.why} if found.why else {}),
        condition="#state = :pending",
        values={"pending": "pending"},
    )
    try:
        table.update(op)
    except table.ConditionFailed:
        return found  # another request saw it at the same time, or it was deleted
    return found


def page(
    user: str, *, limit: int, after: str | None, purpose: str | None, newest_first: bool
) -> tuple[list[File], bool]:
    """Return some of a user's files, and whether there are more.

    Raises:
        DependencyDown: DynamoDB is away.
    """
    asked: dict[str, Any] = {
        "KeyConditionExpression": "pk = :pk AND begins_with(sk, :prefix)",
        "ExpressionAttributeValues": {":pk": key_of(user, "")["pk"], ":prefix": {"S": PREFIX}},
        "ScanIndexForward": not newest_first,
    }
    if after is not None:
        asked["ExclusiveStartKey"] = key_of(user, after)
    found: list[File] = []
    for row in table.query(**asked):
        one = _read(row)
        if one.expires_at <= now() or (purpose is not None and one.purpose != purpose):
            continue
        if len(found) == limit:
            return found, True
        found.append(one)
    return found, False


def delete(user: str, file_id: str) -> None:
    """Delete a file: its content first, so that none is left without a row that names it.

    Raises:
        NotFound: there is none of that id.
        DependencyDown: S3 or DynamoDB is away; the file is still listed.
    """
    row = table.get(key_of(user, file_id)) if named(file_id, PREFIX) else None
    if row is None:
        raise NotFound(f"No such File object: {_shown(file_id)}")
    delete_object(_read(row).key)
    sessions.delete_items([key_of(user, file_id)])


def delete_object(key: str) -> None:
    """Delete an object of the bucket; one that is gone does no harm.

    Raises:
        DependencyDown: S3 is away.
    """
    try:
        aws.s3().delete_object(Bucket=settings().blob_bucket, Key=key, **blobs.owner())
    except (ClientError, BotoCoreError) as error:
        raise away(error) from error


def read(key: str, start: int = 0, size: int | None = None) -> bytes:
    """Read an object from ``start`` on, ``size`` bytes at most; nothing from its end on.

    Raises:
        NotFound: it is not there.
        DependencyDown: S3 is away.
    """
    extra: dict[str, Any] = {}
    if start or size is not None:
        extra["Range"] = f"bytes={start}-" + ("" if size is None else str(start + size - 1))
    try:
        answer = aws.s3().get_object(Bucket=settings().blob_bucket, Key=key, **extra, **blobs.owner())
        return answer["Body"].read()
    except (ClientError, BotoCoreError) as error:
        if aws.error_code(error) == "InvalidRange":
            return b""
        if aws.error_code(error) in blobs.MISSING:
            raise NotFound("the file's content is not there any more") from error
        raise away(error) from error


def address(file: File) -> str:
    """Return a presigned URL of a file's content."""
    name = json.dumps(file.filename.encode("ascii", "replace").decode())
    return str(
        aws.s3_signer().generate_presigned_url(
            "get_object",
            Params={
                "Bucket": settings().blob_bucket,
                "Key": file.key,
                "ResponseContentDisposition": f"attachment; filename={name}",
            },
            ExpiresIn=settings().result_url_seconds,
        )
    )


def away(error: Exception) -> Exception:
    """Turn a failed call of S3 into what callers handle."""
    if aws.is_outage(error):
        return DependencyDown("s3")
    _log.error("S3 refused a call", extra={"cause": str(error)[:300]})
    return error
