"""Held requests: how many of them this function may have, and whose; and how each looks again until it is done.

Cost: a held answer reads the task's row (half a DynamoDB read unit per 4 KB were it eventually consistent; one, as it
is consistent) after 0.1 s, then at intervals that grow by half up to 1 s: at most 31 reads for 25 s, against one
Lambda invocation held open at the API's memory size. One that there is no place for is answered at once, with what
there is, and one whose place is owed to another at its next look.

The concurrency that counts is what the function has reserved (``ApiReservedConcurrency``, or whatever was set since):
Lambda is asked, twice a minute at most by all environments together, as they share the answer in Valkey.
"""

import os
import time
import uuid
from collections.abc import Callable, MutableMapping
from functools import cache
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from functions.api.read.remembered import Remembered
from shared import aws, valkey
from shared.limits.holds import RETRY_AFTER_S, Holds, room
from shared.limits.shares import owner_of
from shared.logs import get_logger
from shared.settings import settings

UNRESERVED = 100
"""Concurrency assumed of a function that has none reserved: a tenth of what AWS gives most accounts in all."""
KNOWN_S = 30
"""How long an answer of Lambda's is good for."""
LEASE_S = 5.0
"""How long a hold lasts that is not renewed; every look at the task renews it."""
FIRST_SLEEP_S = 0.1
GROWTH = 1.5
LONGEST_SLEEP_S = 1.0
MARGIN_S = 1.5
"""Left of the function's own time for the answer to get out."""

_log = get_logger("api")


def place() -> str:
    """Name this function among those that hold requests; locally, outside of one, ``api``."""
    return os.environ.get("AWS_LAMBDA_FUNCTION_NAME") or "api"


def _reserved() -> int:
    key = f"{{sluice:holds:{place()}}}:concurrency"
    try:
        known = valkey.client().get(key)
    except valkey.RedisError:
        return UNRESERVED  # nothing can be counted either
    if known is not None:
        return int(known)
    found = _asked()
    try:
        valkey.client().set(key, found, ex=KNOWN_S)
    except valkey.RedisError as error:
        _log.warning("concurrency not noted", extra={"cause": str(error)})
    return found


def _asked() -> int:
    name = os.environ.get("AWS_LAMBDA_FUNCTION_NAME")
    if not name:
        return UNRESERVED
    try:
        answer = aws.lambda_client().get_function_concurrency(FunctionName=name)
    except (ClientError, BotoCoreError) as error:
        _log.warning("concurrency not read", extra={"cause": str(error)})
        return UNRESERVED
    return int(answer.get("ReservedConcurrentExecutions", UNRESERVED))


@cache
def _known() -> Remembered[int]:
    return Remembered(_reserved, KNOWN_S / 3)


def concurrency() -> int:
    """Return how many requests this function works on at once."""
    return settings().api_reserved_concurrency or _known()()


@cache
def _holds(capacity: int) -> Holds:
    return Holds(place(), capacity)


class Held:
    """One request that its caller wants held. ``headers`` gets a ``Retry-After`` when it cannot be, or no longer."""

    def __init__(self, user: str, headers: MutableMapping[str, str]) -> None:
        """Note whose request it is; nothing is counted yet."""
        self._owner = owner_of(user)
        self._headers = headers
        self._id = ""
        self._of: Holds | None = None
        self.lost = False
        """Whether its place was owed to another, or is gone."""

    def go_on(self) -> bool:
        """Begin to hold it, or go on; False when it is to be answered now."""
        if self._of is None:
            self._id, self._of = uuid.uuid4().hex, _holds(room(concurrency()))
            kept = self._of.take(self._owner, self._id, ttl_s=LEASE_S)
        else:
            kept = self._of.renew(self._owner, self._id, ttl_s=LEASE_S)
        if not kept:
            self.lost = True
            self._headers["Retry-After"] = str(RETRY_AFTER_S)
        return kept

    def end(self) -> None:
        """Stop holding it."""
        if self._of is not None:
            self._of.release(self._owner, self._id)


def hold[T](look: Callable[[], T], done: Callable[[T], bool], wait_s: float, context: Any, held: Held) -> T:
    """Return what ``look`` sees once ``done`` says so, or what it sees when the time is up or ``held`` has no place.

    Never longer than ``wait_s``, ``RESULT_MAX_WAIT`` and the Lambda ``context``'s remaining time allow. Failures of
    ``look`` pass through.
    """
    try:
        return _hold(look, done, wait_s, context, held)
    finally:
        held.end()


def _hold[T](look: Callable[[], T], done: Callable[[T], bool], wait_s: float, context: Any, held: Held) -> T:
    started = time.monotonic()
    room = min(wait_s, settings().result_max_wait)
    if context is not None:
        room = min(room, context.get_remaining_time_in_millis() / 1000 - MARGIN_S)
    sleep = FIRST_SLEEP_S
    while True:
        seen = look()
        left = room - (time.monotonic() - started)
        if left <= 0 or done(seen) or not held.go_on():
            return seen
        time.sleep(min(sleep, left))
        sleep = min(sleep * GROWTH, LONGEST_SLEEP_S)
