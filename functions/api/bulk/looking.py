"""One look at a batch, and the messages that ask for one."""

from contextlib import suppress
from time import monotonic
from typing import Any

from functions.api.bulk import close, feed, validate
from shared.bulk import pokes, room, store
from shared.bulk.model import Batch
from shared.clock import now
from shared.errors import Contended, DependencyDown, Gone, LeaseLost, NewerVersion
from shared.logs import get_logger
from shared.tasks import lanes

SECONDS = 15.0
"""How long one look goes on; its function has 29 s."""

_log = get_logger("bulk")


def take(event: dict[str, Any]) -> dict[str, Any]:
    """Look at the batches of a queue's messages; returns which are to come again."""
    failed = []
    for record in event["Records"]:
        try:
            user, batch_id = pokes.parse(record["body"])
            look(user, batch_id)
        except (lanes.BadMessage, NewerVersion) as error:
            _log.warning("left alone", extra={"error": error.message})
        except (DependencyDown, Contended) as error:
            _log.warning("comes again", extra={"error": error.message})
            failed.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failed}


def look(user: str, batch_id: str) -> str:
    """Bring a batch as far as it gets now; returns its status, empty when there is nothing to do.

    Raises:
        DependencyDown, Contended: not all was done; the same message goes on with it.
    """
    pokes.begun(batch_id)
    batch = store.take(user, batch_id)
    if batch is None:
        if store.held(user, batch_id):  # whoever has it may have looked before that happened which this tells of
            pokes.soon(user, batch_id)
        return ""
    try:
        batch, more = _work(batch, monotonic() + SECONDS)
    except LeaseLost:
        return ""
    except (DependencyDown, Contended):
        with suppress(DependencyDown, Contended):  # then it comes back when the lease lapses
            store.give_back(batch)
        raise
    except Gone:
        _log.exception("a piece of a batch's output is gone", extra={"batch_id": batch_id})
        batch, more = store.commit(_broken(batch)), ""
    if batch.ended:
        _log.info("batch ended", extra={"batch_id": batch_id, "status": batch.status, "lines": batch.total})
        return batch.status
    try:
        store.commit(batch, release=True)
    except LeaseLost:
        return ""
    if more == "now":
        pokes.send(user, batch_id)
    elif more == "again":
        pokes.soon(user, batch_id, delay_s=pokes.AGAIN_SECONDS)
    return batch.status


def _work(batch: Batch, until: float) -> tuple[Batch, str]:
    if not batch.ending and batch.status in ("validating", "in_progress"):
        if batch.cancel_at:
            batch = batch.changed(ending="cancelled")
        elif now() >= batch.expires_at:
            batch = batch.changed(ending="expired")
        if batch.ending:
            room.leave(batch.user, batch.batch_id)
    while True:
        if batch.status == "validating":
            batch, more = validate.validate(batch, until)
        elif batch.status == "in_progress":
            batch, more = feed.advance(batch)
        else:
            batch, more = close.close(batch, until)
        if batch.ended or more != "now" or monotonic() > until:
            return batch, more


def _broken(batch: Batch) -> Batch:
    error = {"code": "output_gone", "line": None, "message": "a part of the output is gone", "param": None}
    return batch.changed(errors=[error]).reached("failed", now())
