"""What a task is: its statuses, its row and the JSON that rides in it."""

import json
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any

from sluice.types import Usage as Usage

ITEM_VERSION = 2
"""Newest form of an item, in its attribute ``v``. This code reads this version and older ones; an item without one has
version 1. See docs/upgrades.md."""
COMMON_VERSION = 1
"""Form of the items that did not change since: those that say more than an older version could read are records of a
run's log and ended rows."""
METADATA_PAIRS = 16
METADATA_KEY_CHARACTERS = 64
METADATA_VALUE_CHARACTERS = 512
"""Most of a task's metadata, a client's or of a run's children: it stands in the row, which every write pays for."""


class Status(StrEnum):
    """Where a task is in its life."""

    QUEUED = "queued"
    PROCESSING = "processing"
    WAITING = "waiting"
    """It holds no slot, no message and no environment until what it waits for is there."""
    COMPLETE = "complete"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        """Whether nothing may follow."""
        return self in TERMINAL


TERMINAL = frozenset({Status.COMPLETE, Status.FAILED, Status.CANCELLED})
LANES = ("high", "normal", "quarantine")


@dataclass(slots=True, kw_only=True)
class Task:
    """One submitted run, as its row says. Times are epoch seconds."""

    task_id: str
    user: str
    lane: str
    agent: str
    model: str
    created: float
    day: str
    """UTC day of its newest call, before the first one that of its submission: which day's money it spends."""
    v: int = COMMON_VERSION
    tier: str = "standard"
    session_id: str = "default"
    """The conversation; empty: none."""
    key_id: str = ""
    status: Status = Status.QUEUED
    message: str | None = None
    """The text, when small; otherwise it is in the item ``BLOB#message``."""
    excerpt: str | None = None
    """How the user's text begins, where ``message`` does not show it: what lists show."""
    params: dict[str, Any] = field(default_factory=dict)
    """Everything else that the client asked for: max_output_tokens, timeout_s, max_cost_usd, metadata, models …."""

    gen: int = 0
    lease_no: int = 0
    lease_until: float = 0.0
    lease_owner: str | None = None
    attempt: int = 0
    crashes: int = 0
    deferrals: int = 0
    continuations: int = 0
    sweeps: int = 0
    next_try_at: float = 0.0
    reason: str | None = None
    last_error: dict[str, Any] | None = None
    unsent: bool = False
    """SQS refused its message: it waits for none, and the sweeper sends one as soon as it is due."""
    cancel_requested: bool = False
    parked: bool = False
    after: str | None = None
    """The task of its session that it waits for, while it is parked for that."""
    follower: str | None = None
    """The task that waits for this one's end."""
    started_at: float | None = None
    ended_at: float | None = None
    ended_by: str | None = None
    """Who wrote the end: tells a writer whose answer was lost whether the end in the row is its own."""
    last_seq: int = 1
    """Number of the newest event; event 1 (``queued``) is the row itself."""
    first_lane: str | None = None
    """The lane that it was submitted to, once it is in another one: what event 1 tells never changes."""

    running_cap: int = 0
    """Most tasks of its user that may hold a running slot; 0: no limit."""
    cap_tokens: int = 0
    """Its user's tokens per day; 0: no ceiling."""
    cap_micro_usd: int = 0
    """Its user's micro-USD per day; 0: no ceiling."""
    cap_key_tokens: int = 0
    """Tokens per day of the trusted service that submitted it, all its users together; 0: no ceiling."""
    cap_key_micro_usd: int = 0
    raised: dict[str, Any] = field(default_factory=dict)
    """By how much ceilings were raised for this run, since it asked: limit -> micro-USD or tokens; of its own ceiling
    also what its children's were raised by. See `shared.tasks.ceilings`."""
    refused: dict[str, Any] = field(default_factory=dict)
    """Calls and groups of children that a ceiling refused for good, ``name#nth`` -> which one. A replay refuses them
    again: what the run did after that was done without them."""
    reserved_tokens: int = 0
    reserved_micro_usd: int = 0
    precharged_tokens: int = 0
    precharged_micro_usd: int = 0
    charged: dict[str, Any] = field(default_factory=dict)
    """What of its use its user's days were charged with before its end: day -> [tokens, micro-USD]; empty: the estimate
    above, if any, on the day of its submission."""
    input_tokens: int = 0
    output_tokens: int = 0
    micro_usd: int = 0
    past: dict[str, Any] = field(default_factory=dict)
    """Of that use, what belongs to days before ``day``: day -> [tokens, micro-USD]. See `shared.tasks.days`."""
    by_model: dict[str, Any] = field(default_factory=dict)
    """Of that use, what other models than ``model`` took: day -> model -> [tokens, micro-USD]."""
    lost_input_tokens: int = 0
    """What a worker used up that had lost the task meanwhile; beside what stands above, and told with it."""
    lost_output_tokens: int = 0
    lost_micro_usd: int = 0
    calls: int = 0
    result: dict[str, Any] | None = None
    ending: bytes | None = None
    """Its answer and its last events, see `shared.tasks.ending`; or the key of the item that holds them."""
    ending_at: str | None = None
    error: dict[str, Any] | None = None
    model_used: str | None = None
    trace: str | None = None
    parent: str | None = None
    """The run that started it, if a run did."""
    family: str | None = None
    """The step of its parent that started it and others with it: ``name#nth``."""
    family_size: int = 0
    child_no: int = 0
    """Its number among these, from 0."""
    depth: int = 0
    """How many ancestors it has."""
    children: int = 0
    """How many runs it ever started."""
    signals: int = 0
    """How many signals were ever accepted for it: tells a run about to wait whether it has seen them all."""
    waiting_for: list[dict[str, Any]] = field(default_factory=list)
    """What it waits, or last waited, for; see `shared.tasks.waits.Wait`. Its times hold through retries."""
    waiting_since: float = 0.0
    """Since when it waits, or waited before the wake that is under way."""
    waited_s: float = 0.0
    """How long all its earlier waits took together, s."""
    untold: bool = False
    """The webhook which says that it waits is not known to be on its way."""
    kept_until: float = 0.0
    """Until when its items are kept at least; 0: as long as at its submission."""
    joined: int = 0
    """How many of its children this worker saw ended; kept in the worker only."""
    batch: str | None = None
    """The batch that it is a line of."""
    batch_line: int = 0
    """Which one, from 0."""
    run_started: float | None = None
    """When this worker took it; kept in the worker only."""
    newest_turn: float = 0.0
    """When the newest turn of its session ended that it saw, by whatever clock; kept in the worker only."""
    unwritten: list[Usage] = field(default_factory=list)
    """What it was charged with that its row does not say yet; kept in the worker only."""
    lapsed: bool = False
    """Whether another worker may still believe that it holds it, and write; kept in the worker only."""
    under_way: dict[str, Any] = field(default_factory=dict)
    """Its model calls that are not recorded yet, by their ids; kept in the worker only."""
    recovered: list[Usage] = field(default_factory=list)
    """What it was charged with for calls of a worker that died; kept in the worker only."""
    taken_from: str | None = None
    """The worker that it was taken over from, when that one's lease had lapsed; kept in the worker only."""

    @property
    def usage(self) -> Usage:
        """Recorded use so far."""
        return Usage(self.input_tokens, self.output_tokens, self.micro_usd)

    @property
    def paid(self) -> Usage:
        """All that it cost, what its lost workers used up included."""
        return self.usage + Usage(self.lost_input_tokens, self.lost_output_tokens, self.lost_micro_usd)

    @property
    def may_leave_children(self) -> bool:
        """Whether children of it may be live at its end."""
        return self.children > self.joined

    @property
    def queue(self) -> str:
        """The lane its next message goes to."""
        return self.lane


