"""What a run leaves with its end: its answer, and the events that were not stored before, together and compressed.

An answer and the text that was streamed of it are the same words, which compression keeps once. It stays in the row
where that costs no write unit more, and else in an item of its own, written first: only the ended row names it, by its
content, so a late worker's item is nobody's.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from shared.errors import NotFound
from shared.tasks import blobs, items, table
from shared.tasks.items import attribute, item, task_row
from shared.tasks.model import Task, dumps

MOST_INLINE = 8_000
"""What is longer is not even tried: compressed it is far larger than a row's room."""


def keep(
    task: Task,
    sets: dict[str, Any],
    removes: Sequence[str],
    texts: dict[str, Any],
    log: Sequence[dict[str, Any]],
    *,
    expires: float,
) -> dict[str, Any]:
    """Return the attributes by which an ended row tells of texts (``response``, ``data``) and last events.

    ``sets`` and ``removes`` are what else the write of the end changes in the row.

    Raises:
        TooLarge: it fits nowhere.
        Contended, DependencyDown: it was not kept; try again.
    """
    content = {name: value for name, value in (("events", list(log)), *texts.items()) if value}
    if not content:
        return {}
    text = dumps(content)
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    if len(text) <= MOST_INLINE:
        row = {name: value for name, value in (task_row(task, due_at=0) | item(sets)).items() if name not in removes}
        small = blobs.pack_small(content)
        if items.fits(row, len("ending") + len(small)):
            return {"ending": small}
    packed = blobs.pack(text, f"tasks/{task.task_id}/end", plain_bytes=blobs.SMALL_BYTES)
    sk = f"END#{digest}"
    op = table.put_op(
        {"pk": attribute(f"TASK#{task.task_id}"), "sk": attribute(sk), "ttl": attribute(int(expires)), **packed}
    )
    table.put(op)
    return {"ending_at": sk}


def read(task: Task) -> dict[str, Any]:
    """Return what was kept: ``response``, ``data``, ``events``, as far as there are any.

    Raises:
        NotFound: the item is gone.
        Gone: the object that it names is.
    """
    found: dict[str, Any] = {}
    if task.ending is not None:
        found = blobs.read_small(task.ending)
    elif task.ending_at is not None:
        there = table.get({"pk": attribute(f"TASK#{task.task_id}"), "sk": attribute(task.ending_at)})
        if there is None:
            raise NotFound("the task has no result any more")
        found = json.loads(blobs.unpack(there))
    return found


def has(task: Task) -> bool:
    """Whether a task's answer, or its last events, are kept so."""
    return task.ending is not None or task.ending_at is not None
