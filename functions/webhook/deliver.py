"""One delivery: build, sign, send, record, and try again later if need be."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import Any

import httpx2

from shared import webhooks
from shared.clock import iso, now
from shared.errors import NotFound, SluiceError
from shared.guarded_http import GuardedTransport, was_forbidden
from shared.netguard import Forbidden
from shared.tasks import events, items, settle, store, table
from shared.tasks.model import Task, dumps

TIMEOUT_SECONDS = 10.0
GIVE_UP_SECONDS = 86_400.0
"""How long after the first delivery another is still tried."""
FIRST_DELAY_SECONDS = 5.0
MAX_DELAY_SECONDS = 900.0
"""SQS delays a message no longer."""
GONE = 410
"""A receiver that answers so wants no more."""


class BadDelivery(SluiceError):
    """The queue held something that is no delivery."""

    code = "bad_message"


@dataclass(frozen=True, slots=True)
class Delivery:
    """What the queue carries."""

    task_id: str
    url: str
    attempt: int
    first: float


@cache
def _client() -> httpx2.Client:
    return httpx2.Client(transport=GuardedTransport(), timeout=TIMEOUT_SECONDS, follow_redirects=False, trust_env=False)


def parse(body: str) -> Delivery:
    """Read a queue message.

    Raises:
        BadDelivery: it is none.
    """
    try:
        value = json.loads(body)
        return Delivery(str(value["task_id"]), str(value["url"]), int(value["attempt"]), float(value["first"]))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise BadDelivery(f"not a delivery: {type(error).__name__}") from error


def see_to(body: str) -> str:
    """Deliver once; on failure send the next try before this one is acknowledged. Returns what came of it.

    Raises:
        BadDelivery: unreadable.
        DependencyDown: DynamoDB or SQS is away; the message comes back.
    """
    delivery = parse(body)
    try:
        task = store.get(delivery.task_id)
    except NotFound:
        return "the task is gone"
    status, error = _post(task, delivery.url)
    delivered = status is not None and 200 <= status < 300
    final = delivered or status == GONE or error == "forbidden_address"
    again = not final and now() - delivery.first < GIVE_UP_SECONDS
    outcome = "delivered" if delivered else "waiting" if again else "given_up"
    if again:
        delay = min(FIRST_DELAY_SECONDS * 2.0 ** (delivery.attempt - 1), MAX_DELAY_SECONDS)
        webhooks.send(delivery.task_id, delivery.url, attempt=delivery.attempt + 1, first=delivery.first, delay_s=delay)
    _record(delivery, outcome, status, error)
    return outcome


def _post(task: Task, url: str) -> tuple[int | None, str | None]:
    """Send the webhook; returns the status answered, or what went wrong."""
    secret = webhooks.secret_for(task.key_id)
    if not secret:
        return None, "no WEBHOOK_SECRET is set"
    body = dumps(payload(task)).encode()
    message, at = webhooks.message_id(task), int(now())
    headers = {
        "content-type": "application/json",
        "user-agent": "Sluice",
        "webhook-id": message,
        "webhook-timestamp": str(at),
        "webhook-signature": webhooks.sign(secret, message, at, body),
    }
    try:
        webhooks.check_target(url)
        with _client().stream("POST", url, content=body, headers=headers) as answer:
            return answer.status_code, None  # the body says nothing that is needed
    except Forbidden as error:
        return None, error.code
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        return None, "forbidden_address" if was_forbidden(error) else type(error).__name__


def payload(task: Task) -> dict[str, Any]:
    """Return what a webhook says: the task as `GET /result` shows it."""
    data = store.public(task)
    if (result := settle.result_of(task)) is not None:
        data["result"] = result
    return {"type": f"task.{task.status}", "timestamp": iso(task.ended_at or now()), "data": data}


def _record(delivery: Delivery, outcome: str, status: int | None, error: str | None) -> None:
    at = now()
    item = items.item(
        {
            "pk": f"TASK#{delivery.task_id}",
            "sk": "WEBHOOK",
            "outcome": outcome,
            "attempts": delivery.attempt,
            "last_status": status,
            "last_error": error,
            "at": at,
            "ttl": int(events.expires(at)),
        }
    )
    table.put(table.put_op(item))
