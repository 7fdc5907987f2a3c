"""The same problems with OpenAI's statuses, types and codes, so that its SDK raises its own exception classes."""

import re
from typing import Any

from functions.api.contract.problem import Problem

PREFIX = "/v1/"

_CODES = {
    "invalid_json": "invalid_json",
    "missing_api_key": "invalid_api_key",
    "model_not_allowed": "model_not_found",
    "message_too_large": "string_above_max_length",
    "dependency_down": "server_error",
    "internal_error": "server_error",
}
_KINDS = ("responses", "chat/completions", "conversations", "files", "uploads", "batches", "models")
_INVALID = "invalid_request_error"
LONGEST_WAIT_S = 60
"""Longest ``Retry-After`` that libraries wait out: npm's ``openai`` and ``ai`` ask again at once when told of a longer
one, and again, in vain."""
_TYPES = {429: "requests", 500: "server_error", 503: "server_error", 504: "server_error"}


def speaks(path: str) -> bool:
    """Tell whether a path (without its prefix) is answered in this dialect."""
    return path.startswith(PREFIX)


def no_path(path: str) -> str:
    """Say of a path that there is none what its client may have meant."""
    if path.startswith((PREFIX + PREFIX[1:], *(f"/{kind}" for kind in _KINDS))):
        return f"no such path: the base URL of an OpenAI client ends with one {PREFIX.rstrip('/')}"
    return f"no such path: under {PREFIX} there are {', '.join(_KINDS)}" if speaks(path) else "no such path"


def body(problem: Problem) -> dict[str, Any]:
    """Return the JSON body of a problem."""
    status = _status(problem)
    quota = problem.code == "insufficient_quota"
    error: dict[str, Any] = {
        "message": problem.message,
        "type": "insufficient_quota" if quota else _TYPES.get(status, _INVALID),
        "param": _brackets(problem.param),
        "code": _CODES.get(problem.code, problem.code),
    }
    if problem.limit:
        error["limit"] = problem.limit
    return {"error": error}


def translate(problem: Problem) -> tuple[dict[str, Any], int, dict[str, str]]:
    """Return body, status and headers: invalid input is 400, a spent budget 429 that is not worth a retry.

    Nor is a refusal that holds for longer than a library waits.
    """
    headers = dict(problem.headers)
    long = int(headers.get("Retry-After", "0")) > LONGEST_WAIT_S
    if long or problem.code in ("insufficient_quota", "idempotency_gone"):  # the SDK would try 429 and 409 again
        headers["x-should-retry"] = "false"
    return body(problem), _status(problem), headers


def _status(problem: Problem) -> int:
    if problem.status in (413, 422):
        return 400
    return 429 if problem.code == "insufficient_quota" else problem.status


def _brackets(param: str | None) -> str | None:
    """Write ``input.0.content`` as OpenAI does: ``input[0].content``."""
    return None if param is None else re.sub(r"\.(\d+)(?=\.|$)", r"[\1]", param)
