"""A task as OpenAI's response object."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from functions.api import views
from functions.api.dialect.messages import response_tool_choice, response_tools
from shared.errors import NotFound
from shared.tasks.model import Status

if TYPE_CHECKING:
    from shared.tasks.model import Task

PREFIX = "resp_"

_STATUS = {
    Status.QUEUED: "queued",
    Status.PROCESSING: "in_progress",
    Status.WAITING: "in_progress",
    Status.COMPLETE: "completed",
    Status.FAILED: "failed",
    Status.CANCELLED: "cancelled",
}


def task_id_of(response_id: str) -> str:
    """Return the id of a response's task.

    Raises:
        NotFound: no response has such an id.
    """
    if not response_id.startswith(PREFIX):
        raise NotFound(f"Response with id '{response_id[:80]}' not found.")
    return response_id.removeprefix(PREFIX)


def response_of(task: Task, *, held: bool = False) -> dict[str, Any]:
    """Return the response object; ``held`` is the answer to a request that waited for it and ran out of time.

    Raises:
        DependencyDown: a large response cannot be read right now.
    """
    params = task.params
    result = views.result(task) if task.status is Status.COMPLETE else None
    addresses: dict[str, Any] = {
        name: url for name in ("response_url", "data_url") if (url := (result or {}).get(name)) is not None
    }
    cut = bool(addresses) or _cut(result)
    status = "in_progress" if held and task.status is Status.QUEUED else _STATUS[task.status]
    if cut:
        status = "incomplete"
    return {
        "id": f"{PREFIX}{task.task_id}",
        "object": "response",
        "created_at": int(task.created),
        "completed_at": int(task.ended_at) if task.ended_at and status == "completed" else None,
        "status": status,
        "background": bool(params.get("background", False)),
        "error": _error(task),
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
        "instructions": params.get("instructions"),
        "max_output_tokens": params.get("max_output_tokens"),
        "metadata": params.get("metadata") or {},
        "model": task.model_used or task.model,
        "output": _output(task.task_id, result) if result is not None else [],
        "parallel_tool_calls": True,
        "previous_response_id": params.get("previous_response_id"),
        "service_tier": "default",
        "store": True,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": response_tool_choice(params.get("tool_choice")),
        "tools": response_tools(params.get("tools") or []),
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": _usage(task) if task.status.terminal else None,
        **addresses,  # what is too large for an answer can be fetched there
    }


def _cut(result: dict[str, Any] | None) -> bool:
    """Whether the model's reply ended at its limit."""
    return result is not None and (result.get("data") or {}).get("finish_reason") == "length"


def _output(task_id: str, result: dict[str, Any]) -> list[dict[str, Any]]:
    cut = _cut(result)
    output: list[dict[str, Any]] = []
    calls = (result.get("data") or {}).get("tool_calls") or []
    if result["response"] or not calls:
        text: dict[str, Any] = {
            "type": "output_text",
            "text": result["response"] or "",
            "annotations": [],
            "logprobs": [],
        }
        status = "incomplete" if cut and not calls else "completed"  # calls come after a text that is whole
        message = {"type": "message", "role": "assistant", "status": status, "content": [text]}
        output.append({"id": f"msg_{task_id}", **message})
    for n, call in enumerate(calls):
        output.append(
            {
                "type": "function_call",
                "id": f"fc_{task_id}_{n}",
                "call_id": call["id"],
                "name": call["name"],
                "arguments": call["arguments"],
                "status": "incomplete" if cut and not _whole(call["arguments"]) else "completed",
            }
        )
    return output


def _whole(arguments: str) -> bool:
    """Whether a call's arguments are JSON: what is left of an object that was cut never is."""
    try:
        json.loads(arguments)
    except (ValueError, RecursionError):
        return False
    return True


def _usage(task: Task) -> dict[str, Any]:
    return {
        "input_tokens": task.input_tokens,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": task.output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": task.usage.tokens,
    }


def _error(task: Task) -> dict[str, Any] | None:
    """OpenAI has few codes for a failed response; the task's own is the error's type."""
    if task.error is None:
        return None
    code = str(task.error.get("code", ""))
    shown = "rate_limit_exceeded" if code == "rate_limit_exceeded" else "server_error"
    return {"code": shown, "message": str(task.error.get("message", "")), "type": code or None, "param": None}
