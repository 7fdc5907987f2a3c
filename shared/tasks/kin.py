"""What the end of a run means for its relatives: its parent may go on, and its children end with it.

Both are safe to repeat. The sweeper does what is lost here: it looks after parents that wait, and after ended ones
until no child of theirs is live.
"""

from collections.abc import Callable

from shared.errors import Conflict, Contended, DependencyDown, NewerVersion, NotFound
from shared.limits.admission import Gate
from shared.logs import get_logger
from shared.tasks import family, inbox, settle, table, waits, waking
from shared.tasks.items import read_task, row_key
from shared.tasks.model import Status, Task

type Finished = Callable[[Gate, Task], bool]

AT_ONCE = 25
"""Children that whoever ends their parent ends itself; the sweeper sees to more."""

_log = get_logger("kin")


def tell_parent(gate: Gate, task: Task) -> None:
    """Have a parent woken if this child was the last of its group to end.

    Raises:
        Contended, DependencyDown: the sweeper does it.
    """
    if task.parent is not None and task.family is not None:
        _join(gate, task.parent, task.family, task.family_size)


def look_after_parent(gate: Gate, task: Task) -> bool:
    """Wake a waiting parent whose children have all ended; returns whether it waits for any.

    Raises:
        Contended, DependencyDown: try again.
    """
    waiting = [one for one in waits.of_row(task) if one.kind == "children"]
    for one in waiting:
        about = one.more or {}
        _join(gate, task.task_id, str(about["group"]), int(about["of"]))
    return bool(waiting)


def _join(gate: Gate, parent_id: str, key: str, total: int) -> None:
    if not family.all_ended(parent_id, key, total):
        return
    try:
        receipt = inbox.post(parent_id, family.signal_name(key), {"ended": total}, key="all")
    except (NotFound, Conflict):
        return  # it has ended itself
    if receipt.woken:
        waking.send(gate, receipt.task)


def end_children(gate: Gate, task: Task, finished: Finished, *, most: int = AT_ONCE) -> int:
    """Cancel the live children of a run that has ended, ``most`` of them; returns how many may still be live.

    ``finished`` is `aftermath.finished`, which sees to what follows the end of each.
    """
    live = 0
    for group in family.groups(task.task_id):
        for row in table.get_many([*map(row_key, family.ids(task.task_id, group))]):
            try:
                child = read_task(row)
            except NewerVersion:
                live += 1
                continue
            if child.status.terminal:
                continue
            if most <= 0 or not _end(gate, child, finished):
                live += 1
            most -= 1
    return live


def _end(gate: Gate, child: Task, finished: Finished) -> bool:
    try:
        after = settle.cancel(child.task_id, child.user)
    except NotFound:
        return True
    except Contended:
        return False
    if after.status is Status.CANCELLED:
        finished(gate, after)
    return after.status.terminal


def relatives(gate: Gate, task: Task, finished: Finished) -> None:
    """See to a run's relatives at its end; never raises for it."""
    try:
        tell_parent(gate, task)
        if task.may_leave_children:
            end_children(gate, task, finished)
    except (DependencyDown, Contended) as error:
        _log.warning("relatives not seen to", extra={"task_id": task.task_id, "error": error.message})
