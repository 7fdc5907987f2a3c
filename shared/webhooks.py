"""Webhooks in the form of Standard Webhooks (https://www.standardwebhooks.com): ids, signatures, and the way in.

The secret of an API key is derived from the deployment's: HMAC-SHA256 of the key's id. Nothing is stored, and rotating
the deployment's secret rotates them all. An id names a task's end: every delivery of it carries the same one.
"""

import base64
import binascii
import hashlib
import hmac
import math
from collections.abc import Iterable, Mapping
from typing import Any

from shared import aws, secrets
from shared.clock import iso, now
from shared.limits.shares import owner_of
from shared.netguard import check_url
from shared.settings import settings
from shared.tasks import lanes
from shared.tasks.items import Attributes, row_key, values_of
from shared.tasks.model import Status, Task

TOLERANCE_SECONDS = 300
"""How far a signature's timestamp may be from the receiver's clock."""
VERSION = 1
OPERATOR = "operator"
"""Stands for a key's id in the derivation of the secret that signs the operator's alerts; ids are hexadecimal."""
WAITING = "task.waiting"
"""Type of the webhook which says that a task waits for somebody; of the others each says how one ended."""


def check_target(url: str) -> None:
    """Hold a webhook's URL against the rules, as far as that goes without resolving its name.

    Raises:
        Forbidden: not https (on AWS), a user name in it, too long, or an address that is not public.
    """
    check_url(url, https_only=not settings().allow_private_addresses)


def secret_for(key_id: str) -> str:
    """Return the newest signing secret of an API key, ``whsec_…``; empty when the deployment has none."""
    return next(iter(secrets_for(key_id)), "")


def secrets_for(key_id: str) -> list[str]:
    """Return all signing secrets of an API key that are in force, one for each of the deployment's, newest first."""
    return [
        "whsec_" + base64.b64encode(hmac.new(secret.encode(), key_id.encode(), hashlib.sha256).digest()).decode()
        for secret in secrets.webhook_secrets()
    ]


def message_id(task: Task) -> str:
    """Return the id of the webhook of a task's end, or present wait: stable, so that a receiver can tell a repeat."""
    if task.status is Status.WAITING:
        return f"msg_{task.task_id}_{task.status}_{task.gen}"
    return f"msg_{task.task_id}_{task.status}"


def signatures(secrets: Iterable[str], message: str, timestamp: int, body: bytes) -> str:
    """Return the ``webhook-signature`` of a delivery by every secret in force, separated by spaces."""
    return " ".join(sign(secret, message, timestamp, body) for secret in secrets)


def sign(secret: str, message: str, timestamp: int, body: bytes) -> str:
    """Return a delivery's signature by one secret.

    Raises:
        ValueError: the secret is not of the form ``whsec_<base64>``.
    """
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except binascii.Error as error:
        raise ValueError("a webhook secret is whsec_ and base64") from error
    digest = hmac.new(key, f"{message}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


def verify(
    secret: str,
    headers: Mapping[str, str],
    body: bytes,
    tolerance: float = TOLERANCE_SECONDS,
    *,
    at: float | None = None,
) -> bool:
    """Check a delivery as its receiver should: signature and age (``tolerance`` and ``at`` in seconds).

    Several signatures, separated by spaces, may be given while a secret is being changed; one that fits is enough.
    """
    given = {name.lower(): value for name, value in headers.items()}
    try:
        message, timestamp = given["webhook-id"], int(given["webhook-timestamp"])
        signatures = given["webhook-signature"].split()
    except (KeyError, ValueError):
        return False
    if abs((now() if at is None else at) - timestamp) > tolerance:
        return False
    expected = sign(secret, message, timestamp, body).encode()
    return any(hmac.compare_digest(expected, one.encode()) for one in signatures)


def outcome_key(task_id: str, wait: str = "") -> dict[str, Any]:
    """Return the key of what came of a task's webhook, or of the webhook of one of its waits."""
    return row_key(task_id, f"WEBHOOK#{wait}" if wait else "WEBHOOK")


def outcome(row: Attributes | None) -> dict[str, Any]:
    """Return what came of a webhook so far, of the item that says so; pending where there is none."""
    found = values_of(row or {})
    return {
        "status": found.get("status", "pending"),
        "attempts": found.get("attempts", 0),
        "last_status": found.get("last_status"),
        "last_error": found.get("last_error"),
        "at": iso(float(found["at"])) if "at" in found else None,
    }


def enqueue(task: Task) -> None:
    """Have the webhook of an ended task delivered, if it asked for one."""
    _tell(task, {"type": f"task.{task.status}"})


def tell_waiting(task: Task) -> None:
    """Have it told that a task waits for somebody, if it asked for webhooks; ``gen`` names this wait."""
    _tell(task, {"type": WAITING, "wait": str(task.gen)})


def _tell(task: Task, what: dict[str, str]) -> None:
    url = task.params.get("webhook_url")
    if url and settings().queue_url_webhook:
        at = now()
        of_task = {"task_id": task.task_id, "url": str(url), "owner": owner_of(task.user)}
        send(what | of_task, attempt=1, first=at, due=at)


def send(what: Mapping[str, str], *, attempt: int, first: float, due: float) -> None:
    """Put try number ``attempt`` into the queue, for ``due``; ``first`` is when the first one was due (epoch s).

    ``what`` holds ``task_id``, ``type``, ``url`` and ``owner``. SQS hides a message for 900 s at most: one that is due
    later comes early and is sent on. The message group is the owner: its slow receivers delay its own deliveries,
    however many addresses it has.
    """
    value = {**what, "attempt": attempt, "first": first, "due": due}
    owner = what.get("owner") or what["url"].partition("?")[0]
    asked = lanes.message(value, user=owner, delay_s=due - now())
    with lanes.calling():
        aws.sqs().send_message(QueueUrl=settings().queue_url_webhook, **asked)


def receive(most: int, *, hidden_s: float) -> list[lanes.Received]:
    """Take at most ``most`` (1 to 10) deliveries that are there now, hidden for ``hidden_s`` whole seconds."""
    with lanes.calling():
        answer = aws.sqs().receive_message(
            QueueUrl=settings().queue_url_webhook,
            MaxNumberOfMessages=most,
            VisibilityTimeout=math.ceil(hidden_s),
            WaitTimeSeconds=0,
        )
    return [lanes.Received(message["Body"], message["ReceiptHandle"]) for message in answer.get("Messages", [])]


def delete(receipt: str) -> None:
    """Delete a delivery that is done with.

    Raises:
        DependencyDown: SQS is away; it comes back and is found done.
    """
    with lanes.calling():
        aws.sqs().delete_message_batch(
            QueueUrl=settings().queue_url_webhook, Entries=[{"Id": "0", "ReceiptHandle": receipt}]
        )
