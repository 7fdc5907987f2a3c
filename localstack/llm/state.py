"""What the simulator remembers: a log of its calls, counters in total and per key, and the minute's use."""

import itertools
import time
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field

from localstack.llm.config import Config
from localstack.llm.haste import Haste

_KEYS_KEPT = 200_000
_MINUTE = 60.0


@dataclass(slots=True)
class Call:
    """One call as it stands in the log. Times are epoch seconds; ``status`` 0 means that nothing was sent.

    ``request`` tells apart the conversations of one key: two finished calls with the same key and
    ``request`` are the same step made twice.
    """

    n: int
    key: str
    model: str
    request: str
    stream: bool
    started: float
    generation: int
    ended: float | None = None
    status: int = 0
    fault: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    sent_tokens: int = 0
    """Of a stream, tokens that were sent."""
    first_sent: float | None = None
    """Of a stream, when the first of its text was sent."""
    aborted: bool = False
    completed: bool = False

    @property
    def consumed(self) -> tuple[int, int]:
        """Tokens read and written at the provider, whether or not the reply reached anybody: the truth for charges.

        A refused call uses nothing. Any other has read its prompt. A stream has written what was sent of it; a reply
        that is not streamed is written to its end, though its client may have left.
        """
        if self.status >= 400 or not self.request:
            return 0, 0
        if self.fault in ("hang", "reset"):  # it never came to write
            return self.prompt_tokens, 0
        return self.prompt_tokens, self.sent_tokens if self.stream else self.completion_tokens

    def public(self) -> dict[str, object]:
        """The call as the admin call shows it."""
        shown = asdict(self)
        del shown["generation"]
        shown["consumed"] = list(self.consumed)
        return shown


@dataclass(slots=True)
class KeyCount:
    """Calls of one key.

    ``turns`` counts those whose directive faults were consulted, ``habit_turns`` those that would meet their habit.
    """

    started: int = 0
    completed: int = 0
    failed: int = 0
    aborted: int = 0
    turns: int = 0
    habit_turns: int = 0
    named: bool = False

    def public(self) -> dict[str, int]:
        """The counts as the admin call shows them."""
        return {
            "started": self.started,
            "completed": self.completed,
            "failed": self.failed,
            "aborted": self.aborted,
        }


@dataclass(slots=True)
class Connections:
    """TCP connections: all of them, and apart those that carried a model call and not only admin calls."""

    opened: int = 0
    open: int = 0
    open_max: int = 0
    model_opened: int = 0
    model_open: int = 0
    model_open_max: int = 0

    def made(self) -> None:
        """A client connected."""
        self.opened += 1
        self.open += 1
        self.open_max = max(self.open_max, self.open)

    def used(self) -> None:
        """A connection carries its first model call."""
        self.model_opened += 1
        self.model_open += 1
        self.model_open_max = max(self.model_open_max, self.model_open)

    def lost(self, *, model: bool) -> None:
        """A connection ended."""
        self.open -= 1
        if model:
            self.model_open -= 1

    def reset(self) -> None:
        """Counts anew; what is open stays so."""
        self.opened = self.open_max = self.open
        self.model_opened = self.model_open_max = self.model_open


@dataclass(slots=True)
class Window:
    """Use within a minute that begins with its first call, as the ``x-ratelimit-*`` headers tell it."""

    until: float = 0.0
    requests: int = 0
    tokens: int = 0

    def add(self, tokens: int) -> float:
        """Counts a request; returns the seconds until the window ends."""
        now = time.monotonic()
        if now >= self.until:
            self.until, self.requests, self.tokens = now + _MINUTE, 0, 0
        self.requests += 1
        self.tokens += tokens
        return self.until - now


