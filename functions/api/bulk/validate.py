"""Reads a batch's file through before anything runs; a long one in several goes, each from where the last ended."""

import hashlib
from time import monotonic

from functions.api.bulk.lines import LINE_BYTES, Fault, fault_of, read_through
from shared.bulk import objects, store
from shared.bulk.model import Batch
from shared.clock import now
from shared.errors import NotFound
from shared.settings import settings

ERRORS = 100
"""Faults that a batch tells of."""
DIGEST_BYTES = 16
LOOKS = 200
LOOK_BYTES = 4 * 1024 * 1024
"""Lines, and bytes, between two looks at the clock."""


def validate(batch: Batch, until: float) -> tuple[Batch, str]:
    """Go on with reading the file; returns the batch, and whether there is more to do ``now``.

    Raises:
        LeaseLost, Contended, DependencyDown: nothing of this go is noted.
    """
    if batch.ending:
        return store.commit(batch.changed(total=0, errors=[]).reached("finalizing", now())), "now"
    key = f"files/{batch.file_id}"
    errors, number, total, offset = list(batch.errors), batch.number, batch.total, batch.offset
    done, looked = False, offset
    try:
        seen = _load(batch.seen)
        for at, raw in read_through(key, offset, batch.size):
            number += 1
            offset = at + len(raw) + 1
            if raw.strip():
                total += 1
                fault = _look(raw, batch.endpoint, total, seen)
                if fault is not None and len(errors) < ERRORS:
                    errors.append(fault.public(number))
                if total > settings().max_batch_lines or len(raw) > LINE_BYTES:
                    done = True  # no use in reading on
                    break
            if number % LOOKS == 0 or offset - looked > LOOK_BYTES:
                looked = offset
                if monotonic() > until:
                    break
        done = done or offset >= batch.size
    except NotFound:
        errors, done = [Fault("file_not_found", "the file is not there any more").public(0) | {"line": None}], True
    if not done:
        # Under a name of this go's own: a writer who lost the batch meanwhile must not write over what the next needs.
        name = f"files/{batch.batch_id}/seen-{batch.rev}-{number}"
        _store(name, seen)
        batch = batch.changed(errors=errors, number=number, total=total, offset=offset, seen=name)
        return store.commit(batch), "now"
    if total == 0 and not errors:
        errors = [Fault("empty_file", "the file holds no request").public(0) | {"line": None}]
    if errors:
        return store.commit(batch.changed(errors=errors, seen="").reached("failed", now())), ""
    batch = batch.changed(total=total, number=0, offset=0, seen="")
    return store.commit(batch.reached("in_progress", now())), "now"


def _look(raw: bytes, endpoint: str, total: int, seen: set[bytes]) -> Fault | None:
    most = settings().max_batch_lines
    if total > most:
        return Fault("too_many_lines", f"a batch may have {most} lines")
    found = fault_of(raw, endpoint)
    if isinstance(found, Fault):
        return found
    digest = hashlib.blake2b(found.encode("utf-8", "surrogatepass"), digest_size=DIGEST_BYTES).digest()
    if digest in seen:
        return Fault("duplicate_custom_id", "an earlier line has the same custom_id", "custom_id")
    seen.add(digest)
    return None


def _load(name: str) -> set[bytes]:
    data = objects.read(name) if name else b""
    return {data[at : at + DIGEST_BYTES] for at in range(0, len(data), DIGEST_BYTES)}


def _store(name: str, seen: set[bytes]) -> None:
    from shared.bulk.assembly import Assembly

    whole = Assembly(name)
    whole.add(b"".join(seen))
    whole.close()
