"""What a client returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

ENDED = frozenset({"complete", "failed", "cancelled"})


class Event(NamedTuple):
    """Something that happened in a run; ``seq`` counts from 1."""

    seq: int
    type: str
    at: str
    data: dict[str, Any]


@dataclass(frozen=True)
class Run:
    """A run as the API tells of it."""

    task_id: str
    status: str
    response: str | None = None
    """The text, once it is complete."""
    data: dict[str, Any] | None = None
    """What the agent returned besides."""
    error: dict[str, Any] | None = None
    """Why it failed: ``code``, ``message``, ``type``."""
    usage: dict[str, Any] | None = None
    raw: dict[str, Any] = field(default_factory=dict, repr=False)
    """The whole answer."""

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.status in ENDED

    @classmethod
    def read(cls, told: dict[str, Any]) -> Run:
        """Read the API's answer."""
        result = told.get("result") or {}
        return cls(
            task_id=told["task_id"],
            status=told["status"],
            response=result.get("response"),
            data=result.get("data"),
            error=told.get("error"),
            usage=told.get("usage"),
            raw=told,
        )


class Page(NamedTuple):
    """Some of a caller's runs, newest first; ``cursor`` asks for the next ones, None at the end."""

    runs: list[Run]
    cursor: str | None
