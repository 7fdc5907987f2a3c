"""A file that comes in parts: OpenAI's uploads. Each part is an object of its own until the file is put together."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from shared.bulk import files, objects
from shared.bulk.assembly import Assembly
from shared.bulk.files import UPLOAD_PREFIX, UPLOAD_SECONDS, File, key_of
from shared.clock import now
from shared.errors import Conflict, Contended, DependencyDown, NotFound
from shared.logs import get_logger
from shared.tasks import sessions, table
from shared.tasks.items import Attributes, item, plain, values_of
from shared.tasks.ranges import under

PART_PREFIX = "part_"
MOST_PARTS = 1_000
"""Most parts of one upload."""
KEPT_SECONDS = 86_400
"""How long an upload is known after it has expired."""

_log = get_logger("uploads")


class BadParts(Conflict):
    """The parts do not make the file that was announced."""

    code = "invalid_request"


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A row. Times are epoch seconds."""

    upload_id: str
    user: str
    filename: str
    purpose: str
    size: int
    made_at: float
    seconds: float
    """How long the file is to be kept; 0: as long as any."""
    state: str
    """``pending``, ``completed`` or ``cancelled``."""
    file_id: str

    @property
    def expires_at(self) -> float:
        """Until when parts are taken."""
        return self.made_at + UPLOAD_SECONDS

    @property
    def status(self) -> str:
        """What clients see."""
        return "expired" if self.state == "pending" and now() >= self.expires_at else self.state

    def public(self, file: File | None = None) -> dict[str, Any]:
        """Return it as OpenAI's upload object."""
        return {
            "id": self.upload_id,
            "object": "upload",
            "bytes": self.size,
            "created_at": int(self.made_at),
            "expires_at": int(self.expires_at),
            "filename": self.filename,
            "purpose": self.purpose,
            "status": self.status,
            "file": None if file is None else file.public(),
        }


def begin(user: str, *, filename: str, purpose: str, size: int, seconds: float | None) -> Upload:
    """Write a new upload."""
    made = Upload(
        upload_id=files.new_id(UPLOAD_PREFIX),
        user=user,
        filename=filename,
        purpose=purpose,
        size=size,
        made_at=now(),
        seconds=seconds or 0.0,
        state="pending",
        file_id=files.new_id(files.PREFIX),
    )
    values = {
        "user": user,
        "filename": filename,
        "purpose": purpose,
        "size": size,
        "made_at": float(made.made_at),
        "seconds": float(made.seconds),
        "state": made.state,
        "file_id": made.file_id,
        "got": 0,
        "parts": 0,
        "ttl": int(made.expires_at + KEPT_SECONDS),
    }
    table.put(table.put_op(key_of(user, made.upload_id) | item(values)))
    return made


def load(user: str, upload_id: str) -> Upload:
    """Read an upload.

    Raises:
        NotFound: the user has none of that id.
    """
    row = table.get(key_of(user, upload_id)) if files.named(upload_id, UPLOAD_PREFIX) else None
    if row is None:
        raise NotFound(f"No such Upload object: {upload_id.encode('ascii', 'replace').decode()[:80]}")
    values = values_of(row)
    same = {name: values[name] for name in ("user", "filename", "purpose", "size", "state", "file_id")}
    same |= {name: float(values[name]) for name in ("made_at", "seconds")}
    return Upload(upload_id=values["sk"], **same)


def _open(user: str, upload_id: str) -> Upload:
    found = load(user, upload_id)
    if found.status != "pending":
        raise Conflict(f"the upload is {found.status}")
    return found


def add(user: str, upload_id: str, content: bytes) -> dict[str, Any]:
    """Take a part; returns OpenAI's part object.

    Raises:
        NotFound, Conflict: there is no such upload, or it takes no more.
        BadParts: with it there would be more bytes than were announced, or too many parts.
        DependencyDown: nothing was taken.
    """
    upload = _open(user, upload_id)
    part_id, at = files.new_id(PART_PREFIX), now()
    took = table.change(
        key_of(user, upload_id),
        sets={"newest": part_id},  # a write that is repeated, as its answer was lost, does not count twice
        adds={"got": len(content), "parts": 1},
        condition="NOT #newest = :part AND #got <= :room AND #parts < :most",
        values={"part": part_id, "room": upload.size - len(content), "most": MOST_PARTS},
    )
    if took is None:
        why = f"an upload has {MOST_PARTS} parts at most, and no more bytes than announced: {upload.size}"
        raise BadParts(why, param="data")
    key = f"files/{upload_id}/{part_id}"
    values = {"s3": key, "size": len(content), "ttl": int(upload.expires_at + KEPT_SECONDS)}
    try:
        Assembly(key, _pieces=[content], _held=len(content)).close()
        table.put(table.put_op(_part_key(user, upload_id, part_id) | item(values)))
    except (DependencyDown, Contended):
        _uncount(user, upload_id, part_id, len(content))
        raise
    return {"id": part_id, "object": "upload.part", "created_at": int(at), "upload_id": upload_id}


