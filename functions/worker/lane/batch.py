"""One invocation: all records of the batch at once, more as slots come free, each message deleted as its run ends.

A batch lasts as long as its slowest run, and the poller deletes only afterwards. A message whose run ended long before
would come back and be declined; it is deleted here instead. What ends together with the batch is left to the poller.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from functions.worker.environment.environment import Environment
from functions.worker.lane.deliveries import Delivery, Disposition, claim_together
from functions.worker.lane.refill import Refill
from functions.worker.lane.share import give_back_unread
from functions.worker.lane.slots import Slot, Slots
from functions.worker.record.persist import persist
from functions.worker.run.runner import handle
from shared.errors import DependencyDown
from shared.logs import get_logger
from shared.settings import settings
from shared.tasks import lanes

DELETE_LINGER_SECONDS = 1.0
"""How long ended messages are collected before they are deleted in one call."""

_log = get_logger("batch")


async def run_batch(event: dict[str, Any], deadline: float, environment: Environment) -> dict[str, Any]:
    """Run every record of an SQS event; returns the partial batch response."""
    began = time.monotonic()
    records: list[dict[str, Any]] = event.get("Records", [])
    deliveries = {record["messageId"]: _read(record) for record in records}
    good = {message_id: delivery for message_id, delivery in deliveries.items() if delivery is not None}
    first = next(iter(good.values()), None)
    environment.untold.deadline = deadline
    share = environment.begin(first.lane if first else "", first.queue_url if first else "")
    if first is not None and await share.stopped():
        return await _give_back(deliveries, good)
    # Beside the claims, which need not wait for it; not after them: a run that kills its environment does so at once.
    hidden = asyncio.create_task(_hide_for_one_lease(list(good.values())))
    deleter = Deleter()
    kept = [message_id for message_id, delivery in deliveries.items() if delivery is None]
    refilled = 0

    async def run(claims: asyncio.Task[list[Delivery]], n: int, message_id: str | None, slot: Slot) -> None:
        delivery = (await claims)[n]
        if await _done(delivery, environment, deadline, slot):
            deleter.add(delivery, polled=message_id is not None)
        elif message_id is not None:
            kept.append(message_id)

    slots = Slots(settings().runs_per_environment)

    def start(deliveries: list[Delivery], message_ids: Sequence[str | None]) -> None:
        if not deliveries:
            return
        claims = asyncio.create_task(_claim(deliveries))
        for n, message_id in enumerate(message_ids):
            slots.start(partial(run, claims, n, message_id))

    start([replace(delivery, hidden=hidden) for delivery in good.values()], list(good))
    refill = Refill(good.values(), deadline, environment, share)
    while not slots.empty or refill.holds or refill.curious(slots):
        more = await refill.more(slots)
        refilled += len(more)
        start(more, [None] * len(more))
    await hidden
    await deleter.close()
    await environment.reported()
    counts = {"records": len(records), "refilled": refilled, "kept": len(kept)}
    _log.info("batch done", extra=counts | {"seconds": round(time.monotonic() - began, 3)})
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in kept]}


async def _give_back(deliveries: dict[str, Delivery | None], good: dict[str, Delivery]) -> dict[str, Any]:
    """Give back the messages of a paused lane; the poller deletes those that were sent anew."""
    kept = await asyncio.to_thread(give_back_unread, good.values())
    ids = [message_id for message_id, one in deliveries.items() if one is None or one in kept]
    _log.info("lane paused", extra={"given_back": len(good) - len(kept), "kept": len(ids)})
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in ids]}


async def _claim(deliveries: list[Delivery]) -> list[Delivery]:
    """Claim together; whatever comes of that, each message is seen to: whose task was not had is asked for alone."""
    try:
        return await claim_together(deliveries)
    except Exception:
        _log.exception("not claimed together")
        return deliveries


async def _done(delivery: Delivery, environment: Environment, deadline: float, slot: Slot) -> bool:
    """Run one task; whether its message is done with."""
    try:
        return await handle(delivery, environment, deadline, slot) is Disposition.DONE
    except Exception:
        # One run's surprise must not touch its neighbours. Its message comes back after the lease.
        _log.exception("run given up", extra={"task_id": delivery.message.task_id})
        return False


def _read(record: dict[str, Any]) -> Delivery | None:
    arn = str(record.get("eventSourceARN", ""))
    try:
        message = lanes.parse(record["body"])
    except lanes.BadMessage as error:
        _log.error("bad message", extra={"message_id": record.get("messageId"), "error": error.message, "queue": arn})
        return None
    lane, url = _lane_of(arn)
    receives = int(record.get("attributes", {}).get("ApproximateReceiveCount", 1))
    return Delivery(message, lane, url, record["receiptHandle"], receives)


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
        self._ended: list[tuple[Delivery, bool]] = []
        self._timer: asyncio.Task[None] | None = None
        self._deleting = asyncio.Lock()

    def add(self, delivery: Delivery, *, polled: bool) -> None:
        """Delete this message soon; if the poller brought it, unless the batch ends first. There may be none."""
        if not delivery.receipt:
            return
        self._ended.append((delivery, polled))
        if self._timer is None or self._timer.done():
            self._timer = asyncio.create_task(self._later())

    async def close(self) -> None:
        """Delete what is left, but for what the poller deletes."""
        async with self._deleting:  # what is being deleted now is not cut off
            if self._timer is not None:
                self._timer.cancel()
        self._ended = [(delivery, polled) for delivery, polled in self._ended if not polled]
        await self._delete()

    async def _later(self) -> None:
        await asyncio.sleep(DELETE_LINGER_SECONDS)
        async with self._deleting:
            await self._delete()

    async def _delete(self) -> None:
        ended, self._ended = self._ended, []
        by_queue: defaultdict[str, list[str]] = defaultdict(list)
        for delivery, _ in ended:
            by_queue[delivery.queue_url].append(delivery.receipt)
        for url, receipts in by_queue.items():
            try:
                await persist(lanes.delete, url, receipts)
            except DependencyDown as error:
                _log.warning("messages not deleted", extra={"error": error.message})
