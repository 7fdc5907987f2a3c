"""A task as OpenAI's response object: every field of the Open Responses document is there, null where there is none."""

import json
from typing import Any

from functions.api.dialect import ids, thoughts
from functions.api.dialect.messages import response_tool_choice, response_tools
from functions.api.dialect.options import echoed
from functions.api.read import show
from shared.tasks.model import Status, Task

STATUS = {
    Status.QUEUED: "queued",
    Status.PROCESSING: "in_progress",
    Status.WAITING: "in_progress",
    Status.COMPLETE: "completed",
    Status.FAILED: "failed",
    Status.CANCELLED: "cancelled",
}


def response_of(task: Task) -> dict[str, Any]:
    """Return the response object."""
    result = show.result(task) if task.status is Status.COMPLETE else None
    return shown(task, result, status_of(task, result))


def under_way(task: Task, status: str) -> dict[str, Any]:
    """Return the response as it was when it had that status, before its end."""
    return shown(task, None, status)


def status_of(task: Task, result: dict[str, Any] | None) -> str:
    """Return the response's status, given a complete task's result."""
    return "incomplete" if is_cut(result) or addresses_of(result) else STATUS.get(task.status, "in_progress")


def shown(task: Task, result: dict[str, Any] | None, status: str) -> dict[str, Any]:
    """Return the response object of a task and its result, which is None before the end."""
    params = task.params
    ended = status not in ("queued", "in_progress")
    conversation = params.get("conversation")
    return {
        "id": ids.response_id(task.task_id),
        "object": "response",
        "created_at": int(task.created),
        "completed_at": int(task.ended_at) if task.ended_at and status == "completed" else None,
        "status": status,
        "background": bool(params.get("background", False)),
        "conversation": {"id": conversation} if conversation else None,
        "error": error_of(task) if ended else None,
        "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
        "instructions": params.get("instructions") or None,
        "max_output_tokens": params.get("max_output_tokens"),
        "metadata": params.get("metadata") or {},
        "model": (task.model_used if ended else None) or task.model,
        "output": output_of(task, result) if result is not None else [],
        "previous_response_id": params.get("previous_response_id"),
        "store": params.get("store", True),
        "tool_choice": response_tool_choice(params.get("tool_choice")),
        "tools": response_tools(params.get("tools") or []),
        "usage": usage_of(task, result) if ended else None,
        "user": params.get("end_user"),
        **echoed(params.get("options") or {}, params.get("echo") or {}),
        **addresses_of(result),
        **({"left_out": left_out} if (left_out := _data(result or {}).get("left_out")) else {}),
    }


def addresses_of(result: dict[str, Any] | None) -> dict[str, str]:
    """Return where what is too large for an answer can be fetched."""
    found = result or {}
    return {name: found[name] for name in ("response_url", "data_url") if found.get(name) is not None}


def is_cut(result: dict[str, Any] | None) -> bool:
    """Whether the model's reply ended at its limit."""
    return result is not None and _data(result).get("finish_reason") == "length"


def is_refused(result: dict[str, Any]) -> bool:
    """Whether the model refused, as its provider says."""
    return bool(_data(result).get("refused"))


def _data(result: dict[str, Any]) -> dict[str, Any]:
    return result.get("data") or {}


