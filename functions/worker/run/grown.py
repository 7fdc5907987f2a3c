"""What became of a run's children, as their parent is told."""

from typing import Any

from shared.tasks import ceilings, family, settle, table
from shared.tasks.family import Group
from shared.tasks.items import read_task, row_key
from shared.tasks.model import Task
from sluice.errors import ChildFailed
from sluice.types import AgentResult


def rows(parent_id: str, group: Group) -> dict[int, Task]:
    """Read the children that are there, by number."""
    wanted = family.ids(parent_id, group)
    found = {task.task_id: task for task in map(read_task, table.get_many([*map(row_key, wanted)]))}
    return {n: found[child_id] for n, child_id in enumerate(wanted) if child_id in found}


def ends(parent_id: str, group: Group) -> list[dict[str, Any]]:
    """Read how the children ended, in their order."""
    there = rows(parent_id, group)
    return [_told(child_id, there.get(n)) for n, child_id in enumerate(family.ids(parent_id, group))]


def _told(child_id: str, task: Task | None) -> dict[str, Any]:
    if task is None:
        gone = {"code": "not_found", "message": "the run was deleted", "type": "not_found_error"}
        return {"task_id": child_id, "status": "failed", "micro_usd": 0, "error": gone}
    told: dict[str, Any] = {"task_id": child_id, "status": str(task.status), "micro_usd": task.micro_usd}
    if more := task.raised.get(ceilings.OWN):
        told["raised"] = more
    if task.error:
        told["error"] = task.error
    if (kept := settle.result_of(task)) is not None:
        told |= {"response": kept["response"], "data": kept.get("data")}
    return told


def result(one: dict[str, Any]) -> AgentResult:
    """Return what a child that completed found.

    Raises:
        ChildFailed: it did not complete.
    """
    if one["status"] != "complete":
        raise failure(one)
    return AgentResult(one["response"], one.get("data"))


def failure(one: dict[str, Any]) -> ChildFailed:
    """Return the error that says how a child ended otherwise."""
    return ChildFailed(one["task_id"], one["status"], one.get("error"))
