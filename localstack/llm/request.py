"""Reading a chat completion request as strictly as OpenAI does, so that mistakes show up locally.

What the simulator does not act on (temperature, penalties, ...) it accepts and ignores; a parameter that
OpenAI does not know it refuses, and so it does ``n`` above 1, which it cannot serve.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from localstack.llm.faults import invalid, wrong_type
from localstack.llm.messages import Message, check_messages

_PARAMETERS = frozenset(
    [
        "audio",
        "frequency_penalty",
        "function_call",
        "functions",
        "logit_bias",
        "logprobs",
        "max_completion_tokens",
        "max_tokens",
        "messages",
        "metadata",
        "modalities",
        "model",
        "moderation",
        "n",
        "parallel_tool_calls",
        "prediction",
        "presence_penalty",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "reasoning_effort",
        "response_format",
        "safety_identifier",
        "seed",
        "service_tier",
        "stop",
        "store",
        "stream",
        "stream_options",
        "temperature",
        "tool_choice",
        "tools",
        "top_logprobs",
        "top_p",
        "user",
        "verbosity",
        "web_search_options",
    ]
)
_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class Tool:
    """An offered function: its name and the JSON schema of its arguments."""

    name: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A valid request, reduced to what the simulator acts on."""

    model: str
    messages: Sequence[Message]
    stream: bool
    include_usage: bool
    max_tokens: int | None
    stop: tuple[str, ...]
    tools: tuple[Tool, ...]
    raw_tools: Sequence[Mapping[str, Any]]
    tool_choice: str
    parallel_tool_calls: bool

    def last_user(self) -> int:
        """Index of the last user message, -1 without one."""
        for index in range(len(self.messages) - 1, -1, -1):
            if self.messages[index]["role"] == "user":
                return index
        return -1


def read(body: bytes) -> ChatRequest:
    """Parses and checks a request body.

    Raises:
        ApiError: 400 in OpenAI's shape, naming the parameter.
    """
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        raise invalid("We could not parse the JSON body of your request.") from None
    if not isinstance(data, dict):
        raise invalid("The body of the request must be a JSON object.")
    unknown = sorted(data.keys() - _PARAMETERS)
    if unknown:
        raise invalid(f"Unrecognized request argument supplied: {unknown[0]}", unknown[0], "unknown_parameter")
    stream = _boolean(data, "stream", default=False)
    tools = tuple(_tool(tool, index) for index, tool in enumerate(_list(data, "tools")))
    choice, offered = _allowed(data.get("tool_choice"), tools)
    if _integer(data, "n", 1, 128) not in (None, 1):
        raise invalid("The simulator serves one choice: 'n' must be 1.", "n", "unsupported_value")
    return ChatRequest(
        model=_model(data),
        messages=check_messages(data.get("messages")),
        stream=stream,
        include_usage=_include_usage(data, stream),
        max_tokens=_max_tokens(data),
        stop=_stop(data),
        tools=offered,
        raw_tools=data.get("tools") or (),
        tool_choice=_tool_choice(choice, offered),
        parallel_tool_calls=_boolean(data, "parallel_tool_calls", default=True),
    )


def _model(data: Mapping[str, Any]) -> str:
    model = data.get("model")
    if model is None or model == "":
        raise invalid("You must provide a model parameter.", "model", "missing_required_parameter")
    if not isinstance(model, str):
        raise wrong_type("model", "a string")
    return model


def _boolean(data: Mapping[str, Any], name: str, *, default: bool) -> bool:
    value = data.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise wrong_type(name, "a boolean")
    return value


def _integer(data: Mapping[str, Any], name: str, low: int, high: int) -> int | None:
    value = data.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise wrong_type(name, "an integer")
    if not low <= value <= high:
        raise invalid(f"Invalid '{name}': expected a value from {low} to {high}.", name, "invalid_value")
    return value


def _list(data: Mapping[str, Any], name: str) -> list[Any]:
    value = data.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise wrong_type(name, "an array")
    if not value:
        raise invalid(f"Invalid '{name}': empty array.", name, "empty_array")
    return value


def _include_usage(data: Mapping[str, Any], stream: bool) -> bool:
    options = data.get("stream_options")
    if options is None:
        return False
    if not isinstance(options, dict):
        raise wrong_type("stream_options", "an object")
    if not stream:
        raise invalid("The 'stream_options' parameter is only allowed when 'stream' is enabled.", "stream_options")
    return _boolean(options, "include_usage", default=False)


def _max_tokens(data: Mapping[str, Any]) -> int | None:
    old = _integer(data, "max_tokens", 1, 10_000_000)
    new = _integer(data, "max_completion_tokens", 1, 10_000_000)
    if old is not None and new is not None:
        raise invalid(
            "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.",
            "max_tokens",
            "invalid_parameter_combination",
        )
    return old if new is None else new


def _stop(data: Mapping[str, Any]) -> tuple[str, ...]:
    value = data.get("stop")
    if value is None:
        return ()
    stops = [value] if isinstance(value, str) else value
    if not isinstance(stops, list) or not all(isinstance(stop, str) for stop in stops):
        raise wrong_type("stop", "a string or an array of strings")
    if len(stops) > 4:
        raise invalid("Invalid 'stop': at most 4 sequences.", "stop", "array_above_max_length")
    return tuple(stop for stop in stops if stop)


def _tool(tool: object, index: int) -> Tool:
    where = f"tools[{index}]"
    if not isinstance(tool, dict) or tool.get("type") != "function" or not isinstance(tool.get("function"), dict):
        raise wrong_type(where, "an object of type 'function' with a 'function'")
    function = tool["function"]
    name = function.get("name")
    if not isinstance(name, str) or not _TOOL_NAME.fullmatch(name):
        raise invalid(
            f"Invalid '{where}.function.name': expected [a-zA-Z0-9_-]{{1,64}}.",
            f"{where}.function.name",
            "invalid_value",
        )
    parameters = function.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise wrong_type(f"{where}.function.parameters", "an object")
    return Tool(name, parameters)


def _allowed(value: Any, tools: Sequence[Tool]) -> tuple[Any, tuple[Tool, ...]]:
    """The tools that a choice of kind ``allowed_tools`` leaves, and its mode as the choice; else both as they are."""
    if not isinstance(value, dict) or value.get("type") != "allowed_tools":
        return value, tuple(tools)
    allowed = value.get("allowed_tools")
    named = allowed.get("tools") if isinstance(allowed, dict) else None
    if not isinstance(allowed, dict) or not isinstance(named, list) or allowed.get("mode") not in ("auto", "required"):
        raise invalid("Invalid 'tool_choice.allowed_tools'.", "tool_choice", "invalid_value")
    names = {tool.get("function", {}).get("name") for tool in named if isinstance(tool, dict)}
    if not names or not names <= {tool.name for tool in tools}:
        raise invalid("Invalid 'tool_choice': no such tool.", "tool_choice", "invalid_value")
    return allowed["mode"], tuple(tool for tool in tools if tool.name in names)


def _tool_choice(value: Any, tools: Sequence[Tool]) -> str:
    """``auto``, ``none``, ``required``, or ``=NAME`` for one tool."""
    if value is None:
        return "auto" if tools else "none"
    if not tools:
        raise invalid("'tool_choice' is only allowed when 'tools' are specified.", "tool_choice")
    if isinstance(value, str) and value in ("auto", "none", "required"):
        return value
    function = value.get("function") if isinstance(value, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    if name not in [tool.name for tool in tools]:
        raise invalid("Invalid 'tool_choice': no such tool.", "tool_choice", "invalid_value")
    return f"={name}"
