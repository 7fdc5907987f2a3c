"""What each WebSocket route does."""

import json
from typing import Any

from shared import tickets, watchers
from shared.errors import NotFound, SluiceError
from shared.logs import get_logger
from shared.tasks import events, store
from shared.tasks.ids import MAX_SEQ, well_formed
from shared.tasks.model import dumps

MESSAGE_BYTES = 4096
"""Longest message that a client may send."""

_log = get_logger("stream")


class BadMessage(SluiceError):
    """A client sent what is no request."""

    code = "invalid_message"


def handle(route: str, connection: str, event: dict[str, Any]) -> int:
    """See to one event of a connection; returns the HTTP status of the answer.

    Raises:
        SluiceError: to be told to the client.
        RedisError: Valkey is away.
    """
    if route == "$connect":
        return _connect(connection, event)
    if route == "$disconnect":
        tickets.disconnect(connection)
        watchers.remove_connection(connection)
        return 200
    asked = _read(event)
    action = asked.get("action")
    if action == "ping":
        _answer(connection, {"type": "pong"})
    elif action == "subscribe":
        _subscribe(connection, asked)
    elif action == "unsubscribe":
        watchers.remove(_task_id(asked), connection)
        _answer(connection, {"type": "unsubscribed", "task_id": asked["task_id"]})
    else:
        raise BadMessage('"action" must be subscribe, unsubscribe or ping')
    return 200


def refuse(connection: str, route: str, code: str, message: str) -> None:
    """Tell a client why its message did nothing."""
    if route.startswith("$") and route != "$default":
        return  # there is no connection yet, or no longer
    _answer(connection, {"type": "error", "error": {"code": code, "message": message}})


def _answer(connection: str, answer: dict[str, Any]) -> None:
    try:
        watchers.push(connection, dumps(answer).encode())
    except watchers.Gone:
        _log.info("client gone")
    except watchers.Unreachable:
        watchers.drop(connection)


def _connect(connection: str, event: dict[str, Any]) -> int:
    ticket = (event.get("queryStringParameters") or {}).get("ticket", "")
    viewer = tickets.redeem(ticket)
    if viewer is None:
        return 401
    tickets.connect(connection, viewer)
    return 200


def _read(event: dict[str, Any]) -> dict[str, Any]:
    body = event.get("body") or ""
    if len(body.encode("utf-8", "replace")) > MESSAGE_BYTES:
        raise BadMessage(f"a message has at most {MESSAGE_BYTES} bytes")
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadMessage("a message is a JSON object") from error
    if not isinstance(asked, dict):
        raise BadMessage("a message is a JSON object")
    return asked


def _task_id(asked: dict[str, Any]) -> str:
    task_id = asked.get("task_id")
    if not isinstance(task_id, str) or not well_formed(task_id):
        raise BadMessage('"task_id" must be the id of a task')
    return task_id


def _subscribe(connection: str, asked: dict[str, Any]) -> None:
    """Replay from ``after``, then hand over to whoever runs the task.

    The order matters. Registration comes after the replay, so that two pushers never meet; what happened in between is
    read by the follower from the log, or, when the task ended in between, pushed here by whoever takes the
    registration off.
    """
    task_id, after = _task_id(asked), asked.get("after", 0)
    if type(after) is not int or not 0 <= after <= MAX_SEQ:
        raise BadMessage(f'"after" must be the number of an event, 0 to {MAX_SEQ}')
    if not tickets.viewer_of(connection).owns(store.get(task_id).user):
        raise NotFound("no such task")
    page = events.read(task_id, after)
    try:
        told = watchers.push_events(task_id, connection, page.events) or max(after, 0)
        if page.task.status.terminal and told >= page.task.last_seq:
            return
        watchers.add(task_id, connection, told)
    except watchers.Gone:
        return
    except watchers.Unreachable:  # nobody would tell it anything more
        _log.info("client not reached", extra={"task_id": task_id})
        watchers.drop(connection)
        return
    if store.get(task_id).status.terminal:
        watchers.finish(task_id, only=connection)  # the others are in the hands of whoever ended it
