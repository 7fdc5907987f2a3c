"""Between Python values and DynamoDB attributes: strings, numbers and booleans as themselves, the rest as JSON text.

JSON text keeps rows small and cheap to encode; nothing queries inside it.
"""

import json
from dataclasses import MISSING, fields
from typing import Any

from shared.clock import epoch, iso
from shared.errors import NewerVersion
from shared.tasks import blobs
from shared.tasks.model import FIELDS, ITEM_VERSION, JSON_FIELDS, Status, Task, dumps

Attributes = dict[str, Any]
"""An item as the low-level client takes it: ``{"name": {"S": "…"}}``."""


def attribute(value: Any) -> Attributes:
    """Encode one value."""
    if isinstance(value, bool):
        return {"BOOL": value}
    if isinstance(value, str):
        return {"S": str(value)}
    if isinstance(value, int):
        return {"N": str(value)}
    if isinstance(value, float):
        return {"N": f"{value:.6f}"}
    if isinstance(value, bytes):
        return {"B": value}
    return {"S": dumps(value)}


def item(values: dict[str, Any]) -> Attributes:
    """Encode an item, leaving out what is None."""
    return {name: attribute(value) for name, value in values.items() if value is not None}


def plain(value: Attributes) -> Any:
    """Decode one attribute; a number without a fraction becomes an int."""
    kind, content = next(iter(value.items()))
    if kind == "N":
        return int(content) if content.lstrip("-").isdigit() else float(content)
    return content


def values_of(row: Attributes) -> dict[str, Any]:
    """Decode an item's attributes."""
    return {name: plain(value) for name, value in row.items()}


def known(item: Attributes) -> Attributes:
    """Return an item if this code can read it.

    Raises:
        NewerVersion: a newer version of Sluice wrote it.
    """
    version = int(item["v"]["N"]) if "v" in item else 1
    if version > ITEM_VERSION:
        raise NewerVersion(version, ITEM_VERSION)
    return item


def table_key(pk: str, sk: str) -> Attributes:
    """Return the key of an item."""
    return {"pk": {"S": pk}, "sk": {"S": sk}}


def row_key(task_id: str, sk: str = "TASK") -> Attributes:
    """Return the key of a task's row, or of another item of a task."""
    return table_key(f"TASK#{task_id}", sk)


def feed_of(created: float) -> str:
    """Return the partition of the ``feed`` index, which lists everybody's tasks: their UTC day."""
    return iso(created)[:10]


def due_shard(task_id: str) -> str:
    """Spread live tasks over four partitions of the ``due`` index."""
    return str(sum(task_id.encode()) % DUE_SHARDS)


DUE_SHARDS = 4


def wait_shard(task_id: str) -> str:
    """Spread waiting tasks over partitions of the ``due`` index of their own: sweeps of live tasks never meet them."""
    return wait_shard_name(sum(task_id.encode()) % WAIT_SHARDS)


def wait_shard_name(n: int) -> str:
    """Return the name of one of those partitions."""
    return f"WAIT{n}"


WAIT_SHARDS = 16
"""A partition of an index takes about 1,000 writes a second; so many runs may come to wait in one second, each way."""


def listed_under(user: str, batch: str | None) -> str:
    """Return where a task is listed: with its user's, or, a line of a batch, with the batch's."""
    return f"BATCH#{batch}" if batch else user


NAMED = frozenset(
    {"v", "status", "gen", "lease_no", "attempt", "next_try_at", "last_seq", "session_id"}
    | {"micro_usd", "input_tokens", "output_tokens"}
)
"""Attributes that a row always has: conditions and lists name them. The others are left out at their defaults, because
every write of a row pays for all of it."""
DEFAULTS = {one.name: one.default for one in fields(Task) if one.default is not MISSING}


def task_row(task: Task, *, due_at: float) -> Attributes:
    """Encode a live task as its row with its index attributes."""
    values: dict[str, Any] = {name: getattr(task, name) for name in FIELDS}
    # The sparse index's key: whoever waits for a session is not among those that wait for a slot.
    values["parked"] = (f"AFTER#{task.after}" if task.after else task.user) if task.parked else None
    empty: tuple[Any, ...] = (None, {}, [])
    values = {
        name: value
        for name, value in values.items()
        if value is not False and value not in empty and (name in NAMED or value != DEFAULTS.get(name, MISSING))
    }
    values |= {
        "created": iso(task.created),
        "by_user": listed_under(task.user, task.batch),
        "feed": feed_of(task.created),
        "due": due_shard(task.task_id),
        "due_at": due_at,
    }
    return row_key(task.task_id) | item(values)


def read_task(row: Attributes) -> Task:
    """Decode a row. Unknown attributes are left aside, missing ones take their defaults.

    Raises:
        NewerVersion: a newer version of Sluice wrote it.
    """
    values: dict[str, Any] = {}
    for name, value in known(row).items():
        if name in FIELDS:
            content = plain(value)
            values[name] = json.loads(content) if name in JSON_FIELDS else content
    values["status"] = Status(values["status"])
    values["parked"] = "parked" in row
    values["created"] = epoch(values["created"])
    for name in ("lease_until", "next_try_at", "waiting_since", "waited_s", "kept_until"):
        if name in values:
            values[name] = float(values[name])
    if (result := values.get("result")) is not None and "response" not in result:
        kept = blobs.read_small(values["ending"]) if "ending" in values else {}
        result["response"] = kept.get("response", None if "ending_at" in values else "")
        if "data" in kept:
            result["data"] = kept["data"]
    return Task(**values)


UNIT_BYTES = 1024
"""What one write unit covers, of the whole item."""


def item_bytes(item: Attributes) -> int:
    """Return the size of an item of texts, numbers, Booleans and bytes, as DynamoDB takes it to be.

    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html (2026-11)
    """
    size = 0
    for name, value in item.items():
        ((kind, content),) = value.items()
        size += len(name.encode())
        if kind == "S":
            size += len(content.encode())
        elif kind == "B":
            size += len(content)
        else:
            size += 1 if kind == "BOOL" else len(content) // 2 + 2  # a number: two digits a byte, never too small
    return size


def fits(item: Attributes, more: int) -> bool:
    """Whether an item can be larger by so many bytes and cost no unit more."""
    size = item_bytes(item)
    return -(-(size + more) // UNIT_BYTES) <= max(1, -(-size // UNIT_BYTES))
