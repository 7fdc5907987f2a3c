"""The conversation of a request: its form, and that every tool call has its result."""

from collections.abc import Mapping, Sequence
from typing import Any

from localstack.llm.faults import invalid, wrong_type
from localstack.llm.tokens import text_of

Message = Mapping[str, Any]

_ROLES = frozenset({"developer", "system", "user", "assistant", "tool"})


def check_messages(messages: object) -> list[Message]:
    """Checks the ``messages`` of a request, tool calls and their results included.

    Raises:
        ApiError: 400, naming the first message that is wrong.
    """
    if messages is None:
        raise invalid("Missing required parameter: 'messages'.", "messages", "missing_required_parameter")
    if not isinstance(messages, list):
        raise wrong_type("messages", "an array")
    if not messages:
        raise invalid("Invalid 'messages': empty array.", "messages", "empty_array")
    waiting: set[str] = set()
    for index, message in enumerate(messages):
        where = f"messages.[{index}]"
        if not isinstance(message, dict):
            raise wrong_type(where, "an object")
        role = message.get("role")
        if not isinstance(role, str) or role not in _ROLES:
            raise invalid(f"Invalid value for '{where}.role'.", f"{where}.role", "invalid_value")
        if role == "tool":
            call_id = message.get("tool_call_id")
            if not isinstance(call_id, str) or call_id not in waiting:
                raise invalid(
                    "Invalid parameter: messages with role 'tool' must be a response to a preceding "
                    "message with 'tool_calls'.",
                    f"{where}.role",
                )
            waiting.discard(call_id)
        else:
            _all_answered(waiting)
        calls = _tool_calls(message, where)
        if calls and role != "assistant":
            raise invalid("Only an assistant message may have tool calls.", f"{where}.tool_calls", "invalid_value")
        waiting.update(calls)
        _content(message, where, may_be_empty=bool(calls))
    _all_answered(waiting)
    return messages


def _all_answered(waiting: set[str]) -> None:
    if waiting:
        raise invalid(
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
            f"'tool_call_id'. Without a response: {', '.join(sorted(waiting))}",
            "messages",
        )


def _tool_calls(message: Message, where: str) -> list[str]:
    calls = message.get("tool_calls")
    if calls is None:
        return []
    if not isinstance(calls, list) or not calls:
        raise wrong_type(f"{where}.tool_calls", "a non-empty array")
    for call in calls:
        function = call.get("function") if isinstance(call, dict) else None
        if (
            not isinstance(function, dict)
            or not isinstance(call.get("id"), str)
            or not isinstance(function.get("name"), str)
            or not isinstance(function.get("arguments"), str)
        ):
            raise wrong_type(f"{where}.tool_calls", "objects with 'id' and 'function'")
    return [call["id"] for call in calls]


def _content(message: Message, where: str, *, may_be_empty: bool) -> None:
    content = message.get("content")
    if content is None and may_be_empty:
        return
    if isinstance(content, str):
        return
    if isinstance(content, list) and content and all(isinstance(part, dict) and "type" in part for part in content):
        texts = [part for part in content if part["type"] == "text"]
        if len(texts) == len([part for part in texts if isinstance(part.get("text"), str)]):
            return
    raise wrong_type(f"{where}.content", "a string or an array of content parts")


def user_texts(messages: Sequence[Message]) -> list[str]:
    """The texts of all user messages, in order."""
    return [text_of(message.get("content")) for message in messages if message["role"] == "user"]
