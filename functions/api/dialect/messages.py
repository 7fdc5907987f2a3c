"""Between the items of the Responses dialect and the chat messages and tools that agents pass to a model."""

from __future__ import annotations

import re
from typing import Any

from functions.api.errors import Problem, invalid
from shared.tasks.model import dumps

_ROLES = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}
_TEXTS = frozenset({"input_text", "output_text", "text"})
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_CHOICES = frozenset({"auto", "none", "required"})


def as_json(messages: list[dict[str, Any]]) -> str:
    """Encode messages as the task's message."""
    return dumps(messages)


def chat_messages(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Turn input items into chat messages.

    Raises:
        Problem: an item is none that agents can read; it is named.
    """
    if not items:
        raise invalid("input must not be empty", "input")
    messages: list[dict[str, Any]] = []
    called: set[str] = set()
    answers = 0
    for n, item in enumerate(items):
        place, kind = f"input.{n}", item.get("type", "message")
        if kind == "message":
            messages.append(_message(item, place))
        elif kind == "function_call":
            call = _call(item, place)
            called.add(call["id"])
            if messages and messages[-1].get("tool_calls"):  # one turn of the model may call several
                messages[-1]["tool_calls"].append(call)
            else:
                messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
        elif kind == "function_call_output":
            output = item.get("output")
            text = output if isinstance(output, str) else _content(output, f"{place}.output")
            call_id = _text(item, "call_id", place)
            message = {"role": "tool", "tool_call_id": call_id, "content": text}
            if call_id in called:
                messages.append(message)
            else:  # answers the response before: a provider wants it right behind the call
                messages.insert(answers, message)
                answers += 1
        else:
            raise _unsupported(f"input items of type {str(kind)[:40]!r}", f"{place}.type")
    return messages


def _message(item: dict[str, Any], place: str) -> dict[str, Any]:
    role = item.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        raise invalid(f"a message's role must be one of {', '.join(_ROLES)}", f"{place}.role")
    return {"role": _ROLES[role], "content": _content(item.get("content"), f"{place}.content")}


def _content(content: Any, place: str) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise invalid("must be text or a list of parts", place)
    texts = []
    for n, part in enumerate(content):
        kind = part.get("type") if isinstance(part, dict) else None
        if kind not in _TEXTS:
            raise _unsupported(f"content of type {str(kind)[:40]!r}", f"{place}.{n}.type")
        texts.append(_text(part, "text", f"{place}.{n}"))
    return "\n".join(texts)


def _call(item: dict[str, Any], place: str) -> dict[str, Any]:
    function = {"name": _text(item, "name", place), "arguments": _text(item, "arguments", place)}
    return {"id": _text(item, "call_id", place), "type": "function", "function": function}


def chat_tools(tools: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Turn tool definitions into a chat request's.

    Raises:
        Problem: a tool is no function, or is not whole.
    """
    made = []
    for n, tool in enumerate(tools):
        place = f"tools.{n}"
        if tool.get("type") != "function":
            raise _unsupported(f"tools of type {str(tool.get('type'))[:40]!r}", f"{place}.type")
        name = _text(tool, "name", place)
        if not _NAME.fullmatch(name):
            raise invalid("must be 1 to 64 letters, digits, _ or -", f"{place}.name")
        function: dict[str, Any] = {"name": name}
        for field, kind in (("description", str), ("parameters", dict), ("strict", bool)):
            value = tool.get(field)
            if value is not None:
                if not isinstance(value, kind):
                    raise invalid("has the wrong type", f"{place}.{field}")
                function[field] = value
        made.append({"type": "function", "function": function})
    return made


def chat_tool_choice(choice: str | dict[str, Any]) -> str | dict[str, Any]:
    """Turn a tool choice into a chat request's.

    Raises:
        Problem: it is none of those that exist.
    """
    if isinstance(choice, str):
        if choice not in _CHOICES:
            raise invalid(f"must be one of {', '.join(sorted(_CHOICES))} or a function", "tool_choice")
        return choice
    if choice.get("type") != "function":
        raise _unsupported(f"a tool choice of type {str(choice.get('type'))[:40]!r}", "tool_choice.type")
    return {"type": "function", "function": {"name": _text(choice, "name", "tool_choice")}}


def response_tools(tools: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Turn a chat request's tools back into what the client sent."""
    return [{"type": "function", "strict": None, "parameters": None, **tool["function"]} for tool in tools]


def response_tool_choice(choice: str | dict[str, Any] | None) -> str | dict[str, Any]:
    """Turn a chat request's tool choice back into what the client sent."""
    if isinstance(choice, dict):
        return {"type": "function", "name": choice["function"]["name"]}
    return choice or "auto"


def _text(holder: dict[str, Any], field: str, place: str) -> str:
    value = holder.get(field)
    if not isinstance(value, str):
        raise invalid("must be text", f"{place}.{field}")
    return value


def _unsupported(what: str, param: str) -> Problem:
    return Problem(400, "unsupported_value", f"{what} are not supported", param)
