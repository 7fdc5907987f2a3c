"""A user's files: a row in the table, and the content in S3.

The rows of a user stand in one partition, by ids that sort by time. A file whose content its client puts to S3 itself
is ``pending`` until somebody asks for it; then S3 is asked what came.
"""

import json
import secrets
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from shared.bulk import objects
from shared.clock import now
from shared.errors import Conflict, NotFound, TooLarge
from shared.settings import settings
from shared.tasks import sessions, table
from shared.tasks.items import Attributes, item, table_key, values_of
from shared.tasks.ranges import under

PREFIX = "file-"
UPLOAD_PREFIX = "upload_"
ID_CHARACTERS = 64
UPLOAD_SECONDS = 3600
"""How long the parts of a file may take to come, and its presigned address is good."""
INPUT, OUTPUT = "batch", "batch_output"
"""What files are for: requests of a batch, and what became of them."""


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
    return table_key(partition(user), file_id)


def partition(user: str) -> str:
    """Return what a user's files and uploads stand under."""
    return f"FILES#{user}"


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
    """
    if not settings().blob_bucket:
        raise TooLarge("this deployment has no bucket for files")
    if size > settings().max_file_bytes:
        raise TooLarge(f"a file may have {settings().max_file_bytes} bytes, and this one has {size}", param="file")
    most = settings().max_files
    there = table.query(**under(partition(user), begins=PREFIX, ProjectionExpression="pk, sk"))
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
    values = values_of(row)
    same = {name: values[name] for name in ("user", "filename", "purpose", "size", "state")}
    same |= {name: float(values[name]) for name in ("made_at", "expires_at")}
    return File(file_id=values["sk"], why=values.get("why", ""), **same)


def store(file: File, content: bytes) -> None:
    """Write a file's content, and then its row: there is no row without content.

    Raises:
        DependencyDown: S3 or DynamoDB is away; nothing is to be seen of the file.
    """
    objects.put(file.key, content)
    table.put(row_op(file))


def announce(file: File) -> str:
    """Write the row of a file whose content comes later; returns the address that its client puts it to.

    The length is signed: S3 takes no other content than one of as many bytes as were announced.
    """
    table.put(row_op(file))
    return objects.address("put_object", file.key, UPLOAD_SECONDS, ContentLength=file.size)


def load(user: str, file_id: str) -> File:
    """Read a file's row; of a pending one S3 is asked whether it has come.

    Raises:
        NotFound: the user has none of that id, or it has expired.
    """
    row = table.get(key_of(user, file_id)) if named(file_id, PREFIX) else None
    if row is None or (found := _read(row)).expires_at <= now():
        raise NotFound(f"No such File object: {_shown(file_id)}")
    return _arrived(found) if found.state == "pending" else found


def _shown(text: str) -> str:
    return text.encode("ascii", "replace").decode()[:80]


def _arrived(file: File) -> File:
    size = objects.size(file.key)
    if size is None:
        return file
    if size == file.size:
        found = replace(file, state="processed")
    else:
        why = f"{file.size} bytes were announced, and {size} came"
        found = replace(file, state="error", why=why)
    table.change(
        key_of(file.user, file.file_id),
        sets={"state": found.state} | ({"why": found.why} if found.why else {}),
        same={"state": "pending"},
    )  # nothing, if another request saw it at the same time, or it was deleted
    return found


def page(
    user: str, *, limit: int, after: str | None, purpose: str | None, newest_first: bool
) -> tuple[list[File], bool]:
    """Return some of a user's files, and whether there are more."""
    start = key_of(user, after) if after is not None else None
    asked = under(partition(user), begins=PREFIX, after=start, ScanIndexForward=not newest_first)
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
    objects.delete(_read(row).key)
    sessions.delete_items([key_of(user, file_id)])


def address(file: File) -> str:
    """Return a presigned URL of a file's content."""
    name = json.dumps(file.filename.encode("ascii", "replace").decode())
    shown = f"attachment; filename={name}"
    return objects.address("get_object", file.key, settings().result_url_seconds, ResponseContentDisposition=shown)