def _uncount(user: str, upload_id: str, part_id: str, size: int) -> None:
    """Make room again for a part that was not kept: its client sends it once more."""
    try:
        table.change(
            key_of(user, upload_id),
            sets={"newest": f"no {part_id}"},
            adds={"got": -size, "parts": -1},
            condition="attribute_exists(#pk) AND NOT #newest = :gone",
            values={"gone": f"no {part_id}"},
        )
    except (DependencyDown, Contended) as error:
        _log.warning("no room for a part again", extra={"upload_id": upload_id, "error": error.message})


def _part_key(user: str, upload_id: str, part_id: str) -> Attributes:
    return key_of(user, f"{upload_id}#{part_id}")


def complete(user: str, upload_id: str, part_ids: Sequence[str], md5: str | None) -> tuple[Upload, File]:
    """Put the file together from parts, in the given order; a repeat returns the same file.

    Raises:
        NotFound, Conflict: there is no such upload, or it was cancelled or has expired.
        BadParts: they are not all there, or are not the bytes that were announced.
    """
    upload = load(user, upload_id)
    if upload.state == "completed":
        return upload, files.load(user, upload.file_id)
    _open(user, upload_id)
    if not part_ids or len(set(part_ids)) != len(part_ids):
        raise BadParts("name each part once", param="part_ids")
    sizes = _sizes(user, upload_id, part_ids)
    if sum(sizes) != upload.size:
        raise BadParts(f"{upload.size} bytes were announced, and these parts have {sum(sizes)}", param="part_ids")
    files.check_room(user, upload.size)
    file = files.make(
        user,
        filename=upload.filename,
        purpose=upload.purpose,
        size=upload.size,
        seconds=upload.seconds or None,
        state="processed",
    )
    file = replace(file, file_id=upload.file_id)
    whole, digest = Assembly(file.key), hashlib.md5(usedforsecurity=False)
    for part_id in part_ids:
        piece = objects.read(f"files/{upload_id}/{part_id}")
        digest.update(piece)
        whole.add(piece)
    if md5 is not None and digest.hexdigest() != md5.lower():
        raise BadParts(f"the parts' md5 is {digest.hexdigest()}", param="md5")
    whole.close()
    done = table.update_op(
        key_of(user, upload_id),
        sets={"state": "completed"},
        same={"state": "pending"},
    )
    try:
        table.transact([done, files.row_op(file)])
    except table.ConditionFailed:
        upload = load(user, upload_id)
        if upload.state != "completed":
            raise Conflict(f"the upload is {upload.status}") from None
    _drop(user, upload_id)
    return replace(upload, state="completed"), file


def _sizes(user: str, upload_id: str, part_ids: Sequence[str]) -> list[int]:
    keys = {part_id: _part_key(user, upload_id, part_id) for part_id in part_ids}
    if not all(files.named(part_id, PART_PREFIX) for part_id in part_ids):
        raise BadParts("there is no such part", param="part_ids")
    found = {row["sk"]["S"]: int(plain(row["size"])) for row in table.get_many(list(keys.values()))}
    missing = [part_id for part_id, key in keys.items() if key["sk"]["S"] not in found]
    if missing:
        raise BadParts(f"there is no part {missing[0]}", param="part_ids")
    return [found[key["sk"]["S"]] for key in keys.values()]


def cancel(user: str, upload_id: str) -> Upload:
    """Give an upload up, and its parts.

    Raises:
        NotFound, Conflict: there is no such upload, or it is completed or has expired.
    """
    upload = load(user, upload_id)
    if upload.state == "cancelled":
        return upload
    _open(user, upload_id)
    cancelled = table.change(
        key_of(user, upload_id),
        sets={"state": "cancelled"},
        same={"state": "pending"},
    )
    if cancelled is None:
        raise Conflict("the upload is just being completed")
    _drop(user, upload_id)
    return replace(upload, state="cancelled")


def _drop(user: str, upload_id: str) -> None:
    """Delete the parts of an upload that is over; what is left of them expires."""
    for row in list(table.query(**under(files.partition(user), begins=f"{upload_id}#"))):
        objects.delete(row["s3"]["S"])
        sessions.delete_items([{"pk": row["pk"], "sk": row["sk"]}])
