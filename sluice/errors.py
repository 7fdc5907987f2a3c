"""Errors that an agent may meet, or raise: each with a stable code that reaches clients and logs."""

from __future__ import annotations

from typing import Any, ClassVar


class SluiceError(Exception):
    """Base of Sluice's own errors; ``code`` is stable, the message is for people.

    An agent may raise one of its own: the run fails at once, and for good, with its code and message.
    """

    code: ClassVar[str] = "internal_error"

    def __init__(self, message: str, *, param: str | None = None) -> None:
        """Keep the message and, where one input is to blame, its name."""
        super().__init__(message)
        self.message = message
        self.param = param


class NotFound(SluiceError):
    """No such thing, or not the caller's: the two are not told apart."""

    code = "not_found"


class TooLarge(SluiceError):
    """A value is over a named limit."""

    code = "too_large"


class Unstorable(SluiceError):
    """A value is no JSON that can be stored: it holds NaN, half a character, or what JSON has no word for."""

    code = "unstorable_value"


class BadOption(SluiceError):
    """An option of a model call that Sluice cannot hand on; trying again would not help."""

    code = "invalid_option"


class BudgetExhausted(SluiceError):
    """A token or money ceiling would be passed; ``limit`` names it."""

    code = "insufficient_quota"

    def __init__(self, limit: str, *, needs: tuple[int, int] = (0, 0), fits_alone: bool = True) -> None:
        """Name the ceiling: ``tokens_per_day``, ``usd_per_day``, ``max_cost_usd`` ….

        ``needs``: the tokens and micro-USD that the call may use at worst, as far as that is known. ``fits_alone``:
        whether there may be room for it once all else of its run is over.
        """
        super().__init__(f"the budget {limit} does not cover this call")
        self.limit = limit
        self.needs = needs
        self.fits_alone = fits_alone


class WaitTimeout(TimeoutError):
    """What a run waited for did not come in time; unless caught, it ends the run for good."""


class Denied(SluiceError):
    """A tool call was not allowed; ``reason`` is for the model. Unless caught, it ends the run for good."""

    code = "denied"

    def __init__(self, tool: str, reason: str) -> None:
        """Keep the reason, which may be empty."""
        super().__init__(f"the call of {tool} was not allowed" + (f": {reason}" if reason else ""))
        self.reason = reason


class ChildFailed(SluiceError):
    """A run that was started did not complete. Unless caught, it ends the run that started it, too."""

    code = "child_failed"

    def __init__(self, task_id: str, status: str, error: dict[str, Any] | None) -> None:
        """Keep which run it is, how it ended (``failed``, ``cancelled``) and its error."""
        super().__init__(f"the run {task_id} is {status}" + (f": {error.get('message')}" if error else ""))
        self.task_id = task_id
        self.status = status
        self.error = error or {}


class ReplayMismatch(Exception):
    """The run does not repeat what it recorded: its code or its input changed shape."""


class ModelError(Exception):
    """A model call that brought no usable reply; left alone, it lets the run be tried again where that may help."""

    status: int | None
    """HTTP status of the provider's answer; None when no whole answer came."""
    code: str | None
    """The provider's own word for what went wrong."""
    retry_after_s: float | None
    """Seconds that the provider asks to wait."""

    def __init__(
        self, message: str, *, status: int | None = None, code: str | None = None, retry_after_s: float | None = None
    ) -> None:
        """Keep what the provider said."""
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code
        self.retry_after_s = retry_after_s
