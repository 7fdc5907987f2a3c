"""Runs that other runs started: a parent's groups of children, and how it learns that a group has ended.

A child's id follows from its parent's, so that a repeated start finds the children that are there. Every child counts
its end in the transaction that ends it: in one of several items of its group, so that a thousand ends meet in none.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from shared.clock import now
from shared.errors import TooLarge
from shared.settings import settings
from shared.tasks import events, table
from shared.tasks.ids import PREFIX
from shared.tasks.items import item, plain, row_key
from shared.tasks.model import Task
from shared.tasks.ranges import under

GROUP, JOIN = "WAIT#GROUP#", "WAIT#JOIN#"
ENDS_PER_ITEM = 32
"""About how many ends of children one item counts."""
MOST_ITEMS = 32


@dataclass(frozen=True, slots=True)
class Group:
    """Children that one step of a run started; ``name`` and ``nth`` are the step's."""

    name: str
    nth: int
    total: int
    micro_usd: int = 0
    """What each child may cost; 0: no ceiling but the day's."""
    fresh: bool = field(default=True, compare=False)
    """Whether no worker before this one noted it."""

    @property
    def key(self) -> str:
        """What identifies it within its parent."""
        return f"{self.name}#{self.nth}"

    @property
    def share(self) -> int:
        """What they may cost together, micro-USD."""
        return self.micro_usd * self.total

    @property
    def signal(self) -> str:
        """Name of the signal that tells its parent of its end."""
        return signal_name(self.key)


def signal_name(key: str) -> str:
    """Return the name of the signal that tells of the end of a group."""
    return f"children:{key.replace('#', ':')}"


def child_id(parent_id: str, key: str, n: int) -> str:
    """Return the id of the ``n``-th child (from 0) of a group: as long as any other, with its parent's time."""
    digest = hashlib.sha256(f"{parent_id}\n{key}\n{n}".encode()).hexdigest()
    return f"{PREFIX}{parent_id.removeprefix(PREFIX)[:12]}{digest[:20]}"


def begin(task: Task, group: Group) -> Group:
    """Note a group, which is none of the run's `groups` yet, in its parent, which this worker holds.

    Raises:
        TooLarge: the run would have more children, or ancestors, than it may.
        LeaseLost: the task is no longer ours.
        Contended, DependencyDown: try again.
    """
    from shared.tasks.leases import held

    where = row_key(task.task_id, GROUP + group.key)
    most = settings().max_children
    if task.children + group.total > most:
        raise TooLarge(f"a run starts {most} others at most")
    if task.depth >= settings().max_depth:
        raise TooLarge(f"runs start others {settings().max_depth} levels deep at most")
    at = now()
    values = {"total": group.total, "micro_usd": group.micro_usd, "begun": at, "ttl": int(events.expires(at))}
    # Not `held`: an event that is written just now moves the end of the log, which is no concern of this.
    row = table.update_op(
        row_key(task.task_id),
        sets={"refused": task.refused} if task.refused else {},  # without these it might not have been begun
        adds={"children": group.total},
        same=held(task.lease_no),
    )
    put = table.put_op(where | item(values), condition="attribute_not_exists(pk)")
    task.children += group.total  # before: a group that another branch begins meanwhile must not find the same room
    try:
        _note(row, put)
    except BaseException:
        task.children -= group.total
        raise
    return group


def _note(row: dict[str, Any], put: dict[str, Any]) -> None:
    from shared.tasks.leases import was_written

    try:
        table.transact([row, put])
    except table.ConditionFailed as refusal:
        # Where only the group is refused, the lease is ours: an earlier try noted it, and its answer was lost.
        if refusal.items.keys() | refusal.unseen != {1}:
            there = {name: put["Put"]["Item"][name] for name in ("pk", "sk")}
            was_written(refusal, lambda _: table.get(there) is not None)


def begun(parent_id: str, key: str) -> float | None:
    """Return when a run began to start the children of a group, epoch seconds; None where nothing says so."""
    row = table.get(row_key(parent_id, GROUP + key))
    return float(plain(row["begun"])) if row is not None and "begun" in row else None


def ended_ops(task: Task, *, expires: float) -> list[dict[str, Any]]:
    """Make the Update that counts a child's end, for the transaction that ends it; none for a task without a parent."""
    if task.parent is None or task.family is None:
        return []
    items = min(MOST_ITEMS, -(-task.family_size // ENDS_PER_ITEM))
    where = row_key(task.parent, f"{JOIN}{task.family}#{task.child_no % items}")
    whole_days = -(-int(expires) // 86_400) * 86_400  # as in `spend`: ends that are written together add up
    return [table.update_op(where, adds={"done": 1}, sets={"ttl": whole_days})]


def all_ended(parent_id: str, key: str, total: int) -> bool:
    """Tell whether all children of a group have ended."""
    found = table.query(**under(f"TASK#{parent_id}", begins=f"{JOIN}{key}#", ConsistentRead=True))
    return sum(int(plain(row["done"])) for row in found) >= total


def groups(parent_id: str) -> Iterator[Group]:
    """Yield the groups of a run's children, as they were noted."""
    for row in table.query(**under(f"TASK#{parent_id}", begins=GROUP, ConsistentRead=True)):
        name, _, nth = row["sk"]["S"].removeprefix(GROUP).rpartition("#")
        yield Group(name, int(nth), plain(row["total"]), plain(row["micro_usd"]), fresh=False)


def ids(parent_id: str, group: Group) -> list[str]:
    """Return the ids of a group's children, in their order."""
    return [child_id(parent_id, group.key, n) for n in range(group.total)]
