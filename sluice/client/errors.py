"""What a client may raise."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sluice.client.shapes import Run


class ApiError(Exception):
    """The API refused; ``code`` is its stable word, the message is for people."""

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str = "unknown",
        param: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        """Keep the answer: HTTP status, code, the input to blame, and how long to wait."""
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code
        self.param = param
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return f"{self.message} ({self.code})"


class LimitedError(ApiError):
    """A limit refused (429) and asks for a longer wait than the client's patience; a refused request counts nowhere."""


class UnavailableError(ApiError):
    """The API could not be reached, or could not answer, for as long as the client's patience."""


class RunError(Exception):
    """A run did not end complete; ``run`` says how it ended."""

    def __init__(self, run: Run) -> None:
        """Keep the run as it ended."""
        error = run.error or {}
        super().__init__(f"{run.task_id} is {run.status}: {error.get('message', 'no reason given')}")
        self.run = run
