"""Conversation memory: the settled turns of a user's session, one item a turn.

A turn is put in the transaction that completes its run, so a session holds exactly the runs that completed, once each.
Runs see the turns settled before they started.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shared import aws
from shared.clock import iso
from shared.settings import settings
from shared.tasks import blobs, table
from shared.tasks.items import attribute
from shared.tasks.model import Task, dumps

if TYPE_CHECKING:
    from collections.abc import Iterable

TURN_CHARACTERS = 32_000
"""Longest text of one side of a turn that a session remembers; the rest is cut."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One exchange."""

    task_id: str
    at: str
    user: str
    assistant: str


def _pk(user: str, session_id: str) -> str:
    return f"SESSION#{user}#{session_id}"


def put_op(task: Task, *, message: str, response: str, at: float, expires: float) -> dict[str, Any]:
    """Make the Put that appends a turn."""
    text = dumps({"user": message[:TURN_CHARACTERS], "assistant": response[:TURN_CHARACTERS]})
    return table.put_op(
        {
            "pk": {"S": _pk(task.user, task.session_id)},
            "sk": {"S": f"TURN#{iso(at)}#{task.task_id}"},
            "ttl": attribute(int(expires)),
            **blobs.pack(text, f"tasks/{task.task_id}/turn"),
        }
    )


def read(user: str, session_id: str, *, limit: int, before: float | None = None) -> list[Turn]:
    """Return the newest turns, oldest of them first; ``before`` leaves out those settled at or after that time.

    Raises:
        DependencyDown: DynamoDB is away.
    """
    limit = min(limit, settings().session_turns)
    if limit < 1:
        return []
    high = f"TURN#{iso(before)}" if before is not None else "TURN#~"
    page = table.query_page(
        KeyConditionExpression="pk = :pk AND sk BETWEEN :low AND :high",
        ExpressionAttributeValues={":pk": {"S": _pk(user, session_id)}, ":low": {"S": "TURN#"}, ":high": {"S": high}},
        ScanIndexForward=False,
        ConsistentRead=True,
        Limit=limit,
    )
    turns = []
    for row in reversed(page["Items"]):
        _, at, task_id = row["sk"]["S"].split("#", 2)
        turns.append(Turn(task_id=task_id, at=at, **json.loads(blobs.unpack(row))))
    return turns


def delete(user: str, session_id: str) -> int:
    """Forget a session; returns how many turns it held.

    Raises:
        DependencyDown: DynamoDB is away.
    """
    keys = [
        {"pk": row["pk"], "sk": row["sk"]}
        for row in table.query(
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": {"S": _pk(user, session_id)}},
            ProjectionExpression="pk, sk",
        )
    ]
    delete_items(keys)
    return len(keys)


def delete_items(keys: Iterable[dict[str, Any]]) -> None:
    """Delete items one by one; a few dozen at most, and each is safe to repeat."""
    for key in keys:
        aws.dynamodb().delete_item(TableName=settings().table_name, Key=key)