@dataclass(slots=True)
class State:
    """Everything the simulator remembers. ``startup`` is the configuration that a reset goes back to."""

    startup: Config
    log_size: int = 200_000
    config: Config = field(init=False)
    connections: Connections = field(default_factory=Connections)
    haste: Haste = field(default_factory=Haste)
    in_flight: int = 0
    started_at: float = field(default_factory=time.time)
    _generation: int = 0
    log: deque[Call] = field(init=False)
    keys: dict[str, KeyCount] = field(init=False)
    totals: Counter[str] = field(init=False)
    by_status: Counter[str] = field(init=False)
    by_fault: Counter[str] = field(init=False)
    by_model: Counter[str] = field(init=False)
    window: Window = field(init=False)
    in_flight_max: int = field(init=False)

    def __post_init__(self) -> None:
        """Starts from nothing."""
        self.config = self.startup
        self._clear()

    def _clear(self) -> None:
        self.log = deque(maxlen=self.log_size)
        self.keys = {}
        self.totals = Counter()
        self.by_status = Counter()
        self.by_fault = Counter()
        self.by_model = Counter()
        self.window = Window()
        self.in_flight_max = self.in_flight

    def reset(self, *, keep_config: bool = False) -> None:
        """Forgets log, counters and, unless told to keep it, the configuration; skips calls in flight."""
        self._generation += 1
        if not keep_config:
            self.config = self.startup
        self.connections.reset()
        self.haste.reset()
        self._clear()

    def key_count(self, key: str) -> KeyCount:
        """The counts of a key, made when absent; the oldest keys make room."""
        count = self.keys.get(key)
        if count is None:
            if len(self.keys) >= _KEYS_KEPT:
                del self.keys[next(iter(self.keys))]
            count = self.keys[key] = KeyCount()
        return count

    def begin(self, key: str, model: str, request: str, *, stream: bool, named: bool) -> Call:
        """Records that a call started."""
        self.totals["calls"] += 1
        self.in_flight += 1
        self.in_flight_max = max(self.in_flight_max, self.in_flight)
        call = Call(self.totals["calls"], key, model, request, stream, time.time(), self._generation)
        self.log.append(call)
        count = self.key_count(key)
        count.started += 1
        count.named |= named
        self.by_model[model] += 1
        return call

    def end(self, call: Call) -> None:
        """Records how a call ended; counts nothing for calls from before a reset."""
        call.ended = time.time()
        self.in_flight -= 1
        if call.generation != self._generation:
            return
        count = self.key_count(call.key)
        outcome = "completed" if call.completed else "aborted" if call.aborted else "failed"
        setattr(count, outcome, getattr(count, outcome) + 1)
        self.totals[outcome] += 1
        self.by_status[str(call.status)] += 1
        if call.fault is not None:
            self.by_fault[call.fault] += 1
        if call.completed:
            self.totals["prompt_tokens"] += call.prompt_tokens
            self.totals["completion_tokens"] += call.completion_tokens

    def calls_after(self, n: int, limit: int, key: str | None = None) -> list[Call]:
        """The calls of the log with a number above ``n``, in order, at most ``limit`` of them."""
        first = self.log[0].n if self.log else 0
        later: Iterable[Call] = itertools.islice(self.log, max(n - first + 1, 0), None)
        if key is not None:
            later = (call for call in later if call.key == key)
        return list(itertools.islice(later, limit))

    def stats(self, *, prefix: str | None = None, all_keys: bool = False) -> dict[str, object]:
        """The counters; ``by_key`` holds keys named by a directive, with ``all_keys`` the hashed ones too."""
        totals = self.totals
        shown = {
            key: count.public()
            for key, count in self.keys.items()
            if (all_keys or count.named) and (prefix is None or key.startswith(prefix))
        }
        return {
            "calls": totals["calls"],
            "completed": totals["completed"],
            "failed": totals["failed"],
            "aborted": totals["aborted"],
            "in_flight": self.in_flight,
            "in_flight_max": self.in_flight_max,
            "prompt_tokens": totals["prompt_tokens"],
            "completion_tokens": totals["completion_tokens"],
            "by_status": dict(self.by_status),
            "by_fault": dict(self.by_fault),
            "by_model": dict(self.by_model),
            "keys": len(self.keys),
            "by_key": shown,
            "connections": asdict(self.connections),
        }
