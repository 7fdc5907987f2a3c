"""From what went wrong to the documented answer: status and ``{"error": {"code", "message", "param"?, "type"}}``."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from shared import errors as shared_errors
from shared.errors import SluiceError
from shared.logs import get_logger
from shared.tasks.listing import BadCursor

log = get_logger("api")

TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    409: "conflict_error",
    410: "gone_error",
    413: "invalid_request_error",
    422: "invalid_request_error",
    429: "rate_limit_error",
    500: "server_error",
    503: "service_unavailable_error",
    504: "timeout_error",
}
"""Kind of error by status; one of few words that a client can switch on."""

CODES = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    422: "invalid_request",
}
"""Code of a status that the framework itself answers with."""


_BRANCH = re.compile(r"((constrained-)?(str|int|float|bool|dict|list)|StepUse)(\[.*\])?")
"""How pydantic names the kinds that a value may have; clients know only where it stands."""


@dataclass(eq=False)
class Problem(Exception):
    """An answer other than success: raised anywhere in a request, turned into its body in one place."""

    status: int
    code: str
    message: str
    param: str | None = None
    limit: str | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        """Return the JSON body."""
        error: dict[str, Any] = {"code": self.code, "message": self.message, "type": TYPES[self.status]}
        if self.param:
            error["param"] = self.param
        if self.limit:
            error["limit"] = self.limit
        return {"error": error}


def retry_after(seconds: float) -> dict[str, str]:
    """Return the ``Retry-After`` header: whole seconds, rounded up, at least 1."""
    return {"Retry-After": str(max(1, math.ceil(seconds)))}


def invalid(message: str, param: str | None = None, *, code: str = "invalid_request") -> Problem:
    """Return the problem of wrong input."""
    return Problem(422, code, message, param)


def unavailable(message: str, retry_after_s: float) -> Problem:
    """Return the problem of a dependency that is down."""
    return Problem(503, "dependency_down", message, headers=retry_after(retry_after_s))


_STATUS: dict[type[SluiceError], int] = {
    shared_errors.NotFound: 404,
    shared_errors.Conflict: 409,
    shared_errors.Gone: 410,
    shared_errors.IdempotencyMismatch: 422,
    shared_errors.TooLarge: 413,
    shared_errors.BudgetExhausted: 402,
    shared_errors.BadSchedule: 422,
    BadCursor: 422,
}


def problem_of(error: Exception) -> Problem:
    """Say which answer an exception stands for; what nobody foresaw is logged and becomes a 500."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, shared_errors.DependencyDown):
        return unavailable(error.message, error.retry_after_s)
    if isinstance(error, shared_errors.NewerVersion):
        return Problem(503, error.code, "a deployment is under way; try again", headers=retry_after(10))
    if isinstance(error, shared_errors.Contended):
        return Problem(409, error.code, error.message, headers=retry_after(1))
    if isinstance(error, SluiceError):
        status = next((status for kind, status in _STATUS.items() if isinstance(error, kind)), 500)
        if status != 500:
            return Problem(status, error.code, error.message, error.param, getattr(error, "limit", None))
    if isinstance(error, ClientError | BotoCoreError):
        # Not throttled and not away, yet AWS refuses: a missing table, queue or permission. Clients can only wait.
        log.error("AWS refused a call", exc_info=error)
        return unavailable("a service that this request needs is not available right now", 30)
    log.error("unhandled error", exc_info=error)
    return Problem(500, "internal_error", "something went wrong on this side; the request id leads to it in the logs")


def problem_of_validation(found: Sequence[Any]) -> Problem:
    """Turn pydantic's findings into one problem that names the first parameter and mentions the others."""
    sentences = []
    for each in found[:5]:
        name = _name(each)
        what = str(each.get("msg", "is invalid")).removeprefix("Value error, ")
        sentences.append(f"{name}: {what}" if name else what)
    more = f" (and {len(found) - 5} more)" if len(found) > 5 else ""
    return Problem(422, "invalid_request", "; ".join(sentences) + more, _name(found[0]) or None)


def _name(finding: Any) -> str:
    place = [str(part) for part in finding.get("loc", ())]
    if place and place[0] in ("body", "query", "path", "header", "cookie"):
        place = place[1:]
    place = place[:1] + [part for part in place[1:] if not _BRANCH.fullmatch(part)]
    return ".".join(place)[:200]
