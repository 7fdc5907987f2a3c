"""Queues of moto, quick: what is asked of one for every message that is sent or received.

`tests/unit/test_quick_moto.py` holds the answers against those of moto as it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any

from moto.core import utils
from moto.sqs.models import Message, Queue

__all__ = ["Attributes", "camelcase_to_underscores", "messages", "unix_time"]


camelcase_to_underscores = cache(utils.camelcase_to_underscores)
"""The name of an attribute, as moto's models have it; spelt out anew for each of a queue's, and of a message's."""


class Attributes(Mapping[str, Any]):
    """A queue's attributes, each found when it is asked for.

    Moto finds all of them for each message that is sent or received, and for that goes through the queue's messages
    thrice, asking the time for each twice.
    """

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    def __iter__(self) -> Iterator[str]:
        queue: Any = self._queue
        yield from queue.BASE_ATTRIBUTES
        yield from queue.FIFO_ATTRIBUTES if queue.fifo_queue else ()
        yield from queue.KMS_ATTRIBUTES if queue.kms_master_key_id else ()

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __getitem__(self, name: str) -> Any:
        if name not in iter(self):
            raise KeyError(name)
        value = getattr(self._queue, camelcase_to_underscores(name))
        if name == "RedrivePolicy" and value:
            return json.dumps(value)
        return str(value).lower() if isinstance(value, bool) else value


def messages(self: Queue) -> list[Message]:
    """Return the messages that are to be had now, asking for the time once."""
    now = unix_time() * 1000
    return [one for one in self._messages if now > one.visible_at and now >= one.delayed_until]


def unix_time(dt: datetime | None = None) -> float:
    """Return the seconds of a time without zone, UTC, or of now."""
    return (datetime.now(UTC) if dt is None else dt.replace(tzinfo=UTC)).timestamp()
