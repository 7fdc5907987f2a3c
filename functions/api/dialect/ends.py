"""What a client that waits for an answer is told when none comes: an error, so that no library takes it for one."""

from typing import Any

from functions.api.contract.problem import Problem
from shared.tasks.model import Status, Task

ID_HEADER = "x-sluice-task-id"
_CLIENTS_FAULT = frozenset(
    {
        "context_length_exceeded", "context_too_long", "invalid_request", "invalid_request_error", "model_not_found",
        "content_filter", "conversation_too_long", "too_large", "invalid_prompt", "model_refused",
        "previous_response_not_found",
    }
)  # fmt: skip
"""Codes of runs that would fail again however often they are tried."""


def headers_of(task: Task) -> dict[str, str]:
    """Return the header that names an answer's task."""
    return {ID_HEADER: task.task_id}


def problem_of(task: Task, shown_id: str) -> Problem | None:
    """Return what a run that ended without an answer is answered with; None for one that has an answer.

    The run is over and paid for: the client's library is told not to try the request again by itself.
    """
    headers = {**headers_of(task), "x-should-retry": "false"}
    if task.status is Status.CANCELLED:
        return Problem(409, "cancelled", f"{shown_id} was cancelled.", headers=headers)
    if task.status is not Status.FAILED:
        return None
    error: dict[str, Any] = task.error or {}
    code, message = str(error.get("code") or "server_error"), str(error.get("message") or "the run failed")
    status = 400 if code in _CLIENTS_FAULT else 500
    if code == "insufficient_quota" or error.get("type") == "insufficient_quota":
        status, code = 402, "insufficient_quota"
    elif code == "rate_limit_exceeded":
        status = 429
    elif code == "timeout":
        status = 504
    return Problem(status, code, f"{message} ({shown_id})", headers=headers)


def unfinished(task: Task, shown_id: str, streaming: str, *, how: str) -> Problem:
    """Return the answer to a client whose run goes on for longer than this address can hold a request."""
    message = f"{shown_id} is still running, and this address holds no request for longer. {how}"
    if streaming:
        message += f" Requests are held to their end at {streaming}."
    headers = {**headers_of(task), "x-should-retry": "false"}
    return Problem(504, "response_in_progress", message, headers=headers)
