"""One invocation: all records of the batch at once, each message deleted as its run ends.

A batch lasts as long as its slowest run, and the poller deletes only afterwards. A message whose run ended long before
would come back and be declined; it is deleted here instead. What ends together with the batch is left to the poller.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from functions.worker.persist import persist
from functions.worker.runner import Delivery, Disposition, handle
from shared.errors import DependencyDown
from shared.logs import get_logger
from shared.settings import settings
from shared.tasks import lanes

if TYPE_CHECKING:
    from functions.worker.environment import Environment

DELETE_LINGER_SECONDS = 1.0
"""How long ended messages are collected before they are deleted in one call."""

_log = get_logger("batch")


async def run_batch(event: dict[str, Any], deadline: float, environment: Environment) -> dict[str, Any]:
    """Run every record of an SQS event; returns the partial batch response."""
    records: list[dict[str, Any]] = event.get("Records", [])
    deleter = Deleter()
    deliveries = {record["messageId"]: _read(record) for record in records}
    await _hide_for_one_lease([d for d in deliveries.values() if d is not None])
    kept = await asyncio.gather(*(_one(mid, d, environment, deadline, deleter) for mid, d in deliveries.items()))
    await deleter.close()
    await environment.reported()
    failures = [message_id for message_id in kept if message_id is not None]
    _log.info("batch done", extra={"records": len(records), "kept": len(failures)})
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failures]}


async def _one(
    message_id: str, delivery: Delivery | None, environment: Environment, deadline: float, deleter: Deleter
) -> str | None:
    if delivery is None:
        return message_id
    try:
        disposition = await handle(delivery, environment, deadline)
    except Exception:
        # One run's surprise must not touch its neighbours. Its message comes back after the lease.
        _log.exception("run given up", extra={"task_id": delivery.message.task_id})
        return message_id
    if disposition is Disposition.KEEP:
        return message_id
    deleter.add(delivery)
    return None


def _read(record: dict[str, Any]) -> Delivery | None:
    arn = str(record.get("eventSourceARN", ""))
    try:
        message = lanes.parse(record["body"])
    except lanes.BadMessage as error:
        _log.error("bad message", extra={"message_id": record.get("messageId"), "error": error.message, "queue": arn})
        return None
    lane, url = _lane_of(arn)
    return Delivery(message, lane, url, record["receiptHandle"])


def _lane_of(arn: str) -> tuple[str, str]:
    name = arn.rsplit(":", 1)[-1]
    for lane, url in settings().queue_urls.items():
        if url.rsplit("/", 1)[-1] == name:
            return lane, url
    raise ValueError(f"no lane has the queue {name}")


async def _hide_for_one_lease(deliveries: list[Delivery]) -> None:
    """Bring messages back after one lease instead of the queue's long timeout, should this environment die."""
    by_queue: defaultdict[str, list[tuple[str, float]]] = defaultdict(list)
    for delivery in deliveries:
        by_queue[delivery.queue_url].append((delivery.receipt, settings().lease_seconds))
    for url, receipts in by_queue.items():
        try:
            await asyncio.to_thread(lanes.hide, url, receipts)
        except DependencyDown as error:
            _log.warning("messages not hidden", extra={"error": error.message})


class Deleter:
    """Deletes ended messages in groups, a little later."""

    def __init__(self) -> None:
        """Start empty."""
        self._ended: list[Delivery] = []
        self._timer: asyncio.Task[None] | None = None

    def add(self, delivery: Delivery) -> None:
        """Delete this message soon, unless the batch ends first."""
        self._ended.append(delivery)
        if self._timer is None or self._timer.done():
            self._timer = asyncio.create_task(self._later())

    async def close(self) -> None:
        """Leave what has not been deleted yet to the poller."""
        if self._timer is not None:
            self._timer.cancel()
            await asyncio.gather(self._timer, return_exceptions=True)

    async def _later(self) -> None:
        await asyncio.sleep(DELETE_LINGER_SECONDS)
        ended, self._ended = self._ended, []
        by_queue: defaultdict[str, list[str]] = defaultdict(list)
        for delivery in ended:
            by_queue[delivery.queue_url].append(delivery.receipt)
        for url, receipts in by_queue.items():
            try:
                await persist(lanes.delete, url, receipts)
            except DependencyDown as error:
                _log.warning("messages not deleted", extra={"error": error.message})
