"""A page of pending approvals: as much of it as an answer holds, and as is read in the time that a request has."""

from typing import Any

from shared import wire
from shared.tasks import approvals
from shared.tasks.model import Task, dumps

READS = 200
"""Most arguments of a page that are kept apart from their task's row, and cost a read each."""


class Page:
    """Approvals of whole tasks, one task after the other."""

    def __init__(self, most_bytes: int = wire.ANSWER_BYTES, reads: int = READS) -> None:
        self.shown: list[dict[str, Any]] = []
        self._room, self._reads = most_bytes, reads

    def take(self, task: Task) -> bool:
        """Add what a task waits to be allowed; False, with nothing added, where it is to begin a page of its own.

        Arguments that do not fit are left out: their approval is fetched by itself. The first task's approvals always
        fit without them: a run waits for a hundred things at most, which its row holds.
        """
        first, room, reads = not self.shown, self._room, self._reads
        added: list[dict[str, Any]] = []
        for one in approvals.in_row(task):
            if approvals.apart(one):
                if not reads and not first:
                    return False
                approvals.fill(task, one)
                reads -= 1
            item = shown(task, one)
            size = wire.wire_bytes(item)
            if size > room:
                item |= {"arguments": None, "arguments_bytes": len(dumps(item.get("arguments")).encode())}
                size = wire.wire_bytes(item)
            if size > room and not first:
                return False
            room -= size
            added.append(item)
        self.shown += added
        self._room, self._reads = room, reads
        return True


def shown(task: Task, approval: dict[str, Any]) -> dict[str, Any]:
    """Return an approval as clients see it, with its task."""
    return {"task_id": task.task_id, "agent": task.agent, "session_id": task.session_id or None, **approval}
