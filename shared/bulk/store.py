"""Batches in the table: made, taken by one writer at a time, and changed by it alone.

Who takes a batch holds it for ``LEASE_SECONDS``, longer than the function that does so lives: nobody goes on with a
batch that another has taken since. Every commit is fenced by the batch's ``rev`` besides, which taking it raises.
"""

import secrets
from collections.abc import Iterator
from typing import Any

from shared.bulk import model
from shared.bulk.files import named
from shared.bulk.model import Batch, key_of, read
from shared.clock import now
from shared.errors import Conflict, Contended, LeaseLost, NotFound
from shared.settings import settings
from shared.tasks import blobs, numbered, table
from shared.tasks.items import Attributes, attribute, table_key
from shared.tasks.ranges import under

LEASE_SECONDS = 40.0
"""How long a batch is held: above the API function's timeout, 29 s."""
LOOK_SECONDS = 60.0
"""How long after it was worked at the sweeper has a batch looked at."""
TRIES = 4
"""Times that a commit is tried while another writer holds one of its items."""
OUT, ERR = "OUT", "ERR"
"""Kinds of pieces: of the output file, and of the error file."""


class TooMany(Conflict):
    """The user has as many batches under way as one may."""

    code = "too_many_batches"


def create(batch: Batch) -> None:
    """Write a new batch.

    Raises:
        TooMany: the user has ``max_batches`` under way.
        Contended, DependencyDown: nothing was written.
    """
    most = settings().max_batches
    if most == 0:
        raise TooMany("this deployment takes no batches")
    try:
        one_more = numbered.count_op(model.partition(batch.user), 1, most=most)
        table.transact([one_more, table.put_op(model.row_of(batch, due_at=now()))])
    except table.ConditionFailed:
        raise TooMany(f"there are {most} batches under way already; wait for one, or cancel it") from None


def load(user: str, batch_id: str) -> Batch:
    """Read a batch.

    Raises:
        NotFound: the user has none of that id.
    """
    row = table.get(key_of(user, batch_id)) if named(batch_id, model.PREFIX) else None
    if row is None:
        raise NotFound(f"No such Batch object: {batch_id.encode('ascii', 'replace').decode()[:80]}")
    return read(row)


def page(user: str, *, limit: int, after: str | None) -> tuple[list[Batch], bool]:
    """Return some of a user's batches, the newest first, and whether there are more."""
    start = key_of(user, after) if after is not None else None
    asked = under(model.partition(user), begins=model.PREFIX, after=start, ScanIndexForward=False, Limit=limit + 1)
    found: list[Batch] = []
    for row in table.query(**asked):
        if len(found) == limit:
            return found, True
        found.append(read(row))
    return found, False


def take(user: str, batch_id: str) -> Batch | None:
    """Take a batch to work at it; None while another has it, once it has ended, or when there is none.

    Raises:
        Contended, DependencyDown: try again.
    """
    at, mine = now(), secrets.token_hex(8)  # tells one's own write, which may be repeated, from another's
    row = table.change(
        key_of(user, batch_id),
        sets={"lease_until": at + LEASE_SECONDS, "due_at": at + LEASE_SECONDS + 1, "holder": mine},
        adds={"rev": 1},
        condition="attribute_exists(#due) AND (attribute_not_exists(#lease_until) OR #lease_until < :now)",
        values={"now": at},
    )
    return None if row is None else read(row)


def held(user: str, batch_id: str) -> bool:
    """Tell whether somebody works at a batch just now."""
    row = table.get(key_of(user, batch_id))
    return row is not None and float(row.get("lease_until", {"N": "0"})["N"]) >= now()


