"""Messages and tools in shapes that a provider's refusal asked for: the same conversation, in the form that it takes.

Most take a conversation as OpenAI does. Some want a text where OpenAI allows null or a list of parts, no message
that is empty, users and assistants in turn, tool call ids of nine letters. Nothing but `readable` is done before a
refusal asks for it.
"""

import hashlib
import json
from collections.abc import Callable
from typing import Any

NAMELESS, TEXTS, FILLED, IDS, SIGNED, THOUGHTS, ANSWERED, MERGED = SHAPES = (
    "nameless", "texts", "filled", "ids", "signed", "thoughts", "answered", "merged",
)  # fmt: skip
"""In the order in which they are made."""
FILLER = "(empty)"
"""What stands where a message says nothing and may not; a model reads it as what it is."""
ID_LETTERS = 9
"""Mistral's tool call ids have exactly so many, of a-z, A-Z and 0-9."""
UNSIGNED = "skip_thought_signature_validator"
"""Google's own word for a call that its model did not sign (https://ai.google.dev/gemini-api/docs/thought-signatures)."""
NO_THOUGHT = " "
"""Moonshot takes an empty text for a missing one (earendil-works/pi#4178)."""

type Messages = list[dict[str, Any]]


def shaped(messages: Messages, shapes: frozenset[str]) -> Messages:
    """Return messages in all of the shapes; what has them already is left as it is."""
    for shape in SHAPES:
        if shape in shapes:
            messages = _MAKE[shape](messages, shapes)
    return messages


def _nameless(messages: Messages, _: frozenset[str]) -> Messages:
    """Leave out who a user or an assistant is; a tool's name may be wanted."""
    return [
        {key: value for key, value in one.items() if key != "name" or one.get("role") in ("tool", "function")}
        for one in messages
    ]


def _texts(messages: Messages, _: frozenset[str]) -> Messages:
    """Make each content a text, unless it holds more than texts."""
    return [{**one, "content": _text(one.get("content"))} for one in messages]


def _text(content: Any) -> Any:
    if content is None:
        return ""
    if not isinstance(content, list) or not all(isinstance(part, dict) and "text" in part for part in content):
        return content
    return "\n".join(str(part["text"]) for part in content)


def _filled(messages: Messages, shapes: frozenset[str]) -> Messages:
    made = []
    for one in messages:
        content = one.get("content")
        if isinstance(content, list):
            content = [part for part in content if not (isinstance(part, dict) and _is_blank(part.get("text", part)))]
        if _is_blank(content) or content == []:
            one = {**one, "content": None if one.get("tool_calls") and TEXTS not in shapes else FILLER}
        elif content != one.get("content"):
            one = {**one, "content": content}
        made.append(one)
    return made


