"""Live watchers: which WebSocket connections follow which task, and up to which event they were told.

Kept in Valkey, one hash a task, connection -> number of the last event pushed. Losing it costs watchers their live
feed until they subscribe again, never an event: the log has them all.

One pusher at a time keeps events in order. `subscribe` replays first and registers afterwards; from then on the
worker that runs the task pushes. Whoever takes a connection off the hash pushes what is left at the end.
"""

import secrets
from collections.abc import Sequence
from typing import NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from shared import aws, live, valkey
from shared.clock import now
from shared.errors import SluiceError
from shared.limits.scripts import script
from shared.live import KEEP_SECONDS, LISTENER, task_key
from shared.logs import get_logger
from shared.tasks import events
from shared.tasks.events import Event
from shared.tasks.model import dumps
from shared.valkey import RedisError

FINISH_SECONDS = 5.0
"""How long whoever ends a task pushes to watchers that lag. The sweeper goes on with the others."""
WATCHERS_PER_TASK = 500
"""Each costs the run's worker a push per event."""
TASKS_PER_CONNECTION = 100
TAKEN_SECONDS = 60
"""How long it is known who took a connection off: Valkey is asked again at once if its answer is late."""
_READER = ""
"""Field of a task's hash (no connection has an empty id) that says until when somebody reads its log by polling."""

_log = get_logger("watchers")


class TooMany(SluiceError):
    """A bound on watching was reached."""

    code = "too_many_watchers"


class Watched(NamedTuple):
    """Who follows a task."""

    connections: dict[str, int]
    """WebSocket connections, with the last event told."""
    read: bool = False
    """Whether somebody reads its log by polling."""
    listeners: tuple[str, ...] = ()
    """Environments of the API that stream it."""


class Gone(Exception):
    """The connection is closed."""


class Unreachable(Exception):
    """The event could not be pushed now."""


def _connection_key(connection: str) -> str:
    return f"{{sluice:watching:{connection}}}"


def add(task_id: str, connection: str, told: int) -> None:
    """Register a connection that was told all events up to number ``told``.

    Raises:
        RedisError: Valkey is away; nothing was registered.
        TooMany: the connection follows too many tasks, or the task has too many watchers.
    """
    server = valkey.client()
    server.sadd(_connection_key(connection), task_id)
    server.expire(_connection_key(connection), KEEP_SECONDS)
    server.hset(task_key(task_id), connection, told)
    server.expire(task_key(task_id), KEEP_SECONDS)
    # Looked at afterwards, so that of many at once none slips in unseen.
    if server.scard(_connection_key(connection)) > TASKS_PER_CONNECTION:
        remove(task_id, connection)
        raise TooMany(f"a connection follows at most {TASKS_PER_CONNECTION} tasks: unsubscribe, or open another")
    if server.hlen(task_key(task_id)) > WATCHERS_PER_TASK and len(of(task_id)) > WATCHERS_PER_TASK:
        remove(task_id, connection)
        raise TooMany(f"a task has at most {WATCHERS_PER_TASK} watchers")


def of(task_id: str) -> dict[str, int]:
    """Return a task's watchers: connection -> last event told.

    Raises:
        RedisError: Valkey is away.
    """
    return look(task_id).connections


def look(task_id: str) -> Watched:
    """Return everybody who follows a task.

    Raises:
        RedisError: Valkey is away.
    """
    return look_at([task_id])[task_id]


def look_at(task_ids: Sequence[str]) -> dict[str, Watched]:
    """Do so for several tasks in one round trip."""
    rows = valkey.in_one_trip([("HGETALL", task_key(task_id)) for task_id in task_ids])
    return {task_id: _read(row) for task_id, row in zip(task_ids, rows, strict=True)}


def _read(row: dict[str, str]) -> Watched:
    found = {name: int(value) for name, value in row.items()}
    read_until = found.pop(_READER, 0)
    listening = {name: found.pop(name) for name in list(found) if name.startswith(LISTENER)}
    current = tuple(name[len(LISTENER) :] for name, until in listening.items() if until > now())
    return Watched(found, read_until > now(), current)


