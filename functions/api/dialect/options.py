"""Parameters that are the provider's: into the task's ``options``, and back into the response that echoes them.

``options`` are fields of a chat completions body, as the worker passes them on. What a chat request has no field for
stands in ``echo``. Whatever a client asks for is in one of the two, done by Sluice itself, or refused by name.
"""

from typing import Annotated, Any, Literal

from pydantic import Field

from functions.api.contract.problem import Problem, invalid
from functions.api.contract.requests import Strict
from shared.tasks.model import dumps

OPTIONS_BYTES = 32 * 1024
"""Most JSON of the options, a response's schema among them; they stay in the task's row."""
TOP_LOGPROBS = 20
FORMAT_NAME = r"^[A-Za-z0-9_-]{1,64}$"
SHORT = 64
"""Longest ``safety_identifier`` and ``prompt_cache_key``; OpenAI's own bound."""

type Options = dict[str, Any]

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
Verbosity = Literal["low", "medium", "high"]
Tier = Literal["auto", "default", "flex"]
"""``priority`` costs more than the list price that ceilings reckon with, so it is none of them."""
Retention = Literal["in_memory", "in-memory", "24h"]
Include = Literal["reasoning.encrypted_content", "message.output_text.logprobs", "message.input_image.image_url"]
"""Of images the address always stands in what was asked with."""


class Format(Strict):
    """``text.format``."""

    type: Literal["text", "json_object", "json_schema"]
    name: Annotated[str | None, Field(pattern=FORMAT_NAME)] = None
    description: str | None = None
    schema_: Annotated[dict[str, Any] | None, Field(alias="schema")] = None
    strict: bool | None = None


class Text(Strict):
    """``text``."""

    format: Format | None = None
    verbosity: Verbosity | None = None


class Reasoning(Strict):
    """``reasoning``. A summary is given where the provider writes one."""

    effort: Effort | None = None
    summary: Literal["auto", "concise", "detailed"] | None = None
    generate_summary: Literal["auto", "concise", "detailed"] | None = None
    context: Literal["auto"] | None = None
    mode: Literal["auto"] | None = None


class Sampling(Strict):
    """The parameters of a Responses request that a provider honours."""

    temperature: Annotated[float | None, Field(ge=0, le=2, allow_inf_nan=False)] = None
    top_p: Annotated[float | None, Field(ge=0, le=1, allow_inf_nan=False)] = None
    presence_penalty: Annotated[float | None, Field(ge=-2, le=2, allow_inf_nan=False)] = None
    frequency_penalty: Annotated[float | None, Field(ge=-2, le=2, allow_inf_nan=False)] = None
    top_logprobs: Annotated[int | None, Field(ge=0, le=TOP_LOGPROBS)] = None
    text: Text | None = None
    reasoning: Reasoning | None = None
    parallel_tool_calls: bool | None = None
    max_tool_calls: Annotated[int | None, Field(ge=1)] = None
    include: Annotated[list[Include] | None, Field(max_length=10)] = None
    truncation: Literal["auto", "disabled"] | None = None
    service_tier: Tier | None = None
    safety_identifier: Annotated[str | None, Field(max_length=SHORT)] = None
    prompt_cache_key: Annotated[str | None, Field(max_length=SHORT)] = None
    prompt_cache_retention: Retention | None = None


_SAME = (
    "temperature", "top_p", "presence_penalty", "frequency_penalty", "safety_identifier", "prompt_cache_key",
    "prompt_cache_retention",
)  # fmt: skip
"""Parameters that a chat request calls the same."""
_ECHOED = ("max_tool_calls", "truncation", "include", "parallel_tool_calls")


def options_of(asked: Sampling, *, tools: bool) -> tuple[Options, dict[str, Any]]:
    """Return what the provider is to be told, and what only the response echoes.

    Raises:
        Problem: a parameter is not whole, or they are too large.
    """
    options: Options = {name: getattr(asked, name) for name in _SAME}
    echo: dict[str, Any] = {name: getattr(asked, name) for name in _ECHOED}
    if asked.text:
        options["response_format"] = _response_format(asked.text.format)
        options["verbosity"] = asked.text.verbosity
    if asked.reasoning:
        options["reasoning_effort"] = asked.reasoning.effort
        echo["summary"] = asked.reasoning.summary or asked.reasoning.generate_summary
    if tools:  # providers refuse it without
        options["parallel_tool_calls"] = asked.parallel_tool_calls
    if asked.service_tier not in (None, "auto"):
        options["service_tier"] = asked.service_tier
    echo["service_tier"] = asked.service_tier
    if asked.top_logprobs or "message.output_text.logprobs" in (asked.include or ()):
        options["logprobs"], options["top_logprobs"] = True, asked.top_logprobs or None
    return bounded(options), {name: value for name, value in echo.items() if value is not None}


def bounded(options: Options) -> Options:
    """Return the options that are given.

    Raises:
        Problem: their JSON is too large.
    """
    given = {name: value for name, value in options.items() if value is not None}
    if len(dumps(given).encode()) > OPTIONS_BYTES:
        largest = max(given, key=lambda name: len(dumps(given[name])))
        name = "text.format" if largest == "response_format" else largest
        raise invalid(f"the request's options must be at most {OPTIONS_BYTES} bytes of JSON", name)
    return given


def _response_format(format: Format | None) -> dict[str, Any] | None:
    if format is None or format.type == "text":
        return None
    if format.type == "json_object":
        return {"type": "json_object"}
    if format.name is None or format.schema_ is None:
        missing = "name" if format.name is None else "schema"
        raise Problem(400, "missing_required_parameter", f"json_schema needs a {missing}", f"text.format.{missing}")
    schema: dict[str, Any] = {"name": format.name, "schema": format.schema_}
    for name in ("strict", "description"):
        if getattr(format, name) is not None:
            schema[name] = getattr(format, name)
    return {"type": "json_schema", "json_schema": schema}


def echoed(options: Options, echo: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters as a response object shows them: those given, else what stands for nothing given."""
    text: dict[str, Any] = {"format": _text_format(options.get("response_format"))}
    if "verbosity" in options:
        text["verbosity"] = options["verbosity"]
    return {
        "temperature": options.get("temperature", 1.0),
        "top_p": options.get("top_p", 1.0),
        "presence_penalty": options.get("presence_penalty", 0.0),
        "frequency_penalty": options.get("frequency_penalty", 0.0),
        "top_logprobs": options.get("top_logprobs", 0),
        "parallel_tool_calls": echo.get("parallel_tool_calls", options.get("parallel_tool_calls", True)),
        "text": text,
        "reasoning": {"effort": options.get("reasoning_effort"), "summary": echo.get("summary")},
        "max_tool_calls": echo.get("max_tool_calls"),
        "truncation": echo.get("truncation", "disabled"),
        "service_tier": options.get("service_tier", "default"),
        "safety_identifier": options.get("safety_identifier"),
        "prompt_cache_key": options.get("prompt_cache_key"),
        **{name: options[name] for name in ("prompt_cache_retention",) if name in options},
    }


def _text_format(response_format: dict[str, Any] | None) -> dict[str, Any]:
    if response_format is None:
        return {"type": "text"}
    if response_format["type"] != "json_schema":
        return {"type": response_format["type"]}
    schema = response_format["json_schema"]
    return {
        "type": "json_schema",
        "name": schema["name"],
        "description": schema.get("description"),
        "schema": schema.get("schema"),
        "strict": schema.get("strict", False),
    }