def commit(
    batch: Batch, *, out: str = "", err: str = "", more: tuple[dict[str, Any], ...] = (), release: bool = False
) -> Batch:
    """Write a batch as it is now, with what goes to its files, all of it or nothing; returns it.

    ``release`` gives it back. A batch that has ended is nobody's any more, and makes room for another.

    Raises:
        LeaseLost: another has taken it, or it was erased: nothing was written.
        Contended, DependencyDown: try again.
    """
    at = now()
    ops: list[dict[str, Any]] = []
    expires = batch.expires_at + settings().file_days * 86_400
    for kind, text in ((OUT, out), (ERR, err)):
        if text:
            n = batch.outs if kind == OUT else batch.errs
            key = _piece_key(batch.batch_id, kind, n) | {"ttl": attribute(int(expires))}
            ops.append(table.put_op(key | blobs.pack(text, f"files/{batch.batch_id}/{kind}{n}")))
    batch = batch.changed(outs=batch.outs + bool(out), errs=batch.errs + bool(err))
    sets: dict[str, Any] = {"state": model.state_of(batch)}
    if batch.ended:
        sets["ttl"] = int(at + settings().file_days * 86_400)
        ops.append(numbered.count_op(model.partition(batch.user), -1))
    elif release:
        sets |= {"lease_until": 0.0, "due_at": min(at + LOOK_SECONDS, max(at, batch.expires_at))}
    row = table.update_op(
        key_of(batch.user, batch.batch_id),
        sets=sets,
        removes=model.LIVE if batch.ended else (),
        same={"rev": batch.rev},
    )
    for tried in range(TRIES):
        try:
            table.transact([row, *ops, *more])
            break
        except table.ConditionFailed:
            raise LeaseLost("another works at the batch") from None
        except Contended:  # its owner cancels it, or begins another
            if tried == TRIES - 1:
                raise
    return batch


def give_back(batch: Batch) -> None:
    """Give a batch back, as it was last committed, to be looked at soon.

    Raises:
        Contended, DependencyDown: it comes back when the lease lapses.
    """
    table.change(
        key_of(batch.user, batch.batch_id),
        sets={"lease_until": 0.0, "due_at": now()},
        same={"rev": batch.rev},
        condition="attribute_exists(#due)",
    )


def _piece_key(batch_id: str, kind: str, n: int) -> Attributes:
    return table_key(f"BATCH#{batch_id}", f"{kind}#{n:08d}")


def pieces(batch_id: str, kind: str, first: int) -> Iterator[tuple[int, bytes]]:
    """Yield the pieces of a file from number ``first`` on.

    Raises:
        Gone, DependencyDown: one cannot be read.
    """
    places = f"{kind}#{first:08d}", f"{kind}#{99_999_999:08d}"
    for row in table.query(**under(f"BATCH#{batch_id}", between=places, ConsistentRead=True)):
        yield int(row["sk"]["S"].partition("#")[2]), blobs.unpack(row).encode()


def cancel(user: str, batch_id: str) -> Batch:
    """Note that a batch is to be cancelled; one that has ended stays as it is. Idempotent.

    Raises:
        NotFound: the user has none of that id.
        Contended, DependencyDown: try again.
    """
    found = load(user, batch_id)
    if found.ended or found.cancel_at:
        return found
    at = now()
    row = table.change(
        key_of(user, batch_id),
        sets={"cancel_at": at, "due_at": at},
        condition="attribute_exists(#due) AND attribute_not_exists(#cancel_at)",
    )
    return load(user, batch_id) if row is None else read(row)


def stop(batch: Batch) -> bool:
    """End a batch as it is, to be erased; False while somebody works at it, who is told that it is cancelled.

    Raises:
        Contended, DependencyDown: try again.
    """
    at = now()
    stopped = table.change(
        key_of(batch.user, batch.batch_id),
        sets={"state": model.state_of(batch.reached("cancelled", at))},
        adds={"rev": 1},
        removes=model.LIVE,
        condition="attribute_not_exists(#lease_until) OR #lease_until < :now",
        values={"now": at},
    )
    if stopped is None:
        cancel(batch.user, batch.batch_id)
    return stopped is not None


def due(shard: str, *, before: float, limit: int) -> list[tuple[str, str]]:
    """Return (user, id) of batches that are to be looked at, those that are due for longest first."""
    found = table.due(shard, before=before, limit=limit)
    return [(one["pk"]["S"].partition("#")[2], one["sk"]["S"]) for one in found]


def look_later(user: str, batch_id: str) -> None:
    """Note that a batch's message was just sent again.

    Raises:
        Contended, DependencyDown: another is sent at the next look, which does no harm.
    """
    at = now()
    table.change(
        key_of(user, batch_id),
        sets={"due_at": at + LOOK_SECONDS},
        condition="attribute_exists(#due) AND #due_at <= :now",
        values={"now": at},
    )
