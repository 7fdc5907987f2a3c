"""A batch: where it stands in its file, which of its lines are under way, and how many ended how.

The row is the only truth, and one writer at a time changes it (`shared.bulk.store`). So a line is counted, and its
answer written down, in one conditional write: once, whatever is done twice or dies between two writes.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from typing import Any

from shared.tasks.ids import PREFIX as TASK_PREFIX
from shared.tasks.items import Attributes, attribute, item, known, table_key, values_of
from shared.tasks.model import dumps

PREFIX = "batch_"
WINDOW_HOURS = 24
"""How long a batch may take: OpenAI's only ``completion_window``."""
ENDED = frozenset({"failed", "completed", "expired", "cancelled"})
SHARDS = 16
"""Partitions of the ``due`` index that batches have for themselves."""
LIVE = ("due", "due_at", "lease_until", "holder")
"""Attributes that only a batch which has not ended has."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line that was taken from the file and has not ended."""

    offset: int
    size: int
    """Where it stands in the file, bytes."""
    custom_id: str
    made: bool = False
    """Whether its task is known to have been written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A row. Times are epoch seconds."""

    batch_id: str
    user: str
    key: str
    """Digest of the API key under whose limits the lines run."""
    endpoint: str
    file_id: str
    made_at: float
    metadata: dict[str, str] = field(default_factory=dict)
    keep_s: int = 0
    """How long its output files are kept; 0: as long as any."""
    status: str = "validating"
    ending: str = ""
    """Why no further line is run: ``cancelled``, ``expired``, ``insufficient_quota``, ``invalid_api_key``."""
    cancel_at: float = 0.0
    """When its owner cancelled it."""
    times: dict[str, float] = field(default_factory=dict)
    """When it reached each status."""
    size: int = 0
    """Bytes of its file."""
    offset: int = 0
    """Up to where the file was read."""
    number: int = 0
    """Lines read; while it is validated, of the file, later the requests among them."""
    total: int = 0
    completed: int = 0
    failed: int = 0
    open: dict[int, Line] = field(default_factory=dict)
    outs: int = 0
    errs: int = 0
    """Pieces of the output and of the error file that were written."""
    errors: list[dict[str, Any]] = field(default_factory=list)
    """What is wrong with the file."""
    seen: str = ""
    """Object with the ``custom_id`` of the lines validated so far."""
    closing: dict[str, Any] = field(default_factory=dict)
    """How far the output files are put together."""
    output_id: str = ""
    error_id: str = ""
    usage: dict[str, int] = field(default_factory=dict)
    rev: int = 0
    """Raised by whoever takes the batch: an older writer's commit is refused."""

    @property
    def ended(self) -> bool:
        """Whether nothing may follow."""
        return self.status in ENDED

    @property
    def expires_at(self) -> float:
        """Until when its lines may run."""
        return self.made_at + WINDOW_HOURS * 3600

    @property
    def whole(self) -> bool:
        """Whether every line has ended."""
        return not self.open and self.completed + self.failed >= self.total

    def changed(self, **values: Any) -> Batch:
        """Return it with other values."""
        return replace(self, **values)

    def reached(self, status: str, at: float) -> Batch:
        """Return it with another status, and when it came to that."""
        return replace(self, status=status, times=self.times | {status: at})

    def public(self) -> dict[str, Any]:
        """Return it as OpenAI's batch object."""
        shown = "cancelling" if self.ending == "cancelled" and not self.ended else self.status
        if self.cancel_at and not self.ended:
            shown = "cancelling"

        def at(name: str) -> int | None:
            return int(self.times[name]) if name in self.times else None

        return {
            "id": self.batch_id,
            "object": "batch",
            "endpoint": self.endpoint,
            "errors": {"object": "list", "data": self.errors} if self.errors else None,
            "input_file_id": self.file_id,
            "completion_window": f"{WINDOW_HOURS}h",
            "status": shown,
            "output_file_id": self.output_id or None,
            "error_file_id": self.error_id or None,
            "created_at": int(self.made_at),
            "in_progress_at": at("in_progress"),
            "expires_at": int(self.expires_at),
            "finalizing_at": at("finalizing"),
            "completed_at": at("completed"),
            "failed_at": at("failed"),
            "expired_at": at("expired"),
            "cancelling_at": int(self.cancel_at) if self.cancel_at else None,
            "cancelled_at": at("cancelled"),
            "request_counts": {"total": self.total, "completed": self.completed, "failed": self.failed},
            "usage": _usage(self.usage) if self.usage else None,
            "metadata": self.metadata or None,
        }


def _usage(used: dict[str, int]) -> dict[str, Any]:
    return {
        "input_tokens": used.get("input", 0),
        "input_tokens_details": {"cached_tokens": used.get("cached", 0)},
        "output_tokens": used.get("output", 0),
        "output_tokens_details": {"reasoning_tokens": used.get("reasoning", 0)},
        "total_tokens": used.get("input", 0) + used.get("output", 0),
    }


def line_task_id(batch_id: str, number: int) -> str:
    """Return the id of the task of a line: always the same one, as long as any other, with the batch's time."""
    digest = hashlib.sha256(f"{batch_id}\n{number}".encode()).hexdigest()
    return f"{TASK_PREFIX}{batch_id.removeprefix(PREFIX)[:12]}{digest[:20]}"


def partition(user: str) -> str:
    """Return the partition in which a user's batches stand, with their number."""
    return f"BATCHES#{user}"


def key_of(user: str, batch_id: str) -> Attributes:
    """Return the key of a batch's row."""
    return table_key(partition(user), batch_id)


def shard_of(batch_id: str) -> str:
    """Spread batches over their partitions of the ``due`` index."""
    return shard_name(sum(batch_id.encode()) % SHARDS)


def shard_name(n: int) -> str:
    """Return the name of one of them."""
    return f"BULK{n}"


_SPEC = ("key", "endpoint", "file_id", "metadata", "made_at", "user", "keep_s")
_STATE = (
    *("status", "ending", "times", "size", "offset", "number", "total", "completed", "failed", "outs", "errs"),
    *("errors", "seen", "closing", "output_id", "error_id", "usage"),
)


def state_of(batch: Batch) -> str:
    """Encode what changes of a batch."""
    state: dict[str, Any] = {name: getattr(batch, name) for name in _STATE}
    state["open"] = {n: [one.offset, one.size, one.custom_id, int(one.made)] for n, one in batch.open.items()}
    return dumps({name: value for name, value in state.items() if value not in ("", 0, {}, [])})


def row_of(batch: Batch, *, due_at: float) -> Attributes:
    """Encode a new batch with its index attributes."""
    values: dict[str, Any] = {
        "spec": dumps({name: getattr(batch, name) for name in _SPEC}),
        "state": state_of(batch),
        "rev": batch.rev,
        "due_at": float(due_at),
    }
    return key_of(batch.user, batch.batch_id) | item(values) | {"due": attribute(shard_of(batch.batch_id))}


def read(row: Attributes) -> Batch:
    """Decode a row.

    Raises:
        NewerVersion: a newer version of Sluice wrote it.
    """
    values = values_of(known(row))
    spec = {name: value for name, value in json.loads(values["spec"]).items() if name in _SPEC}
    state = json.loads(values["state"])
    lines = {int(n): Line(one[0], one[1], one[2], bool(one[3])) for n, one in state.pop("open", {}).items()}
    return Batch(
        batch_id=values["sk"],
        rev=int(values["rev"]),
        cancel_at=float(values.get("cancel_at", 0)),
        open=lines,
        **spec,
        **{name: value for name, value in state.items() if name in _STATE},
    )