def _is_blank(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def short_id(call_id: str) -> str:
    """Return an id of nine letters for a tool call: always the same for the same one."""
    if len(call_id) == ID_LETTERS and call_id.isascii() and call_id.isalnum():
        return call_id
    return hashlib.sha256(call_id.encode()).hexdigest()[:ID_LETTERS]


def _ids(messages: Messages, _: frozenset[str]) -> Messages:
    made = []
    for one in messages:
        if isinstance(call_id := one.get("tool_call_id"), str):
            one = {**one, "tool_call_id": short_id(call_id)}
        if calls := one.get("tool_calls"):
            one = {**one, "tool_calls": [{**call, "id": short_id(str(call.get("id") or ""))} for call in calls]}
        made.append(one)
    return made


def _signed(messages: Messages, _: frozenset[str]) -> Messages:
    """Mark the first call of each message that no model of Google's signed."""
    made = []
    for one in messages:
        if (calls := one.get("tool_calls")) and not _signature(calls[0]):
            extra = calls[0].get("extra_content")
            google = {"google": {"thought_signature": UNSIGNED}}
            first = {**calls[0], "extra_content": {**(extra if isinstance(extra, dict) else {}), **google}}
            one = {**one, "tool_calls": [first, *calls[1:]]}
        made.append(one)
    return made


def _signature(call: dict[str, Any]) -> Any:
    google = (call.get("extra_content") or {}).get("google") or {}
    return google.get("thought_signature")


def _thoughts(messages: Messages, _: frozenset[str]) -> Messages:
    """Give each answer a thought, also one that another model wrote, or that a client sent back without."""
    return [
        {**one, "reasoning_content": one.get("reasoning_content") or one.get("reasoning") or NO_THOUGHT}
        if one.get("role") == "assistant"
        else one
        for one in messages
    ]


def _answered(messages: Messages, _: frozenset[str]) -> Messages:
    """Put an answer between what a tool said and what the user said next."""
    made: Messages = []
    for one in messages:
        if made and one.get("role") == "user" and made[-1].get("role") == "tool":
            made.append({"role": "assistant", "content": FILLER})
        made.append(one)
    return made


def _merged(messages: Messages, _: frozenset[str]) -> Messages:
    """Make one message of neighbours of one role, which may be a user or an assistant."""
    made: Messages = []
    for one in messages:
        if made and one.get("role") in ("user", "assistant") and made[-1].get("role") == one["role"]:
            made[-1] = _together(made[-1], one)
        else:
            made.append(one)
    return made


def _together(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    made = {**first, **second, "content": _joined(first.get("content"), second.get("content"))}
    if calls := [*(first.get("tool_calls") or ()), *(second.get("tool_calls") or ())]:
        made["tool_calls"] = calls
    return made


def _joined(first: Any, second: Any) -> Any:
    if not first or not second:
        return first or second
    if isinstance(first, str) and isinstance(second, str):
        return f"{first}\n\n{second}"
    parts = [[{"type": "text", "text": one}] if isinstance(one, str) else one for one in (first, second)]
    return [*parts[0], *parts[1]]


_MAKE: dict[str, Callable[[Messages, frozenset[str]], Messages]] = {
    NAMELESS: _nameless, TEXTS: _texts, FILLED: _filled, IDS: _ids, SIGNED: _signed, THOUGHTS: _thoughts,
    ANSWERED: _answered, MERGED: _merged,
}  # fmt: skip


UNREADABLE = "unreadable"
"""The name under which a model is shown again what it wrote instead of a JSON object."""


def readable(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return messages whose tool calls all have a JSON object for arguments; the same list if they had.

    What a model wrote may be no JSON, or nothing at all. OpenAI takes any text back; others read it, and refuse the
    whole call (chat templates, and gateways that turn arguments into an object): earlier calls are paid for then.
    """
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


SPARE = (
    "additionalProperties", "$schema", "$id", "$comment", "title", "default", "examples", "example", "format",
    "pattern", "minLength", "maxLength", "minItems", "maxItems", "uniqueItems", "minimum", "maximum",
    "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minProperties", "maxProperties", "propertyNames",
    "patternProperties", "unevaluatedProperties", "deprecated", "readOnly", "writeOnly", "nullable", "contentEncoding",
    "contentMediaType",
)  # fmt: skip
"""Keywords of tools' schemas that a provider may not know: they say more about a value, which the tool itself checks;
what it is called and what kind it is of is said by others."""
_OF_NAMES = frozenset({"properties", "$defs", "definitions", "patternProperties", "dependentSchemas"})
"""Keywords whose own keys are the user's names."""
_DATA = frozenset({"enum", "const", "default", "examples", "example", "required"})
"""Keywords that hold no schemas."""


def without_keywords(tools: list[dict[str, Any]], names: frozenset[str]) -> list[dict[str, Any]]:
    """Return tools whose schemas have none of the keywords."""
    made = []
    for tool in tools:
        function = tool.get("function")
        if isinstance(function, dict) and "parameters" in function:
            tool = {**tool, "function": {**function, "parameters": _schema(function["parameters"], names)}}
        made.append(tool)
    return made


def uses_keyword(tools: list[dict[str, Any]], name: str) -> bool:
    """Tell whether a schema of the tools has a keyword."""
    return without_keywords(tools, frozenset({name})) != tools


def _schema(value: Any, names: frozenset[str]) -> Any:
    if isinstance(value, list):
        return [_schema(one, names) for one in value]
    if not isinstance(value, dict):
        return value
    made = {}
    for key, inner in value.items():
        if key in names:
            continue
        if key in _OF_NAMES and isinstance(inner, dict):
            made[key] = {name: _schema(one, names) for name, one in inner.items()}
        else:
            made[key] = inner if key in _DATA else _schema(inner, names)
    return made
