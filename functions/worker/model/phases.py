"""How far one HTTP request got: what tells a full pool from a slow provider, and a stale socket from a refusal.

httpcore2 reports a request's phases to its ``trace`` extension (https://www.encode.io/httpcore/extensions/#trace). A
request hook of the model client hands it the attempt of the call that sends the request.
"""

import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import httpx2

STALE_SECONDS = 2.0
"""A dead pooled socket shows at once; a provider that drops a call later may have worked on it, and been paid."""
STALE_UNSTREAMED_SECONDS = 0.2
"""The same for a call that is not streamed, of whose reply nothing shows until it is whole."""


@dataclass(slots=True, eq=False)
class Phases:
    """The phases that a request has reached."""

    stale_s: float = STALE_SECONDS
    connected: bool = False
    """It opened a connection of its own, rather than reusing one."""
    sent_at: float | None = None
    """When its headers were about to be sent, `time.monotonic`."""
    answered: bool = False
    """The headers of an answer came."""
    nothing: bool = False
    """The answer held nothing, not even an error."""
    on_sent: Callable[[], None] | None = None
    """Told when the request begins to be sent."""

    @property
    def waited_for_pool(self) -> bool:
        """Whether it never got a connection of the pool."""
        return not self.connected and self.sent_at is None

    @property
    def stale(self) -> bool:
        """Whether its failure, just now, looks like that of a reused connection which had died unnoticed."""
        reused = self.sent_at is not None and not self.connected
        return reused and not self.answered and time.monotonic() - (self.sent_at or 0.0) < self.stale_s

    async def trace(self, event: str, _info: dict[str, Any]) -> None:
        """Note a phase."""
        if event.endswith("send_request_headers.started"):
            self.sent_at = time.monotonic()
            if self.on_sent is not None:
                self.on_sent()
        elif event.endswith("receive_response_headers.complete"):
            self.answered = True
        elif event.endswith("connect_tcp.started"):
            self.connected = True


current: ContextVar[Phases | None] = ContextVar("attempt", default=None)
"""The attempt that requests of this task belong to."""


async def follow(request: httpx2.Request) -> None:
    """Request hook: have the present attempt told of the request's phases."""
    attempt = current.get()
    if attempt is not None:
        request.extensions["trace"] = attempt.trace