JSON_FIELDS = frozenset(
    {"params", "past", "by_model", "charged", "raised", "refused", "last_error", "result", "error", "waiting_for"}
)
FIELDS = {item.name for item in fields(Task)} - {
    *("run_started", "newest_turn", "lapsed", "taken_from", "unwritten", "joined", "under_way", "recovered")
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a run ended. ``response`` is given when it is complete, ``error`` when it failed."""

    status: Status
    response: str | None = None
    data: dict[str, Any] | None = None
    error: dict[str, Any] | None = None


_COMPACT = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)
"""Made once: `json.dumps` would make one for each call."""


_BREAKS = tuple((mark, f"\\u{ord(mark):04x}") for mark in "\x85\u2028\u2029")


def dumps(value: Any) -> str:
    """Encode as compact JSON; text stays readable UTF-8."""
    return _COMPACT.encode(value)


def dumps_line(value: Any) -> str:
    """Encode as JSON that every reader takes for one line.

    Beside what JSON escapes anyhow, Python's `str.splitlines`, and so httpx's `iter_lines`, ends a line at three more
    characters, which may stand in any model's text.
    """
    encoded = dumps(value)
    if not encoded.isascii():
        for mark, escaped in _BREAKS:
            encoded = encoded.replace(mark, escaped)
    return encoded
