"""Errors that cross module borders, each with a stable code that reaches clients and logs."""

from typing import Any, ClassVar


class SluiceError(Exception):
    """Base of Sluice's own errors; ``code`` is stable, the message is for people."""

    code: ClassVar[str] = "internal_error"

    def __init__(self, message: str, *, param: str | None = None) -> None:
        """Keep the message and, where one input is to blame, its name."""
        super().__init__(message)
        self.message = message
        self.param = param


class SettingError(SluiceError):
    """A setting is missing or out of range; the message names the variable."""

    code = "bad_setting"


class BadOption(SluiceError):
    """An option of a model call that Sluice cannot hand on; trying again would not help."""

    code = "invalid_option"


class DependencyDown(SluiceError):
    """A service that the request needs did not answer; try again after ``retry_after_s`` seconds."""

    code = "dependency_down"

    def __init__(self, dependency: str, *, retry_after_s: float = 5.0) -> None:
        """Name the dependency: ``dynamodb``, ``redis``, ``sqs`` …."""
        super().__init__(f"{dependency} is not available right now")
        self.dependency = dependency
        self.retry_after_s = retry_after_s


class ItemThrottled(DependencyDown):
    """One item of a transaction is written faster than it can be; the table serves others all the same."""


class NotFound(SluiceError):
    """No such thing, or not the caller's: the two are not told apart."""

    code = "not_found"


class Conflict(SluiceError):
    """The thing is in a state that the request does not fit."""

    code = "conflict"


class IdempotencyMismatch(SluiceError):
    """An ``Idempotency-Key`` was used again with another body."""

    code = "idempotency_mismatch"


class LeaseLost(SluiceError):
    """Another worker, a sweep or a cancellation took the task: nothing more may be written for it."""

    code = "lease_lost"

    def __init__(self, message: str, *, row: Any = None) -> None:
        """Keep the task as its row says, where that was read."""
        super().__init__(message)
        self.row = row


class NewerVersion(SluiceError):
    """An item was written by a newer version of Sluice than this code: it is left as it is for that version.

    Functions of two versions run side by side while a deployment replaces one by the other, and after a roll-back.
    """

    code = "newer_version"

    def __init__(self, version: int, known: int) -> None:
        """Name the item's version and the newest that this code knows."""
        super().__init__(f"the item has version {version}, and this code reads up to version {known}")
        self.version = version


class TooLarge(SluiceError):
    """A value is over a named limit."""

    code = "too_large"


class Unstorable(SluiceError):
    """A value is no JSON that can be stored: it holds NaN, half a character, or what JSON has no word for."""

    code = "unstorable_value"


class Contended(SluiceError):
    """Two writers met on one item; the same call succeeds a moment later. The caller waits and repeats."""

    code = "contended"


class BudgetExhausted(SluiceError):
    """A token or money ceiling would be passed; ``limit`` names it."""

    code = "insufficient_quota"

    def __init__(self, limit: str) -> None:
        """Name the ceiling: ``tokens_per_day``, ``usd_per_day``, ``max_cost_usd`` …."""
        super().__init__(f"the budget {limit} does not cover this call")
        self.limit = limit
