"""Live listeners: which environments of the API stream a task's events, and what they are told by publish/subscribe.

Beside the WebSocket watchers (`shared.watchers`), in the same hash of a task: a field ``@`` + listener, until when it
listens (epoch seconds). A listener is one environment of the API; it has one channel, whatever number of tasks it
streams. Publish/subscribe keeps nothing, so every message can be lost: each carries numbers that show a gap, and who
sees one reads the log. Nothing is published before it is stored, with one exception:

A *piece* is the text so far of a token event that is about to be stored, with the number that it will have. It is
published only of a model call that the log already shows text of: should the worker die before it is stored, the
takeover's ``resumed`` event, or the next ``retry``, names the call, and its text is void.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from shared import valkey
from shared.clock import now
from shared.tasks.events import TERMINAL_EVENTS, Event
from shared.tasks.model import dumps

KEEP_SECONDS = 3 * 3600
"""How long a task's hash lasts; API Gateway closes a WebSocket connection after two hours
(https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html)."""
LISTENER = "@"
"""First character of a listener's field; no id of a WebSocket connection begins with it."""
LISTEN_SECONDS = 60.0
"""How long a registration lasts. A listener renews it; one that died is told for so long at most."""
MESSAGE_BYTES = 64 * 1024
"""Largest message; of more a listener is only told to read the log."""


@dataclass(frozen=True, slots=True)
class Message:
    """What a listener is told: events that are stored, or a piece, or (neither) to read the log."""

    task_id: str
    events: list[Event] = field(default_factory=list)
    piece: Event | None = None

    def supersedes(self, earlier: Message) -> bool:
        """Whether this says all that an earlier one did: the text so far of the same event."""
        if self.events or earlier.events or self.piece is None or earlier.piece is None:
            return False
        return self.piece.seq == earlier.piece.seq and self.piece.data["call"] == earlier.piece.data["call"]


def task_key(task_id: str) -> str:
    """Return the key of the hash that says who follows a task."""
    return f"{{sluice:watch:{task_id}}}"


def channel(task_id: str) -> str:
    """Return a task's channel."""
    return f"sluice:live:{task_id}"


def listen(task_id: str, listener: str) -> None:
    """Register a listener, or renew it.

    Raises:
        RedisError: Valkey is away.
    """
    key, until = task_key(task_id), int(now() + LISTEN_SECONDS) + 1
    valkey.in_one_trip([("HSET", key, LISTENER + listener, str(until)), ("EXPIRE", key, str(KEEP_SECONDS))])


def leave(task_id: str, listener: str) -> None:
    """Forget a listener.

    Raises:
        RedisError: Valkey is away; the registration lapses by itself.
    """
    valkey.client().hdel(task_key(task_id), LISTENER + listener)


def encode(task_id: str, events: Sequence[Event] = (), piece: Event | None = None) -> str:
    """Encode a message. Events that are too large, and the last of a run, which others write too, are to be read."""
    said: dict[str, Any] = {"task_id": task_id}
    if events and not any(event.type in TERMINAL_EVENTS for event in events):
        said["events"] = [_plain(event) for event in events]
    if piece is not None:
        said["piece"] = _plain(piece)
    text = dumps(said)
    return text if len(text.encode()) <= MESSAGE_BYTES else dumps({"task_id": task_id})


def decode(text: str) -> Message:
    """Decode a message.

    Raises:
        ValueError, KeyError, TypeError: it is none.
    """
    said = json.loads(text)
    piece = said.get("piece")
    return Message(said["task_id"], [Event(**e) for e in said.get("events", ())], Event(**piece) if piece else None)


def _plain(event: Event) -> dict[str, Any]:
    return {"seq": event.seq, "type": event.type, "at": event.at, "data": event.data}


def publish(messages: Iterable[tuple[str, str]]) -> None:
    """Send messages, each a task's id and an encoded text, in one round trip.

    Raises:
        RedisError: Valkey is away; some were not sent.
    """
    commands = [("PUBLISH", channel(task_id), text) for task_id, text in messages]
    if commands:
        valkey.in_one_trip(commands)
