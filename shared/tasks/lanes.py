"""Messages: one per queued task, saying only which task and which generation. The row is the truth.

Every re-queue raises the generation; a message of an older one is deleted when it is met. Sending is not part of any
transaction, so a message may be lost (the sweeper sends another) or doubled (the lease lets one through).
"""

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from shared import aws
from shared.errors import DependencyDown, SluiceError
from shared.logs import get_logger
from shared.settings import settings
from shared.tasks.model import dumps

MAX_DELAY_SECONDS = 900
"""SQS's longest DelaySeconds; a longer wait is sent on again when the message comes early."""
MAX_VISIBILITY_SECONDS = 43_200 - 1_800
"""Longest that a message is hidden: SQS counts 12 hours from its receive, and an invocation lasts half of one."""
RECEIVE_AT_ONCE = 10
"""Most messages that SQS hands out in one call."""
VERSION = 1
TASK_ID_BYTES = 256
"""Longest id taken from a message; ours have 37 characters, a redriven task's some more. A key holds 2048 bytes."""
MAX_GENERATION = 2**53

_log = get_logger("lanes")


class BadMessage(SluiceError):
    """A queue held something that is no Sluice message; it goes to the dead-letter queue."""

    code = "bad_message"


@dataclass(frozen=True, slots=True)
class Message:
    """What a queue carries."""

    task_id: str
    gen: int


def parse(body: str) -> Message:
    """Read a message body.

    Raises:
        BadMessage: it is not JSON, not of a known version or lacks a field.
    """
    task_id, gen = values(body, "a task message", task_id=str, gen=int)
    named = task_id.isascii() and task_id.isprintable() and 0 < len(task_id) <= TASK_ID_BYTES
    if not named or isinstance(gen, bool) or not 0 <= gen < MAX_GENERATION:
        raise BadMessage("no task has such an id or generation")
    return Message(task_id, gen)


def send(lane: str, task_id: str, gen: int, *, user: str, delay_s: float = 0, trace: str | None = None) -> None:
    """Put a task's message into a lane, hidden for ``delay_s`` (at most 900) seconds.

    The user is the message group: SQS fair queues then keep one user's flood from delaying the others.
    """
    extra: dict[str, Any] = {}
    if trace:
        extra["MessageSystemAttributes"] = {"AWSTraceHeader": {"DataType": "String", "StringValue": trace}}
    asked = message({"task_id": task_id, "gen": gen}, user=user, delay_s=delay_s)
    with calling():
        aws.sqs().send_message(QueueUrl=settings().queue_urls[lane], **asked, **extra)


def message(value: dict[str, Any], *, user: str, delay_s: float) -> dict[str, Any]:
    """Return what SQS is told of a message of any queue; ``user`` is the group that it counts for. See ``values``."""
    return {
        "MessageBody": dumps({"v": VERSION, **value}),
        "DelaySeconds": math.ceil(min(max(delay_s, 0), MAX_DELAY_SECONDS)),  # whole seconds, never too early
        "MessageGroupId": group(user),
    }


def values(body: str, what: str, **kinds: type) -> tuple[Any, ...]:
    """Return fields of what ``message`` made, each of its kind.

    Raises:
        BadMessage: it is none of those, which are told of as ``what``.
    """
    try:
        value = json.loads(body)
        found = tuple(value[name] for name in ("v", *kinds))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise BadMessage(f"not {what}") from error
    if found[0] != VERSION or not all(map(isinstance, found[1:], kinds.values())):
        raise BadMessage(f"not {what} of version {VERSION}")
    return found[1:]


@contextmanager
def calling() -> Iterator[None]:
    """Turn a failed call of SQS into what callers handle; a refused one is logged, as waiting does not mend it."""
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        if not aws.is_outage(error) or aws.error_code(error) in aws.UNSERVED:
            _log.error("SQS refused a call", extra={"code": aws.error_code(error), "cause": str(error)})
        raise DependencyDown("sqs") from error


def group(user: str) -> str:
    """Map a user to a message group: 128 characters of a limited alphabet, so a digest."""
    import hashlib

    return hashlib.sha256(user.encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Received:
    """A message as a queue handed it out."""

    body: str
    receipt: str
    receives: int = 1
    """How often, this time included."""


def receive(queue_url: str, most: int, *, hidden_s: float) -> list[Received]:
    """Take at most ``most`` (1 to 10) messages that are there now, hidden for ``hidden_s`` whole seconds."""
    with calling():
        answer = aws.sqs().receive_message(
            QueueUrl=queue_url,
            MaxNumberOfMessages=most,
            VisibilityTimeout=math.ceil(hidden_s),
            WaitTimeSeconds=0,
            MessageSystemAttributeNames=["ApproximateReceiveCount"],
        )
    return [
        Received(one["Body"], one["ReceiptHandle"], int(one.get("Attributes", {}).get("ApproximateReceiveCount", 1)))
        for one in answer.get("Messages", [])
    ]


def hide(queue_url: str, receipts: Sequence[tuple[str, float]]) -> list[int]:
    """Set how long messages stay hidden: (receipt handle, seconds). Returns the positions that SQS refused."""
    refused: list[int] = []
    for start in range(0, len(receipts), 10):
        entries: list[Any] = [
            {
                "Id": str(start + n),
                "ReceiptHandle": receipt,
                "VisibilityTimeout": int(min(max(seconds, 0), MAX_VISIBILITY_SECONDS)),
            }
            for n, (receipt, seconds) in enumerate(receipts[start : start + 10])
        ]
        with calling():
            answer = aws.sqs().change_message_visibility_batch(QueueUrl=queue_url, Entries=entries)
        refused += [int(entry["Id"]) for entry in answer.get("Failed", [])]
    return refused


def delete(queue_url: str, receipts: Sequence[str]) -> None:
    """Delete messages that are done with.

    Raises:
        DependencyDown: SQS is away; they come back and are found done.
    """
    for start in range(0, len(receipts), 10):
        entries: list[Any] = [{"Id": str(n), "ReceiptHandle": r} for n, r in enumerate(receipts[start : start + 10])]
        with calling():
            aws.sqs().delete_message_batch(QueueUrl=queue_url, Entries=entries)


def backlog(queue_url: str) -> dict[str, int]:
    """Return roughly how many messages are ``visible``, ``in_flight`` and ``delayed``."""
    names = {
        "visible": "ApproximateNumberOfMessages",
        "in_flight": "ApproximateNumberOfMessagesNotVisible",
        "delayed": "ApproximateNumberOfMessagesDelayed",
    }
    with calling():
        answer = aws.sqs().get_queue_attributes(QueueUrl=queue_url, AttributeNames=list(names.values()))  # type: ignore[arg-type]
    return {short: int(answer["Attributes"].get(full, 0)) for short, full in names.items()}  # type: ignore[call-overload]
