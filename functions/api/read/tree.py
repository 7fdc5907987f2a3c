"""A run with all the runs below it, as their owner sees them."""

from collections.abc import Iterator
from typing import Any

from shared import wire
from shared.tasks import family, listing, table
from shared.tasks.items import Attributes, read_task, row_key
from shared.tasks.model import Task

MOST = 2_000
"""Most runs of one tree that an answer holds; where there are more it says so."""
FRAME_BYTES = 32
"""What holds a run's children in an answer: their name, brackets, a comma."""


def of(task: Task, *, most_bytes: int = wire.ANSWER_BYTES) -> dict[str, Any]:
    """Return a run's tree, level by level as far as there is room, with what all of it has cost so far.

    What does not fit any more is left out with all that is below it, and ``more`` says so; the run itself never is.
    """
    nodes = {task.task_id: _node(task)}
    cost, more = task.paid.micro_usd, False
    room = most_bytes - wire.wire_bytes(nodes[task.task_id]) - FRAME_BYTES
    for rows, cut in _levels(task):
        more = more or cut
        for parent, row in rows:
            child = read_task(row)
            node = _node(child)
            room -= wire.wire_bytes(node) + FRAME_BYTES
            if room < 0:
                more = True
                break
            nodes[child.task_id] = node
            nodes[parent].setdefault("children", []).append(node)
            cost += child.paid.micro_usd
        if room < 0:
            break
    return {"root": nodes[task.task_id], "runs": len(nodes), "cost_usd": cost / 1_000_000, "more": more}


def summaries(task: Task) -> list[dict[str, Any]]:
    """Return what lists show of a run and of all runs below it, the newest first."""
    rows = table.get_many([row_key(task.task_id)])
    rows += [row for level, _ in _levels(task) for _, row in level]
    return sorted(map(listing.summary_of, rows), key=lambda one: (one["created"], one["task_id"]), reverse=True)


def _levels(task: Task) -> Iterator[tuple[list[tuple[str, Attributes]], bool]]:
    """Yield the rows of each level below a run, with their parents, and whether there was no room for all of them."""
    level, count = [task], 1
    while level:
        wanted: dict[str, str] = {}
        for parent in level:
            for group in family.groups(parent.task_id) if parent.children else ():
                wanted |= dict.fromkeys(family.ids(parent.task_id, group), parent.task_id)
        ids = list(wanted)[: MOST - count]
        rows = {row["pk"]["S"]: row for row in table.get_many([*map(row_key, ids)])}
        found = [(wanted[one], row) for one in ids if (row := rows.get(row_key(one)["pk"]["S"])) is not None]
        level = [read_task(row) for _, row in found]
        count += len(level)
        if found or len(ids) < len(wanted):
            yield found, len(ids) < len(wanted)


def _node(task: Task) -> dict[str, Any]:
    shown: dict[str, Any] = {"task_id": task.task_id, "status": str(task.status), "agent": task.agent}
    shown["cost_usd"] = task.paid.micro_usd / 1_000_000
    if task.family:
        shown["step"] = task.family.rpartition("#")[0]
    if task.error:
        shown["error"] = task.error
    return shown
