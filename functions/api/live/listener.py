"""This environment's ear: one subscription to Valkey for all the streams that it serves.

The subscription lives as long as there is a stream. On Lambda, where an environment is frozen between requests, no
socket is therefore found dead that nobody was told of.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from shared import live, valkey
from shared.logs import get_logger
from shared.valkey import RedisError

if TYPE_CHECKING:
    from functions.api.live.ear import Ear

SUBSCRIBE_SECONDS = 2.0
"""How long a subscription may take to be confirmed."""
RETRY_SECONDS = 1.0
"""Pause before a lost subscription is made anew."""

_CLOSED = (TypeError, ValueError, AttributeError, RuntimeError)
"""What redis-py raises in a thread whose connection another one closes, or makes anew."""

_log = get_logger("listener")


class Listener:
    """One subscription, shared by all ears of the environment. Its methods block; they are called in threads."""

    def __init__(self) -> None:
        self.name = secrets.token_hex(8)
        self.streams = 0
        """How many streams hear something now."""
        self._ears: dict[str, set[Ear]] = {}
        self._lock = threading.Lock()
        self._subscription: _Subscription | None = None

    @property
    def well(self) -> bool:
        """Whether messages can arrive."""
        subscription = self._subscription
        return subscription is not None and subscription.alive and subscription.well

    def add(self, ear: Ear) -> None:
        """Let a stream hear of its task. What is stored from when this returns on, it hears of.

        Raises:
            RedisError: Valkey is away: it hears nothing, and has to look. `renew` tries again.
        """
        with self._lock:
            if ear.closed:  # its stream was given up while this was under way
                return
            self._ears.setdefault(ear.task_id, set()).add(ear)
            self._count()
        self.renew(ear)

    def renew(self, ear: Ear) -> None:
        """Keep a registration from lapsing, and subscribe where that has not been done.

        Raises:
            RedisError: Valkey is away.
        """
        with self._lock:
            if ear.closed:
                return
            if self._subscription is None or not self._subscription.alive:
                self._subscription = _Subscription(self, self._ears)
            confirmed = self._subscription.follow(ear.task_id)
        live.listen(ear.task_id, self.name)
        if ear.closed and not self._of(ear.task_id):  # its stream ended meanwhile
            live.leave(ear.task_id, self.name)
            return
        if not confirmed.wait(SUBSCRIBE_SECONDS):
            raise valkey.Away("the subscription was not confirmed")

    def remove(self, ear: Ear) -> None:
        """Forget a stream; never raises."""
        with self._lock:
            ear.closed = True
            ears = self._ears.get(ear.task_id, set())
            ears.discard(ear)
            last_of_task = not ears
            self._count()
            if last_of_task:
                self._ears.pop(ear.task_id, None)
            subscription = self._subscription
            if not self._ears:
                self._subscription = None
            elif last_of_task and subscription is not None:
                subscription.leave(ear.task_id)
            ended = subscription if not self._ears else None
        try:
            if last_of_task:
                live.leave(ear.task_id, self.name)
                if self._of(ear.task_id):  # another stream of the task began meanwhile
                    live.listen(ear.task_id, self.name)
        except RedisError:
            _log.info("registration left to lapse", extra={"task_id": ear.task_id})
        if ended is not None:
            ended.end()

    def heard(self, text: str) -> None:
        """Pass a message on."""
        try:
            message = live.decode(text)
        except (ValueError, KeyError, TypeError) as error:  # of another version: there is the log
            _log.warning("message not understood", extra={"error": type(error).__name__})
            self.missed()
            return
        for ear in self._of(message.task_id):
            ear.hear(message)

    def missed(self) -> None:
        """Tell every stream that messages may have been lost."""
        with self._lock:
            ears = [ear for of_task in self._ears.values() for ear in of_task]
        for ear in ears:
            ear.hear(None)

    def _count(self) -> None:
        self.streams = sum(len(ears) for ears in self._ears.values())

    def _of(self, task_id: str) -> list[Ear]:
        with self._lock:
            return list(self._ears.get(task_id, ()))


class _Subscription:
    """A connection that is subscribed to the channels of tasks, and the thread that reads it."""

    def __init__(self, listener: Listener, task_ids: Iterable[str]) -> None:
        """Subscribe.

        Raises:
            RedisError: Valkey is away.
        """
        self._listener = listener
        self._ended = False
        self._lock = threading.Lock()
        """Guards what follows; only the thread reads, and any may send."""
        self._confirmed = {live.channel(task_id): threading.Event() for task_id in task_ids}
        self.well = False
        self._open()
        self._thread = threading.Thread(target=self._read, name="listener", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive() and not self._ended

    def follow(self, task_id: str) -> threading.Event:
        """Subscribe to a task's channel, if that has not been done; returns what is set when it is confirmed.

        Raises:
            RedisError: Valkey is away. It is subscribed to with the others once it is back.
        """
        channel = live.channel(task_id)
        with self._lock:
            confirmed = self._confirmed.get(channel)
            if confirmed is None:
                if self.well:
                    self._pubsub.subscribe(channel)
                confirmed = self._confirmed[channel] = threading.Event()
        return confirmed

    def leave(self, task_id: str) -> None:
        """Unsubscribe; never raises."""
        channel = live.channel(task_id)
        with self._lock:
            if self._confirmed.pop(channel, None) is None or not self.well:
                return
            try:
                self._pubsub.unsubscribe(channel)
            except (RedisError, OSError, *_CLOSED):
                return  # whoever reads sees it, too

    def end(self) -> None:
        self._ended = True

    def _open(self) -> None:
        """Subscribe to all channels on a new connection, and wait until that is confirmed."""
        self._client = valkey.client()  # kept: a client that is dropped closes its connections
        pubsub = self._client.pubsub()
        with self._lock:
            wanted = set(self._confirmed)
        try:
            pubsub.subscribe(*wanted)
            give_up = time.monotonic() + SUBSCRIBE_SECONDS
            left = set(wanted)
            while left:  # what is heard before that has to be read from the log anyway
                said = pubsub.get_message(timeout=0.5)
                if said is not None and said["type"] == "subscribe":
                    left.discard(said["channel"])
                if time.monotonic() > give_up:
                    raise valkey.Away("the subscription was not confirmed")
            with self._lock:
                if late := self._confirmed.keys() - wanted:
                    pubsub.subscribe(*late)
                self._pubsub = pubsub
                self.well = True
                for channel in wanted & self._confirmed.keys():
                    self._confirmed[channel].set()
        except RedisError:
            pubsub.close()
            raise

    def _read(self) -> None:
        while not self._ended:
            try:
                said = self._pubsub.get_message(timeout=1.0)
            except (RedisError, OSError, *_CLOSED) as error:
                self._lost(error)
                continue
            if said is None:
                continue
            if said["type"] == "message":
                self._listener.heard(said["data"])
            elif said["type"] == "subscribe":
                self._subscribed(said["channel"])
        self._pubsub.close()

    def _subscribed(self, channel: str) -> None:
        with self._lock:
            confirmed = self._confirmed.get(channel)
        if confirmed is None:
            return
        if confirmed.is_set():  # redis-py has connected anew, and says nothing of it
            self._listener.missed()
        confirmed.set()

    def _lost(self, error: Exception) -> None:
        """Subscribe again, until it works or nobody listens any more."""
        with self._lock:
            self.well = False
            self._pubsub.close()
        if not self._ended:
            _log.warning("subscription lost", extra={"error": str(error)})
        while not self._ended:
            time.sleep(RETRY_SECONDS)
            try:
                self._open()
            except RedisError:
                continue
            self._listener.missed()
            return


_listener: Listener | None = None
_making = threading.Lock()


def listener() -> Listener:
    """Return the environment's one."""
    global _listener  # noqa: PLW0603 - one per environment is the point
    with _making:
        if _listener is None:
            _listener = Listener()
        return _listener
