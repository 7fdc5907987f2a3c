"""A `POST /v1/chat/completions` body, checked by name. Most of it is the provider's own and goes to it as it is."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from functions.api.contract.problem import Problem, invalid
from functions.api.contract.requests import MAX_OUTPUT_TOKENS, Strict
from functions.api.dialect.content import kind_of, text_of, unsupported
from functions.api.dialect.handed import handed_back, signed_back
from functions.api.dialect.inlined import checked_address, checked_data
from functions.api.dialect.messages import NO_CALL, NO_OUTPUT, chat_tool_choice
from functions.api.dialect.options import SHORT, TOP_LOGPROBS, Effort, Options, Retention, Tier, Verbosity, bounded
from functions.api.dialect.request import Common

STOPS = 4
"""Most texts that may end a reply; OpenAI's own bound."""
_ROLES = frozenset({"system", "developer", "user", "assistant", "tool"})
_PARTS = frozenset({"text", "image_url", "input_audio", "file", "refusal"})
_SCHEMA_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NO_FILES = "uploaded files (`file_id`)"


class ChatStreamOptions(Strict):
    """``stream_options``."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class ChatRequest(Common):
    """What this API understands of OpenAI's request."""

    unsupported: ClassVar[Mapping[str, str]] = {
        "audio": "",
        "function_call": "use tool_choice",
        "functions": "use tools",
        "moderation": "",
        "prediction": "",
        "prompt_cache_options": "",
        "web_search_options": "",
    }

    messages: Annotated[list[dict[str, Any]], Field(min_length=1)]
    stream: bool | None = None
    stream_options: ChatStreamOptions | None = None
    n: Annotated[Literal[1] | None, Field(description="One choice a request.")] = None
    max_tokens: Annotated[int | None, Field(ge=1, le=MAX_OUTPUT_TOKENS)] = None
    max_completion_tokens: Annotated[int | None, Field(ge=1, le=MAX_OUTPUT_TOKENS)] = None
    tool_choice: str | dict[str, Any] | None = None
    modalities: list[Literal["text"]] | None = None
    store: bool | None = None

    temperature: Annotated[float | None, Field(ge=0, le=2, allow_inf_nan=False)] = None
    top_p: Annotated[float | None, Field(ge=0, le=1, allow_inf_nan=False)] = None
    presence_penalty: Annotated[float | None, Field(ge=-2, le=2, allow_inf_nan=False)] = None
    frequency_penalty: Annotated[float | None, Field(ge=-2, le=2, allow_inf_nan=False)] = None
    logit_bias: dict[str, float] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int | None, Field(ge=0, le=TOP_LOGPROBS)] = None
    seed: int | None = None
    stop: str | Annotated[list[str], Field(max_length=STOPS)] | None = None
    response_format: dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    reasoning_effort: Effort | None = None
    verbosity: Verbosity | None = None
    service_tier: Tier | None = None
    prompt_cache_key: Annotated[str | None, Field(max_length=SHORT)] = None
    prompt_cache_retention: Retention | None = None
    safety_identifier: Annotated[str | None, Field(max_length=SHORT)] = None


_PASSED = (
    "temperature", "top_p", "presence_penalty", "frequency_penalty", "logit_bias", "logprobs", "top_logprobs", "seed",
    "stop", "reasoning_effort", "verbosity", "prompt_cache_key", "prompt_cache_retention",
    "safety_identifier",
)  # fmt: skip


def chat_options(asked: ChatRequest) -> Options:
    """Return what the provider is to be told.

    Raises:
        Problem: a parameter is not whole, or they are too large.
    """
    options: Options = {name: getattr(asked, name) for name in _PASSED}
    if asked.top_logprobs is not None and not asked.logprobs:
        raise invalid("needs logprobs", "top_logprobs")
    if asked.logprobs is False:
        options["logprobs"] = None
    if asked.service_tier not in (None, "auto"):
        options["service_tier"] = asked.service_tier
    if asked.tools:
        options["parallel_tool_calls"] = asked.parallel_tool_calls
    if asked.response_format is not None:
        options["response_format"] = _format(asked.response_format)
    return bounded(options)


def _format(asked: dict[str, Any]) -> dict[str, Any] | None:
    kind = asked.get("type")
    if kind == "text":
        return None
    if kind == "json_object":
        return {"type": "json_object"}
    schema = asked.get("json_schema")
    if kind != "json_schema":
        raise invalid("must be text, json_object or json_schema", "response_format.type")
    if not isinstance(schema, dict) or not isinstance(schema.get("name"), str):
        raise invalid("must be an object with a name", "response_format.json_schema")
    if not _SCHEMA_NAME.fullmatch(schema["name"]):
        raise invalid("must be 1 to 64 letters, digits, _ or -", "response_format.json_schema.name")
    for name, type_ in (("schema", dict), ("strict", bool), ("description", str)):
        if not isinstance(schema.get(name), type_ | None):
            raise invalid("has the wrong type", f"response_format.json_schema.{name}")
    return {"type": "json_schema", "json_schema": schema}


