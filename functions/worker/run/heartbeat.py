"""Keeps leases alive from a thread of its own, so that a blocked event loop cannot let them lapse unseen.

One beat extends the row's lease (and learns of a cancellation from the same write, unless a mark told of it sooner:
`shared.tasks.cancels`), the message's invisibility and the user's running slot.
"""

import threading
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import monotonic

from shared.clock import now
from shared.errors import Contended, DependencyDown, LeaseLost
from shared.limits.admission import Gate
from shared.logs import get_logger
from shared.settings import settings
from shared.tasks import cancels, lanes, leases
from shared.tasks.model import Task
from shared.valkey import RedisError

SLOT_GRACE_SECONDS = 30
"""How much longer than the lease a running slot lasts, so that a takeover finds it still held."""
LOOK_SECONDS = 0.75
"""How often cancellations are looked for between heartbeats: in one round trip to Valkey, while anything runs here."""
CONTENDED_PAUSE_SECONDS = 0.25
CONTENDED_TRIES = 8

_log = get_logger("heartbeat")


@dataclass(slots=True, eq=False)
class Beat:
    """One run's lease. The callbacks are called from the heartbeat's threads."""

    task_id: str
    user: str
    lease_no: int
    queue_url: str
    receipt: str
    lease_until: float
    on_lost: Callable[[], None]
    on_cancel: Callable[[], None]
    cancelled: bool = False
    """``on_cancel`` was called."""
    task: Task | None = None
    """The run, of whose progress its row is told with each beat."""

    @property
    def alive(self) -> bool:
        """Whether the lease has not lapsed by this machine's clock."""
        return now() < self.lease_until


class Heart:
    """Beats for all the runs of this environment."""

    def __init__(self, gate: Gate) -> None:
        """Make a heart; its thread starts with the first run."""
        self._gate = gate
        self._beats: set[Beat] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._pool = ThreadPoolExecutor(8, thread_name_prefix="beat")
        self._stopped = threading.Event()

    @property
    def runs(self) -> int:
        """How many leases are kept."""
        return len(self._beats)

    def add(self, beat: Beat) -> None:
        """Start to keep a lease."""
        with self._lock:
            self._beats.add(beat)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._loop, name="heartbeat", daemon=True)
                self._thread.start()

    def remove(self, beat: Beat) -> None:
        """Stop to keep a lease."""
        with self._lock:
            self._beats.discard(beat)

    def stop(self) -> None:
        """Beat no more, as if the environment were gone; leases that are still kept lapse."""
        self._stopped.set()

    def beat_all(self) -> None:
        """Extend every lease once."""
        with self._lock:
            beats = list(self._beats)
        if not beats:
            return
        kept = [beat for beat, ok in zip(beats, self._pool.map(self._extend, beats), strict=True) if ok]
        self._hide(kept)
        try:
            self._gate.renew(
                [(beat.user, beat.task_id) for beat in kept], settings().lease_seconds + SLOT_GRACE_SECONDS
            )
        except (RedisError, DependencyDown) as error:
            _log.warning("slots not renewed", extra={"error": str(error)})

    def look(self) -> None:
        """Cancel the runs that were marked as cancelled; their next beat would find it, too."""
        with self._lock:
            beats = [beat for beat in self._beats if not beat.cancelled]
        try:
            told = cancels.told([(beat.task_id, beat.lease_no) for beat in beats])
        except RedisError as error:
            _log.warning("cancellations not looked for", extra={"error": str(error)})
            return
        for beat, cancelled in zip(beats, told, strict=True):
            if cancelled:
                self._cancel(beat)

    def _cancel(self, beat: Beat) -> None:
        beat.cancelled = True
        beat.on_cancel()

    def _loop(self) -> None:
        due = monotonic() + settings().heartbeat_seconds
        while not self._stopped.wait(max(0.0, min(LOOK_SECONDS, due - monotonic()))):
            try:
                if monotonic() < due:
                    self.look()
                    continue
                due = monotonic() + settings().heartbeat_seconds
                self.beat_all()
            except Exception:
                # This thread must outlive any surprise: without it every run here would be taken over.
                _log.exception("a heartbeat failed")
        self._pool.shutdown(wait=False)

    def _extend(self, beat: Beat) -> bool:
        for _ in range(CONTENDED_TRIES):
            try:
                beat.lease_until, cancel = leases.heartbeat(beat.task_id, beat.lease_no, beat.task)
            except LeaseLost:
                with self._lock:
                    known = beat in self._beats
                if known:  # it did not just end here
                    beat.on_lost()
                return False
            except Contended:
                threading.Event().wait(CONTENDED_PAUSE_SECONDS)
                continue
            except DependencyDown as error:
                _log.warning("lease not extended", extra={"task_id": beat.task_id, "error": error.message})
                return False
            except Exception:  # a write that DynamoDB refuses, say: the other runs' messages and slots are kept
                _log.exception("lease not extended", extra={"task_id": beat.task_id})
                return False
            if cancel:
                self._cancel(beat)
            return True
        return False

    def _hide(self, beats: list[Beat]) -> None:
        by_queue: defaultdict[str, list[tuple[str, float]]] = defaultdict(list)
        for beat in beats:
            if beat.receipt:
                by_queue[beat.queue_url].append((beat.receipt, settings().lease_seconds))
        for queue_url, receipts in by_queue.items():
            try:
                lanes.hide(queue_url, receipts)
            except DependencyDown as error:
                _log.warning("messages not hidden", extra={"error": error.message})