def calls_of(task: Task, result: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the calls that a run left to its client: ``id``, ``name``, ``arguments``; ``max_tool_calls`` at most."""
    calls: list[dict[str, Any]] = _data(result).get("tool_calls") or []
    return calls[: most_calls(task)]


def most_calls(task: Task) -> int | None:
    """Return how many calls the client wants of an answer at most."""
    most: int | None = (task.params.get("echo") or {}).get("max_tool_calls")
    return most


def output_of(task: Task, result: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a complete run's output items: what the model thought, said and called."""
    cut, calls = is_cut(result), calls_of(task, result)
    output: list[dict[str, Any]] = []
    thought = reasoning_of(task, result)
    if thought is not None:
        output.append(thought)
    if result["response"] or not calls:
        status = "incomplete" if cut and not calls else "completed"  # calls come after a text that is whole
        said = result["response"] or ""
        text = refusal_part(said) if is_refused(result) else {**text_part(said), "logprobs": logprobs_of(result)}
        output.append(message_item(ids.message_id(task.task_id), status, [text]))
    if thought is None and calls and wants_encrypted(task) and any(thoughts.of_data(_data(result))):
        # Nothing to be seen, but the provider wants something back with its calls.
        output.append(reasoning_item(ids.reasoning_id(task.task_id), "", encrypted=True))
    for call in calls:
        status = "incomplete" if cut and not is_whole(call["arguments"]) else "completed"
        output.append(call_item(ids.call_id(task.task_id, call["id"]), call, status))
    return output


def logprobs_of(result: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the log probabilities as a response has them: chat completions may leave out bytes and alternatives."""
    shown = []
    for one in _data(result).get("logprobs") or ():
        others = [_logprob(other) for other in one.get("top_logprobs") or ()]
        shown.append({**_logprob(one), "top_logprobs": others})
    return shown


def _logprob(one: dict[str, Any]) -> dict[str, Any]:
    token = str(one.get("token", ""))
    given = one.get("bytes")
    return {"token": token, "logprob": one.get("logprob"), "bytes": list(token.encode()) if given is None else given}


def reasoning_of(task: Task, result: dict[str, Any]) -> dict[str, Any] | None:
    """Return what the model thought, as far as its provider tells, as an item."""
    text = _data(result).get("reasoning")
    if not isinstance(text, str) or not text:
        return None
    return reasoning_item(ids.reasoning_id(task.task_id), text, encrypted=wants_encrypted(task))


def wants_encrypted(task: Task) -> bool:
    """Whether the client asked for reasoning that it can send back."""
    return "reasoning.encrypted_content" in ((task.params.get("echo") or {}).get("include") or ())


def reasoning_item(item_id: str, text: str, *, encrypted: bool) -> dict[str, Any]:
    """Return a reasoning item."""
    item: dict[str, Any] = {"type": "reasoning", "id": item_id, "summary": []}
    if text:
        item["content"] = [{"type": "reasoning_text", "text": text}]
    if encrypted:
        item["encrypted_content"] = thoughts.reference(item_id)
    return item


def text_part(text: str) -> dict[str, Any]:
    """Return a text as a part of a message."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def refusal_part(text: str) -> dict[str, Any]:
    """Return why the model refused, as a part of a message."""
    return {"type": "refusal", "refusal": text}


def message_item(item_id: str, status: str, content: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a message of the model."""
    return {"id": item_id, "type": "message", "role": "assistant", "status": status, "content": content}


def call_item(item_id: str, call: dict[str, Any], status: str) -> dict[str, Any]:
    """Return a function call of the model."""
    return {
        "type": "function_call",
        "id": item_id,
        "call_id": call["id"],
        "name": call["name"],
        "arguments": call["arguments"],
        "status": status,
    }


def is_whole(arguments: str) -> bool:
    """Whether a call's arguments are JSON: what is left of an object that was cut never is."""
    try:
        json.loads(arguments)
    except (ValueError, RecursionError):
        return False
    return True


def usage_of(task: Task, result: dict[str, Any] | None) -> dict[str, Any]:
    """Return the run's use of tokens."""
    details = _data(result or {}).get("usage_details") or {}
    return {
        "input_tokens": task.paid.input_tokens,
        "input_tokens_details": {name: int(details.get(name, 0)) for name in ("cached_tokens", "cache_write_tokens")},
        "output_tokens": task.paid.output_tokens,
        "output_tokens_details": {"reasoning_tokens": int(details.get("reasoning_tokens", 0))},
        "total_tokens": task.paid.tokens,
    }


def error_of(task: Task) -> dict[str, Any] | None:
    """OpenAI has few codes for a failed response; the task's own is the error's type."""
    if task.error is None:
        return None
    code = str(task.error.get("code", ""))
    shown = "rate_limit_exceeded" if code == "rate_limit_exceeded" else "server_error"
    return {"code": shown, "message": str(task.error.get("message", "")), "type": code or None, "param": None}