def reading(task_id: str, seconds: float) -> None:
    """Note that somebody reads a live task's log by polling: for so long its text is stored as it comes.

    Raises:
        RedisError: Valkey is away.
    """
    server = valkey.client()
    server.hset(task_key(task_id), _READER, int(now() + seconds) + 1)
    server.expire(task_key(task_id), KEEP_SECONDS)


def told(task_id: str, connection: str, seq: int) -> None:
    """Note that a connection was told events up to ``seq``."""
    valkey.client().hset(task_key(task_id), connection, seq)


def remove(task_id: str, connection: str) -> bool:
    """Take a connection off a task; True for the one caller that did it."""
    valkey.client().srem(_connection_key(connection), task_id)
    mark = f"{task_key(task_id)}:taken:{secrets.token_hex(8)}"
    return bool(script("take_watcher")([task_key(task_id), mark], [connection, TAKEN_SECONDS]))


def remove_connection(connection: str) -> None:
    """Forget a closed connection everywhere."""
    server = valkey.client()
    for task_id in server.smembers(_connection_key(connection)):
        server.hdel(task_key(task_id), connection)
    server.delete(_connection_key(connection))


def message(task_id: str, event: Event) -> bytes:
    """Encode an event as one WebSocket message."""
    return dumps({"task_id": task_id, **event.public()}).encode()


def push(connection: str, data: bytes) -> None:
    """Send one message to a connection.

    Raises:
        Gone: it is closed; it has been forgotten.
        Unreachable: it could not be sent.
    """
    try:
        aws.connections().post_to_connection(ConnectionId=connection, Data=data)
    except (ClientError, BotoCoreError) as error:
        if _is_gone(error):
            try:
                remove_connection(connection)
            except RedisError:
                _log.info("a gone connection is still listed")
            raise Gone(connection) from error
        raise Unreachable(connection) from error


def drop(connection: str) -> None:
    """Close a connection that missed something: its client connects again, and asks for what it has not seen.

    One that stays open and is told nothing more looks like a run that stands still. Never raises.
    """
    try:
        remove_connection(connection)
    except RedisError:
        _log.info("a dropped connection is still listed")
    try:
        aws.connections().delete_connection(ConnectionId=connection)
    except (ClientError, BotoCoreError) as error:
        if not _is_gone(error):
            _log.warning("a connection that missed something stays open", extra={"error": str(error)})


def _is_gone(error: Exception) -> bool:
    return aws.error_code(error) in ("GoneException", "410")


def push_events(task_id: str, connection: str, batch: Sequence[Event]) -> int:
    """Push events in order and return the number of the last one.

    Raises:
        Gone, Unreachable: some were not pushed.
    """
    last = 0
    for event in batch:
        push(connection, message(task_id, event))
        last = event.seq
    return last


def finish(task_id: str, only: str | None = None) -> bool:
    """Push the rest of an ended task's log to everybody still registered, or to one connection, and take them off.

    Never raises. False if some are still registered, because a service is away or it took too long.
    """
    give_up = now() + FINISH_SECONDS
    try:
        found = look(task_id)
        if found.listeners:
            live.publish([(task_id, live.encode(task_id))])
        for connection, seq in found.connections.items():
            if only is not None and connection != only:
                continue
            if now() > give_up:
                _log.warning("watchers not told of the end yet", extra={"task_id": task_id})
                return False
            rest = events.read(task_id, seq).events  # before it is taken off: else nobody would know of it any more
            try:
                mine = remove(task_id, connection)
            except valkey.Away:  # it was not even asked
                raise
            except RedisError:
                # A Valkey that stands still does it once it goes on, and then nobody would find the connection again.
                drop(connection)
                raise
            if mine:
                _push_rest(task_id, connection, rest)
    except (RedisError, SluiceError) as error:
        _log.warning("watchers not told of the end", extra={"task_id": task_id, "error": str(error)})
        return False
    return True


def _push_rest(task_id: str, connection: str, rest: Sequence[Event]) -> None:
    try:
        push_events(task_id, connection, rest)
    except Gone:
        return
    except Unreachable:
        _log.info("a watcher missed the end", extra={"task_id": task_id})
        drop(connection)
