"""What answers hold about what a user has beside tasks: conversations, tickets, schedules."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field


class TurnView(BaseModel):
    """One exchange of a conversation."""

    task_id: str
    at: str
    user: str
    assistant: str


class SessionView(BaseModel):
    """A conversation's memory, oldest turn first."""

    session_id: str
    turns: list[TurnView]
    cursor: Annotated[str | None, Field(description="Leads to the turns before these; absent when there are none.")] = (
        None
    )


class SessionDeleted(BaseModel):
    """A conversation was forgotten."""

    session_id: str
    deleted_turns: int


class Ticket(BaseModel):
    """A ticket for one WebSocket connection, or for a task's stream."""

    ticket: str
    url: Annotated[str, Field(description="Connect to it with `?ticket=`; of a task's stream: open it as it is.")]
    expires_in_s: int


class ScheduleView(BaseModel):
    """A schedule; instants are in UTC."""

    schedule_id: str
    status: Literal["active", "paused", "ended"]
    name: str | None
    cron: str | None
    at: str | None
    timezone: str
    run: dict[str, Any]
    jitter_s: int
    overlap: Literal["skip", "queue", "cancel"]
    catch_up_s: int
    paused: bool
    paused_by: Literal["owner", "key_revoked"] | None = None
    next: list[str]
    """The next instants; without jitter."""
    fires_at: str | None = None
    """When the first of them is fired, with its jitter."""
    created: str
    last: dict[str, Any] | None
    """The latest firing: ``instant``, ``at``, ``outcome``, and ``task_id`` or ``error``."""
    counts: dict[str, int]
    """Firings by outcome: ``submitted``, ``skipped``, ``missed``, ``refused``."""
    library: str | None = None
    """What reads the cron expression."""


class ScheduleDeleted(BaseModel):
    """What was deleted."""

    schedule_id: str
    deleted: bool


class ScheduleList(BaseModel):
    """A page of schedules."""

    schedules: list[ScheduleView]
    next_cursor: str | None
