"""SQS: what its quotas say of one request, and of what was received before."""

from __future__ import annotations

import re
import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from localstack.strict.lineage import root_of
from localstack.strict.report import Refused
from localstack.strict.rules import RULES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HANDLES = 200_000
"""Receipt handles remembered."""
_GROUP = re.compile(r"[A-Za-z0-9!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~]{1,128}")
_SENDS = ("SendMessage", "SendMessageBatch")
_HIDES = ("ChangeMessageVisibility", "ChangeMessageVisibilityBatch")


class Queues:
    """The rules of SQS, with the receives that they count from."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        """Know of no receive."""
        self._now = now
        self._lock = threading.Lock()
        self._received: OrderedDict[str, float] = OrderedDict()
        self._in_flight: dict[str, dict[str, float]] = {}

    def check(self, operation: str, body: dict[str, Any]) -> None:
        """Hold a request against the rules.

        Raises:
            Refused: it breaks one.
        """
        if operation in _SENDS:
            for entry in _entries(body):
                _check_message(entry)
        elif operation in _HIDES:
            for entry in _entries(body):
                self._check_visibility(entry)
        elif operation == "ReceiveMessage":
            if (body.get("WaitTimeSeconds") or 0) > RULES["sqs-wait"].most:
                raise _value("sqs-wait", f"WaitTimeSeconds {body['WaitTimeSeconds']} must be between 0 and 20.")
            if (body.get("VisibilityTimeout") or 0) > RULES["sqs-visibility"].most:
                raise _value("sqs-visibility", f"VisibilityTimeout {body['VisibilityTimeout']} is over 12 hours.")
            self._check_in_flight(str(body.get("QueueUrl")))

    def received(self, queue: str, handles: list[str], hidden_s: float) -> None:
        """Note messages that were handed out, by a call or to a function."""
        at = self._now()
        with self._lock:
            flight = self._in_flight.setdefault(queue, {})
            for handle in handles:
                self._received[handle] = at
                flight[handle] = at + hidden_s
            while len(self._received) > HANDLES:
                self._received.popitem(last=False)

    def deleted(self, queue: str, handles: list[str]) -> None:
        """Note messages that are gone."""
        with self._lock:
            flight = self._in_flight.get(queue, {})
            for handle in handles:
                flight.pop(handle, None)

    def _check_visibility(self, entry: dict[str, Any]) -> None:
        asked = float(entry.get("VisibilityTimeout") or 0)
        held = self._now() - self._received.get(str(entry.get("ReceiptHandle")), self._now())
        if asked and asked + held > RULES["sqs-visibility"].most:
            raise _value(
                "sqs-visibility", "Total VisibilityTimeout for the message is beyond the limit [43200 seconds]"
            )

    def _check_in_flight(self, queue: str) -> None:
        with self._lock:
            flight = self._in_flight.get(queue, {})
            if len(flight) < RULES["sqs-in-flight"].most:
                return
            at = self._now()
            self._in_flight[queue] = {handle: until for handle, until in flight.items() if until > at}
            if len(self._in_flight[queue]) >= RULES["sqs-in-flight"].most:
                raise Refused("sqs-in-flight", "OverLimit", f"{queue} has too many messages in flight", status=403)


def _entries(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    entries = body.get("Entries")
    yield from entries if isinstance(entries, list) else [body]


def _check_message(entry: dict[str, Any]) -> None:
    delay = entry.get("DelaySeconds") or 0
    if not 0 <= delay <= RULES["sqs-delay"].most:
        raise _value("sqs-delay", f"Value {delay} for parameter DelaySeconds is invalid. Must be between 0 and 900.")
    group = entry.get("MessageGroupId")
    if group is not None and not _GROUP.fullmatch(group):
        raise _value("sqs-group", "MessageGroupId can only include alphanumeric and punctuation characters. 1 to 128.")
    if len(entry.get("MessageAttributes") or {}) > RULES["sqs-attributes"].most:
        raise _value("sqs-attributes", "Number of message attributes exceeds the allowed maximum [10].")
    trace = ((entry.get("MessageSystemAttributes") or {}).get("AWSTraceHeader") or {}).get("StringValue")
    if trace is not None and root_of(trace) is None:
        raise _value("sqs-trace", f"AWSTraceHeader {trace[:60]!r} is no trace header.")


def _value(rule: str, message: str) -> Refused:
    return Refused(rule, "InvalidParameterValue", message)
