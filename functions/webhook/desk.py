"""Deliveries under way in one invocation, shared among owners (`shared.limits.shares`).

A receiver that never answers keeps a thread for ten seconds, and its invocation with it. So an invocation receives more
by itself while it has threads free: others' deliveries do not wait for it. An owner alone may use `CAPACITY` threads;
when another comes it has its share at once. What is above its owner's share goes back into the queue, as new.
"""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from functions.webhook.deliver import BadDelivery, Delivery, parse
from shared import webhooks
from shared.clock import now
from shared.errors import DependencyDown
from shared.limits.shares import OVERDRAFT, may_take
from shared.logs import get_logger
from shared.tasks.lanes import RECEIVE_AT_ONCE

CAPACITY = 20
"""Deliveries at once of one invocation; twice as many while owners below their share are let in."""
PUT_OFF_SECONDS = 2.0
"""When a delivery above its owner's share is taken up again; that is no try."""
LOOK_SECONDS = 0.3
"""How often more are received while some are under way."""
HIDDEN_SECONDS = 60.0
"""How long a message received here stays hidden: longer than its delivery may take."""
LAST_SECONDS = 15.0
"""Nothing more is received when less of the function's time is left: one delivery needs it."""

_log = get_logger("webhook")


class Desk:
    """One invocation's deliveries. ``see_to`` sees to a message's body, and tells whether it is done with."""

    def __init__(self, see_to: Callable[[str, str], bool], until: float) -> None:
        """Start with none; ``until`` is when nothing more is received, epoch seconds."""
        self._see_to = see_to
        self._until = until
        self._next = now() + LOOK_SECONDS
        self._uses: Counter[str] = Counter()
        self._running: dict[Future[bool], tuple[str, str]] = {}
        """By what tells its end: each delivery's owner and message."""
        self._pool = ThreadPoolExecutor(OVERDRAFT * CAPACITY, thread_name_prefix="deliver")
        self.kept: list[str] = []
        """Messages that are to come back."""

    def run(self, records: dict[str, str]) -> list[str]:
        """Deliver an event's messages, id -> body, and what comes meanwhile; returns the ids that must come back."""
        with self._pool:
            self._take(records)
            while self._running:
                done, _ = wait(self._running, timeout=LOOK_SECONDS, return_when=FIRST_COMPLETED)
                self._ended(done)
                if self._running and now() >= self._next:
                    self._next = now() + LOOK_SECONDS
                    self._receive()
        return [message_id for message_id in records if message_id in self.kept]

    def _take(self, messages: dict[str, str]) -> None:
        """Begin the deliveries that may be made now, and only then put the others off: that takes a while."""
        late = [(message, delivery) for message, body in messages.items() if (delivery := self._begin(message, body))]
        for message, delivery in late:
            self._put_off(message, delivery)

    def _begin(self, message: str, body: str) -> Delivery | None:
        """Deliver a message now; returns it if its owner has its share already."""
        try:
            delivery = parse(body)
        except BadDelivery:
            owner = ""
        else:
            owner = delivery.owner
            there = len(self._uses) + (owner not in self._uses)
            if not may_take(self._uses[owner], self._uses.total(), there, CAPACITY):
                self._drop(owner)
                return delivery
        self._uses[owner] += 1
        self._running[self._pool.submit(self._see_to, message, body)] = owner, message
        return None

    def _put_off(self, message: str, delivery: Delivery) -> None:
        try:
            delivery.again(attempt=delivery.attempt, due=max(delivery.due, now() + PUT_OFF_SECONDS))
        except DependencyDown as error:
            _log.error("webhook not put off", extra={"task_id": delivery.task_id, "error": error.message})
            self.kept.append(message)
            return
        _delete(message)

    def _drop(self, owner: str) -> None:
        if not self._uses[owner]:
            del self._uses[owner]

    def _ended(self, done: set[Future[bool]]) -> None:
        for future in done:
            owner, message = self._running.pop(future)
            self._uses[owner] -= 1
            self._drop(owner)
            if future.result():
                _delete(message)
            else:
                self.kept.append(message)

    def _receive(self) -> None:
        """Receive what is there now, if there is time and a thread for each."""
        room = OVERDRAFT * CAPACITY - len(self._running)
        if now() >= self._until or room <= 0:
            return
        most = min(room, RECEIVE_AT_ONCE)
        try:
            found = webhooks.receive(most, hidden_s=HIDDEN_SECONDS)
        except DependencyDown as error:
            _log.warning("queue not asked", extra={"error": error.message})
            return
        self._take({RECEIVED + one.receipt: one.body for one in found})


RECEIVED = "received:"
"""In front of the receipt handle of a message that was received here, in the place of a message id."""


def _delete(message: str) -> None:
    """Delete a message that was received here; the poller deletes its own."""
    if message.startswith(RECEIVED):
        try:
            webhooks.delete(message.removeprefix(RECEIVED))
        except DependencyDown as error:  # it comes back, and is found done
            _log.warning("webhook message not deleted", extra={"error": error.message})
