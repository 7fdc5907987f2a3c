"""A run's log from its first event to its last, as it is written."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from shared import watchers
from shared.logs import get_logger
from shared.tasks import events
from shared.valkey import RedisError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shared.tasks.events import Event

FIRST_SLEEP_S = 0.05
GROWTH = 1.3
LONGEST_SLEEP_S = 0.5
READER_SECONDS = 60.0
"""For so long after each look a run's text is stored as it comes; see `watchers.reading`."""
KEEP_ALIVE_SECONDS = 15.0
"""Longest silence: proxies drop a connection that says nothing for half a minute or a minute."""

_log = get_logger("following")


def follow(task_id: str, until: float) -> Iterator[Event | None]:
    """Yield all events of a task, waiting for those to come, and None after each ``KEEP_ALIVE_SECONDS`` of silence.

    Ends after the event that ends the task, or at ``until`` (`time.monotonic`).

    Raises:
        NotFound: the task is gone.
        DependencyDown: DynamoDB is away.
    """
    last, sleep, noted, spoke = 0, FIRST_SLEEP_S, 0.0, time.monotonic()
    while True:
        at = time.monotonic()
        if at - noted > READER_SECONDS / 2:
            noted = at
            _note_reader(task_id)
        page = events.read(task_id, last)
        for event in page.events:
            last, sleep, spoke = event.seq, FIRST_SLEEP_S, time.monotonic()
            yield event
            if event.type in events.TERMINAL_EVENTS:
                return
        if page.task.status.terminal and last >= page.task.last_seq:
            return  # its end expired from the log
        at = time.monotonic()
        if at >= until:
            return
        if at - spoke >= KEEP_ALIVE_SECONDS:
            spoke = at
            yield None
        time.sleep(sleep)
        sleep = min(sleep * GROWTH, LONGEST_SLEEP_S)


def _note_reader(task_id: str) -> None:
    try:
        watchers.reading(task_id, READER_SECONDS)
    except RedisError as error:  # the text comes later, in larger pieces; nothing else is lost
        _log.warning("reader not noted", extra={"task_id": task_id, "error": str(error)})
