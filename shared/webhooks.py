"""Webhooks in the form of Standard Webhooks (https://www.standardwebhooks.com): ids, signatures, and the way in.

The secret of an API key is derived from the deployment's: HMAC-SHA256 of the key's id. Nothing is stored, and rotating
the deployment's secret rotates them all. An id names a task's end: every delivery of it carries the same one.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from shared import aws
from shared.clock import now
from shared.errors import DependencyDown
from shared.netguard import check_url
from shared.settings import settings
from shared.tasks.model import dumps

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.tasks.model import Task

TOLERANCE_SECONDS = 300
"""How far a signature's timestamp may be from the receiver's clock."""
VERSION = 1


def check_target(url: str) -> None:
    """Hold a webhook's URL against the rules, as far as that goes without resolving its name.

    Raises:
        Forbidden: not https (on AWS), a user name in it, too long, or an address that is not public.
    """
    check_url(url, https_only=not settings().allow_private_addresses)


def secret_for(key_id: str) -> str:
    """Return the signing secret of an API key, ``whsec_…``; empty when the deployment has none."""
    if not settings().webhook_secret:
        return ""
    digest = hmac.new(settings().webhook_secret.encode(), key_id.encode(), hashlib.sha256).digest()
    return "whsec_" + base64.b64encode(digest).decode()


def message_id(task: Task) -> str:
    """Return the id of the webhook of a task's end: stable, so that a receiver can tell a repeat."""
    return f"msg_{task.task_id}_{task.status}"


def sign(secret: str, message: str, timestamp: int, body: bytes) -> str:
    """Return the ``webhook-signature`` of a delivery."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.new(key, f"{message}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


def verify(secret: str, headers: Mapping[str, str], body: bytes, *, at: float | None = None) -> bool:
    """Check a delivery as its receiver should: signature and age."""
    try:
        message, timestamp = headers["webhook-id"], int(headers["webhook-timestamp"])
        given = headers["webhook-signature"].split()
    except (KeyError, ValueError):
        return False
    if abs((now() if at is None else at) - timestamp) > TOLERANCE_SECONDS:
        return False
    expected = sign(secret, message, timestamp, body)
    return any(hmac.compare_digest(expected, one) for one in given)


def enqueue(task: Task) -> None:
    """Have the webhook of an ended task delivered, if it asked for one.

    Raises:
        DependencyDown: SQS is away.
    """
    url = task.params.get("webhook_url")
    if url and settings().queue_url_webhook:
        send(task.task_id, str(url), attempt=1, first=now(), delay_s=0)


def send(task_id: str, url: str, *, attempt: int, first: float, delay_s: float) -> None:
    """Put one delivery into the queue; ``first`` is when the first one was due.

    Raises:
        DependencyDown: SQS is away.
    """
    body = dumps({"v": VERSION, "task_id": task_id, "url": url, "attempt": attempt, "first": first})
    try:
        aws.sqs().send_message(
            QueueUrl=settings().queue_url_webhook, MessageBody=body, DelaySeconds=int(min(max(delay_s, 0), 900))
        )
    except (ClientError, BotoCoreError) as error:
        raise DependencyDown("sqs") from error
