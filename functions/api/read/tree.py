"""A run with all the runs below it, as their owner sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared import wire
from shared.tasks import family, table
from shared.tasks.items import read_task, row_key

if TYPE_CHECKING:
    from shared.tasks.model import Task

MOST = 2_000
"""Most runs of one tree that an answer holds; where there are more it says so."""
FRAME_BYTES = 32
"""What holds a run's children in an answer: their name, brackets, a comma."""


def of(task: Task, *, most_bytes: int = wire.ANSWER_BYTES) -> dict[str, Any]:
    """Return a run's tree, level by level as far as there is room, with what all of it has cost so far.

    What does not fit any more is left out with all that is below it, and ``more`` says so; the run itself never is.

    Raises:
        DependencyDown: DynamoDB is away.
    """
    root = _node(task)
    level, count, cost, more = [(task, root)], 1, task.paid.micro_usd, False
    room = most_bytes - wire.wire_bytes(root) - FRAME_BYTES
    while level and room >= 0:
        wanted: dict[str, dict[str, Any]] = {}
        for parent, node in level:
            for group in family.groups(parent.task_id) if parent.children else ():
                wanted |= dict.fromkeys(family.ids(parent.task_id, group), node)
        ids = list(wanted)[: MOST - count]
        more = more or len(ids) < len(wanted)
        rows: dict[str, Task] = {}
        for start in range(0, len(ids), table.READ_AT_ONCE):
            keys = [row_key(task_id) for task_id in ids[start : start + table.READ_AT_ONCE]]
            rows |= {found.task_id: found for found in map(read_task, table.get_many(keys))}
        level = []
        for task_id in ids:
            if (child := rows.get(task_id)) is not None:
                node = _node(child)
                room -= wire.wire_bytes(node) + FRAME_BYTES
                if room < 0:
                    more = True
                    break
                wanted[task_id].setdefault("children", []).append(node)
                level.append((child, node))
                cost += child.paid.micro_usd
        count += len(level)
    return {"root": root, "runs": count, "cost_usd": cost / 1_000_000, "more": more}


def _node(task: Task) -> dict[str, Any]:
    shown: dict[str, Any] = {"task_id": task.task_id, "status": str(task.status), "agent": task.agent}
    shown["cost_usd"] = task.paid.micro_usd / 1_000_000
    if task.family:
        shown["step"] = task.family.rpartition("#")[0]
    if task.error:
        shown["error"] = task.error
    return shown
