"""How long a model call may take: to its first byte, between bytes, and on the whole.

A stream that flows is cut by no clock but the end of the function's own time.
"""

import asyncio
from types import TracebackType
from typing import NamedTuple, Self

from shared.clock import now
from shared.retry import ModelError
from shared.settings import STOP_MARGIN_SECONDS, settings

FAST_TOKENS_PER_SECOND = 400
"""Few models write faster; a call that would have to is not begun."""
SLOW_TOKENS_PER_SECOND = 20
"""Of a reply that is not streamed nothing shows while it is written; so slowly it may be, before it counts as hung."""
READ_FIRST_SECONDS = 0.05
"""How long a call goes on at a limit, to read what came while this process stood still or an agent held its loop: that
is not its provider's silence."""
MOST_NEEDED = 0.5
"""A call needs at most this share of a function's time to be begun, or long ones would wait for one another's end."""


class Limits(NamedTuple):
    """Limits of one call, s."""

    first_byte: float
    between: float
    whole: float


def of_call(whole_s: float, max_output_tokens: int, *, stream: bool) -> Limits:
    """Return the limits of a call that must be over in ``whole_s``."""
    first = settings().model_timeout_seconds
    if not stream:
        first += max_output_tokens / SLOW_TOKENS_PER_SECOND
    return Limits(first, settings().model_stall_seconds, whole_s)


def longest_s() -> float:
    """Return how long a call can take that begins with its function, s."""
    config = settings()
    return config.worker_timeout_seconds - STOP_MARGIN_SECONDS - config.model_margin_seconds


def whole_s(deadline: float) -> float:
    """Return how long a call may take that begins now, before a run's deadline (epoch seconds), s."""
    return max(0.0, min(deadline - now() - settings().model_margin_seconds, longest_s()))


def needed_s(max_output_tokens: int) -> float:
    """Return how much time must be left before a call is begun, s."""
    config = settings()
    long = min(max_output_tokens / FAST_TOKENS_PER_SECOND, MOST_NEEDED * longest_s())
    return max(config.model_timeout_seconds, long) + config.model_margin_seconds


class Watch:
    """Holds a call under way to its limits: raises `TimeoutError` in it when one has passed. A context manager."""

    def __init__(self, of: Limits) -> None:
        """Keep the limits; time begins to count when the context is entered."""
        self._limits = of
        self._timeout = asyncio.timeout(None)
        self._timer: asyncio.TimerHandle | None = None
        self._ends = 0.0
        self._over = False
        self._code = "model_call_too_long"

    async def __aenter__(self) -> Self:
        """Begin to count the whole."""
        await self._timeout.__aenter__()
        self._ends = asyncio.get_running_loop().time() + self._limits.whole
        self._wait_until(self._ends)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop counting."""
        if self._timer is not None:
            self._timer.cancel()
        await self._timeout.__aexit__(kind, error, trace)

    def sent(self) -> None:
        """Note that a request begins to be sent."""
        self._within(self._limits.first_byte, "model_no_answer")

    def unstreamed(self, max_output_tokens: int) -> None:
        """Note that nothing of the answer will show before it is whole."""
        self._limits = of_call(self._limits.whole, max_output_tokens, stream=False)

    def byte(self) -> None:
        """Note that something came."""
        self._within(self._limits.between, "model_stalled")

    def _within(self, seconds: float, code: str) -> None:
        if self._over or self._timeout.expired():
            return
        until = asyncio.get_running_loop().time() + seconds
        self._code = code if until < self._ends else "model_call_too_long"
        self._timeout.reschedule(None)
        self._wait_until(min(until, self._ends))

    def _wait_until(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(when, self._due)

    def _due(self) -> None:
        loop = asyncio.get_running_loop()
        if loop.time() >= self._ends:
            self._over, self._code = True, "model_call_too_long"
        self._timer = loop.call_later(READ_FIRST_SECONDS, self._timeout.reschedule, loop.time())

    def error(self, *, unseen: bool) -> ModelError:
        """Say which limit has passed."""
        first, between, whole = self._limits
        message = {
            "model_no_answer": f"the model did not begin to answer within {first:g} s",
            "model_stalled": f"the model stopped in the middle of its answer for {between:g} s",
            "model_call_too_long": f"the model had not ended its answer after {whole:.0f} s, the time that was left",
        }[self._code]
        return ModelError(message, code=self._code, unseen=unseen, had_s=whole)
