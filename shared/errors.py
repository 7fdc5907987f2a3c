"""Errors that cross module borders, each with a stable code that reaches clients and logs."""

from typing import Any

from sluice.errors import BadOption, BudgetExhausted, NotFound, SluiceError, TooLarge, Unstorable

__all__ = ["BadOption", "BudgetExhausted", "NotFound", "SluiceError", "TooLarge", "Unstorable"]
"""Errors that users of the package meet, too."""


class SettingError(SluiceError):
    """A setting is missing or out of range; the message names the variable."""

    code = "bad_setting"


class DependencyDown(SluiceError):
    """A service that the request needs did not answer; try again after ``retry_after_s`` seconds.

    Whatever reads or writes DynamoDB, S3 or SQS may raise it. Docstrings name it where more is to be said.
    """

    code = "dependency_down"

    def __init__(self, dependency: str, *, retry_after_s: float = 5.0) -> None:
        """Name the dependency: ``dynamodb``, ``redis``, ``sqs`` …."""
        super().__init__(f"{dependency} is not available right now")
        self.dependency = dependency
        self.retry_after_s = retry_after_s


class ItemThrottled(DependencyDown):
    """One item of a transaction is written faster than it can be; the table serves others all the same."""


class BadSchedule(SluiceError):
    """A cron expression, a time zone or a time that no schedule can have; ``param`` names it."""

    code = "invalid_request"


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
        super().__init__(message)
        self.row = row


class NewerVersion(SluiceError):
    """An item was written by a newer version of Sluice than this code: it is left as it is for that version.

    Functions of two versions run side by side while a deployment replaces one by the other, and after a roll-back.
    """

    code = "newer_version"

    def __init__(self, version: int, known: int) -> None:
        super().__init__(f"the item has version {version}, and this code reads up to version {known}")
        self.version = version


class Gone(SluiceError):
    """A stored value is no longer there: S3's lifecycle, or somebody, deleted its object before its task."""

    code = "result_gone"


class Contended(SluiceError):
    """Two writers met on one item; the same call succeeds a moment later. The caller waits and repeats."""

    code = "contended"


class UnpricedModel(SluiceError):
    """A model that neither the table nor the operator priced, where such models are not allowed."""

    code = "unpriced_model"