def checked_messages(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Check chat messages and return them as a provider takes them.

    Raises:
        Problem: a message is none, or a call and its answer do not meet; it is named.
    """
    checked, waiting = [], dict[str, str]()
    for n, message in enumerate(messages):
        place = f"messages.{n}"
        role = message.get("role")
        if role not in _ROLES:
            raise invalid(f"a message's role must be one of {', '.join(sorted(_ROLES))}", f"{place}.role")
        if waiting and role != "tool":
            call_id, where = next(iter(waiting.items()))
            raise Problem(400, "invalid_request", NO_OUTPUT.format(call_id[:80]), where)
        kept: dict[str, Any] = {"role": role}
        calls = message.get("tool_calls") if role == "assistant" else None
        if message.get("content") not in (None, []):  # instructor writes an empty list for none
            kept["content"] = _content(message.get("content"), f"{place}.content")
        elif role == "assistant" and message.get("refusal") is not None:
            kept["content"] = text_of(message, "refusal", place)
        elif not calls:
            kept["content"] = _content(message.get("content"), f"{place}.content")
        else:
            kept["content"] = None
        if isinstance(message.get("name"), str):
            kept["name"] = message["name"]
        if role == "assistant":
            kept |= handed_back(message)
        if calls:
            kept["tool_calls"] = [_call(call, f"{place}.tool_calls.{m}") for m, call in enumerate(calls)]
            waiting = {call["id"]: f"{place}.tool_calls" for call in kept["tool_calls"]}
        elif role == "tool":
            kept["tool_call_id"] = call_id = text_of(message, "tool_call_id", place)
            if waiting.pop(call_id, None) is None:
                raise Problem(400, "invalid_request", NO_CALL.format(call_id[:80]), f"{place}.tool_call_id")
        checked.append(kept)
    for call_id, where in waiting.items():
        raise Problem(400, "invalid_request", NO_OUTPUT.format(call_id[:80]), where)
    return checked


def _content(content: Any, place: str) -> str | list[dict[str, Any]]:
    if isinstance(content, str):
        return content
    if not isinstance(content, list) or not content:
        raise invalid("must be text or a list of parts", place)
    parts = []
    for n, part in enumerate(content):
        kind, where = kind_of(part, f"{place}.{n}"), f"{place}.{n}"
        if kind not in _PARTS:
            raise unsupported(f"parts of type {kind[:40]!r}", f"{where}.type")
        parts.append(_part(kind, part, where))
    if all(part["type"] == "text" for part in parts):  # a plain string is what every provider takes
        return "\n".join(part["text"] for part in parts)
    return parts


def _part(kind: str, part: dict[str, Any], place: str) -> dict[str, Any]:
    if kind in ("text", "refusal"):
        return {"type": "text", "text": text_of(part, kind, place)}
    value = part.get(kind)
    if kind == "image_url" and isinstance(value, str):
        value = {"url": value}
    if not isinstance(value, dict):
        raise invalid("must be an object", f"{place}.{kind}")
    if value.get("file_id") is not None:
        raise unsupported(_NO_FILES, f"{place}.{kind}.file_id")
    needed = {"image_url": ("url",), "file": ("file_data",), "input_audio": ("data", "format")}[kind]
    for name in needed:
        given, where = text_of(value, name, f"{place}.{kind}"), f"{place}.{kind}.{name}"
        if name == "url":
            checked_address(given, where)
        elif name != "format":
            checked_data(given, where)
    return {"type": kind, kind: value}


def _call(call: Any, place: str) -> dict[str, Any]:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict):
        raise invalid("must be a function call", place)
    named = {name: text_of(function, name, f"{place}.function") for name in ("name", "arguments")}
    return {"id": text_of(call, "id", place), "type": "function", "function": named, **signed_back(call)}


def checked_choice(choice: str | dict[str, Any]) -> str | dict[str, Any]:
    """Check a tool choice.

    Raises:
        Problem: it is none of those that exist.
    """
    if isinstance(choice, str):
        if choice not in ("none", "auto", "required"):
            raise invalid("must be none, auto, required or a function", "tool_choice")
        return choice
    kind = choice.get("type")
    if kind not in ("function", "allowed_tools") or not isinstance(choice.get(kind), dict):
        raise unsupported(f"tool choices of type {str(kind)[:40]!r}", "tool_choice.type")
    if kind == "function":
        text_of(choice["function"], "name", "tool_choice.function")
        return choice
    allowed = choice["allowed_tools"]
    return chat_tool_choice({**allowed, "type": kind, "tools": _functions(allowed.get("tools"))})


def _functions(tools: Any) -> Any:
    """Return a choice's tools in the words of the Responses dialect."""
    if not isinstance(tools, list):
        return tools
    return [tool | tool.get("function", {}) if isinstance(tool, dict) else tool for tool in tools]
