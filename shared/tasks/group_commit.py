"""Group commit: transactions that an environment's runs want at the same moment go out as one.

A transaction that finds nobody writing is sent at once and alone, so nothing waits for company. While one is on its way
the others collect, and the next to lead takes along what fits: a busy environment pays for one request where it paid
for ten (DeWitt et al., "Implementation Techniques for Main Memory Database Systems", SIGMOD 1984). A second request
goes out beside the first when what waits fills a group, or the first is late. Nobody's transaction rests on another's:
if a group is refused, each goes by itself and gets its own answer.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from shared.errors import DependencyDown, ItemThrottled

Operation = dict[str, Any]
"""``{"Put": …}`` or ``{"Update": …}``, as the low-level client takes it."""

WRITERS = 2
"""Most requests under way at once: one that hangs does not hold up the environment."""
LATE_SECONDS = 0.1
"""How long a request is under way before another goes out beside it, whatever waits; ten times what DynamoDB takes."""
GROUP_OPERATIONS = 40
"""Most operations of a group, about ten runs'. DynamoDB takes 100; what a larger group saves is little."""
GROUP_BYTES = 1_000_000
"""Most content of a group, roughly counted. DynamoDB takes 4 MB; a larger transaction goes alone."""


@dataclass(slots=True, eq=False)
class _Transaction:
    operations: list[Operation]
    turn: threading.Event = field(default_factory=threading.Event)
    leads: bool = False
    alone: bool = False
    outage: DependencyDown | None = None


class GroupCommit:
    """Sends transactions through ``write``, in groups when there are many. Thread-safe."""

    def __init__(self, write: Callable[[list[Operation]], None]) -> None:
        self._write = write
        self._lock = threading.Lock()
        self._writers = 0
        self._waiting: deque[_Transaction] = deque()

    def commit(self, operations: list[Operation]) -> None:
        """Write all of the operations or none; returns, or raises what ``write`` raises, once that is known."""
        mine = _Transaction(operations)
        self._join([mine])
        self._see_through(mine)

    def commit_each(self, transactions: Sequence[list[Operation]]) -> list[Exception | None]:
        """Do the same for several that are wanted at once; returns, by position, what ``commit`` would have raised."""
        joined = [_Transaction(operations) for operations in transactions]
        self._join(joined)
        failed: list[Exception | None] = []
        for mine in joined:
            try:
                self._see_through(mine)
                failed.append(None)
            except Exception as error:
                failed.append(error)
        return failed

    def _join(self, joined: Sequence[_Transaction]) -> None:
        with self._lock:
            self._waiting.extend(joined)
            if self._waiting and self._may_lead():
                self._lead_on(self._waiting[0])

    def _see_through(self, mine: _Transaction) -> None:
        """Write a transaction that waits, or wait until another has written it."""
        if not mine.leads:
            while not mine.turn.wait(LATE_SECONDS):
                self._lead_if_late(mine)
        if mine.leads:
            self._lead(mine)
        if mine.outage is not None:
            raise DependencyDown(mine.outage.dependency) from mine.outage
        if mine.alone:
            self._write(mine.operations)

    def _may_lead(self) -> bool:
        """Whether another request may go out now: nobody writes, or what waits fills a group."""
        if self._writers == 0:
            return True
        waiting = sum(len(each.operations) for each in self._waiting)
        return self._writers < WRITERS and waiting > GROUP_OPERATIONS

    def _lead_on(self, heir: _Transaction) -> None:
        self._waiting.remove(heir)
        self._writers += 1
        heir.leads = True
        heir.turn.set()

    def _lead_if_late(self, mine: _Transaction) -> None:
        with self._lock:
            if mine in self._waiting and self._writers < WRITERS:
                self._lead_on(self._waiting[0])

    def _lead(self, mine: _Transaction) -> None:
        """Write one's own transaction and what fits beside it, then let the next one lead."""
        group = _Group(mine)
        try:
            with self._lock:
                self._waiting = deque(other for other in self._waiting if not group.takes(other))
            self._write(group.operations)
        except DependencyDown as outage:
            # One item that is written too often does not concern those who only happened to be sent along with it.
            by_itself = isinstance(outage, ItemThrottled) and len(group.members) > 1
            for member in group.members:
                member.alone, member.outage = by_itself, None if by_itself else outage
        except BaseException as error:
            for member in group.members:
                member.alone = True
            if len(group.members) == 1 or not isinstance(error, Exception):
                raise
        finally:
            for member in group.members[1:]:
                member.turn.set()
            self._hand_over()

    def _hand_over(self) -> None:
        with self._lock:
            self._writers -= 1
            if self._waiting and self._may_lead():
                self._lead_on(self._waiting[0])


class _Group:
    """Transactions that can be one: it may write no item twice, but additions to one item are summed up."""

    def __init__(self, first: _Transaction) -> None:
        self.members = [first]
        self._by_item = {_item_of(operation): operation for operation in first.operations}
        self._bytes: int | None = None
        self._first = first

    @property
    def operations(self) -> list[Operation]:
        """What is written; a transaction without company as it was given."""
        return self._first.operations if len(self.members) == 1 else list(self._by_item.values())

    def takes(self, other: _Transaction) -> bool:
        """Add a transaction if it fits."""
        if len(self._by_item) + len(other.operations) > GROUP_OPERATIONS:
            return False
        if self._bytes is None:
            repeats = len(self._by_item) < len(self._first.operations)  # DynamoDB is to refuse that, not to see half
            self._bytes = GROUP_BYTES if repeats else _size(self._first.operations)
        size = self._bytes + _size(other.operations)
        if size > GROUP_BYTES:
            return False
        added: dict[tuple[str, str], Operation] = {}
        for operation in other.operations:
            item = _item_of(operation)
            if item in added:
                return False
            there = self._by_item.get(item)
            together = operation if there is None else _sum(there, operation)
            if together is None:
                return False
            added[item] = together
        self._by_item |= added
        self._bytes = size
        self.members.append(other)
        return True


def _item_of(operation: Operation) -> tuple[str, str]:
    (body,) = operation.values()
    key = body.get("Key") or body["Item"]
    return key["pk"]["S"], key["sk"]["S"]


def _sum(one: Operation, other: Operation) -> Operation | None:
    """Make one Update of two that add to the same item without a condition, or None when they are more than that."""
    first, second = one.get("Update"), other.get("Update")
    if not first or not second or "ConditionExpression" in first or "ConditionExpression" in second:
        return None
    if any(first[part] != second[part] for part in ("UpdateExpression", "ExpressionAttributeNames")):
        return None
    values = dict(first["ExpressionAttributeValues"])
    for name, value in second["ExpressionAttributeValues"].items():
        if name.startswith(":a_"):
            values[name] = {"N": str(int(values[name]["N"]) + int(value["N"]))}
        elif values[name] != value:
            return None
    return {"Update": first | {"ExpressionAttributeValues": values}}


def _size(operations: list[Operation]) -> int:
    """Count the content of what is written, characters of texts and numbers, bytes of blobs; names are left out."""
    size = 0
    for operation in operations:
        (body,) = operation.values()
        for value in (body.get("Item") or body.get("ExpressionAttributeValues") or {}).values():
            (content,) = value.values()
            size += len(content) if isinstance(content, str | bytes) else 1
    return size
