"""Tool calls of earlier replies, with arguments that every provider can read when they go back to it.

What a model wrote may be no JSON, or nothing at all. OpenAI takes any text back; others read it, and refuse the whole
call (chat templates, and gateways that turn arguments into an object): the run's earlier calls are paid for then.
"""

import json
from typing import Any

UNREADABLE = "unreadable"
"""The name under which a model is shown again what it wrote instead of a JSON object."""


def readable(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return messages whose tool calls all have a JSON object for arguments; the same list if they had."""
    if not any(message.get("tool_calls") for message in messages):
        return messages
    return [_message(message) for message in messages]


def _message(message: dict[str, Any]) -> dict[str, Any]:
    calls = message.get("tool_calls")
    if not isinstance(calls, list):
        return message
    made = [_call(call) for call in calls]
    return message if made == calls else {**message, "tool_calls": made}


def _call(call: Any) -> Any:
    function = call.get("function") if isinstance(call, dict) else None
    given = function.get("arguments") if isinstance(function, dict) else None
    if function is None or not isinstance(given, str) or _is_object(given):
        return call
    arguments = json.dumps({UNREADABLE: given}, ensure_ascii=False) if given.strip() else "{}"
    return {**call, "function": {**function, "arguments": arguments}}


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text, parse_constant=_none), dict)
    except (ValueError, RecursionError):
        return False


def _none(constant: str) -> None:
    """Take no NaN and no infinity, which only Python calls JSON.

    Raises:
        ValueError: always.
    """
    raise ValueError(constant)
