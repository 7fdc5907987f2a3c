"""The end of a batch: its pieces are put together to the output file and the error file."""

from dataclasses import replace
from time import monotonic
from typing import Any

from shared.bulk import files, room, store
from shared.bulk.assembly import Assembly
from shared.bulk.model import Batch
from shared.clock import now
from shared.errors import Contended, DependencyDown, NotFound
from shared.logs import get_logger
from shared.tasks import partitions

FINAL = {"cancelled": "cancelled", "expired": "expired", "input_file_gone": "failed"}
"""The status of a batch that did not run all its lines; of any other: completed."""
KINDS = (store.OUT, store.ERR)
NAMES = {store.OUT: "output", store.ERR: "error"}

_log = get_logger("bulk")


def close(batch: Batch, until: float) -> tuple[Batch, str]:
    """Go on with putting the files together; returns the batch, and whether there is more to do ``now``.

    Raises:
        LeaseLost, Contended, DependencyDown: nothing of this go is noted.
    """
    state: dict[str, Any] = dict(batch.closing)
    if not state:  # the files' names first: whoever goes on writes the same ones
        state = {kind: {"id": files.new_id(files.PREFIX), "next": 0, "noted": [], "size": -1} for kind in KINDS}
        batch = store.commit(batch.changed(closing=state))
    for kind, count in ((store.OUT, batch.outs), (store.ERR, batch.errs)):
        if count and state[kind]["size"] < 0:
            try:
                done = _assemble(batch, kind, state[kind], until)
            except NotFound:  # it was made whole, but not noted, or given up: from the beginning
                done = {**state[kind], "next": 0, "noted": []}
            state = {**state, kind: done}
            batch = store.commit(batch.changed(closing=state))
            if done["size"] < 0:
                return batch, "now"
    at = now()
    rows, ids = [], {}
    for kind, count in ((store.OUT, batch.outs), (store.ERR, batch.errs)):
        if count:
            file = _file(batch, kind, state[kind], at)
            rows.append(files.row_op(file))
            ids[kind] = file.file_id
    batch = batch.changed(output_id=ids.get(store.OUT, ""), error_id=ids.get(store.ERR, ""))
    batch = store.commit(batch.reached(FINAL.get(batch.ending, "completed"), at), more=tuple(rows))
    room.leave(batch.user, batch.batch_id)
    try:
        partitions.delete(f"BATCH#{batch.batch_id}")
    except (Contended, DependencyDown) as error:
        _log.warning("pieces are left to expire", extra={"batch_id": batch.batch_id, "error": error.message})
    return batch, ""


def _assemble(batch: Batch, kind: str, state: dict[str, Any], until: float) -> dict[str, Any]:
    whole = Assembly.resume(f"files/{state['id']}", state["noted"])
    place = dict(state)
    for n, piece in store.pieces(batch.batch_id, kind, state["next"]):
        if whole.add(piece):
            place = {**state, "next": n + 1, "noted": [whole.upload_id, list(whole.etags), whole.size]}
            if monotonic() > until:
                return place
    return {**place, "size": whole.close()}


def _file(batch: Batch, kind: str, state: dict[str, Any], at: float) -> files.File:
    made = files.make(
        batch.user,
        filename=f"{batch.batch_id}_{NAMES[kind]}.jsonl",
        purpose=files.OUTPUT,
        size=int(state["size"]),
        seconds=batch.keep_s or None,
        state="processed",
    )
    return replace(made, file_id=state["id"], made_at=at)
