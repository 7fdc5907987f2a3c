"""A `POST /v1/responses` body: checked by name and turned into what an agent reads, chat messages and tools."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from functions.api.dialect import messages
from functions.api.errors import Problem, invalid
from functions.api.schemas import (
    MAX_COST_USD,
    MAX_OUTPUT_TOKENS,
    MAX_TIMEOUT_SECONDS,
    AgentName,
    Metadata,
    ModelName,
    Priority,
    SessionId,
    checked_webhook_url,
)
from shared.netguard import URL_CHARACTERS as WEBHOOK_CHARACTERS

if TYPE_CHECKING:
    from collections.abc import Callable

INSTRUCTIONS_BYTES = 32 * 1024
"""Longest ``instructions``; they stay in the task's row. Longer ones can be sent as a system message of ``input``."""
TOOLS = 64
TOOLS_BYTES = 32 * 1024
"""Most tool definitions, and their JSON's size; they stay in the row, too."""
RESPONSE_ID_CHARACTERS = 80


class ResponsesRequest(BaseModel):
    """What this API understands of OpenAI's request, and its own additions (the SDK's ``extra_body``)."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)

    input: Annotated[
        str | list[dict[str, Any]], Field(description="Text, or a list of messages, function calls and their outputs.")
    ]
    model: Annotated[ModelName | None, Field(description="The deployment's default when absent.")] = None
    background: Annotated[
        bool | None, Field(description="Answer at once; otherwise the answer is held up to 25 s.")
    ] = None
    instructions: Annotated[str | None, Field(description=f"At most {INSTRUCTIONS_BYTES} bytes.")] = None
    previous_response_id: Annotated[str | None, Field(max_length=RESPONSE_ID_CHARACTERS)] = None
    max_output_tokens: Annotated[int | None, Field(ge=1, le=MAX_OUTPUT_TOKENS)] = None
    metadata: Metadata | None = None
    tools: Annotated[list[dict[str, Any]] | None, Field(max_length=TOOLS, description="Functions only.")] = None
    tool_choice: Annotated[str | dict[str, Any] | None, Field(description="auto, none, required or a function.")] = None
    user: Annotated[
        str | None, Field(max_length=512, description="With a trusted service's key: one of its own users.")
    ] = None

    agent: AgentName = "chat"
    session_id: SessionId | None = None
    priority: Priority | None = None
    timeout_s: Annotated[float | None, Field(gt=0, le=MAX_TIMEOUT_SECONDS, allow_inf_nan=False)] = None
    max_cost_usd: Annotated[float | None, Field(gt=0, le=MAX_COST_USD, allow_inf_nan=False)] = None
    webhook_url: Annotated[str | None, Field(min_length=1, max_length=WEBHOOK_CHARACTERS)] = None

    @field_validator("webhook_url")
    @classmethod
    def _public_address(cls, url: str | None) -> str | None:
        return None if url is None else checked_webhook_url(url)

    @field_validator("instructions")
    @classmethod
    def _short(cls, text: str | None) -> str | None:
        if text is not None and len(text.encode()) > INSTRUCTIONS_BYTES:
            raise ValueError(f"must be at most {INSTRUCTIONS_BYTES} bytes")
        return text


def _only(*values: Any) -> Callable[[Any], bool]:
    return lambda value: any(value == allowed and type(value) is type(allowed) for allowed in values)


def _anything(_: Any) -> bool:
    return True


TOLERATED: dict[str, Callable[[Any], bool]] = {
    "stream": _only(False),
    "store": _only(True),
    "temperature": lambda value: value == 1,
    "top_p": lambda value: value == 1,
    "top_logprobs": _only(0),
    "truncation": _only("disabled"),
    "parallel_tool_calls": _only(True),
    "service_tier": _only("auto", "default"),
    "text": _only({"format": {"type": "text"}}),
    "include": _only([]),
    "prompt_cache_key": _anything,
    "safety_identifier": _anything,
}
"""Parameters that change nothing here, with the values that they may have: the ones that say what is done anyway."""
UNSUPPORTED = frozenset(
    {
        "access_programs", "background_options", "context_management", "conversation", "image", "max_tool_calls",
        "moderation", "prompt", "prompt_cache_options", "prompt_cache_retention", "reasoning", "stream_options",
    }
)  # fmt: skip
"""Further parameters that OpenAI has."""


def without_tolerated(value: dict[str, Any]) -> dict[str, Any]:
    """Drop what changes nothing.

    Raises:
        Problem: a parameter is unknown, or asks for something that is not done here; it is named.
    """
    kept: dict[str, Any] = {}
    for name, given in value.items():
        if name in ResponsesRequest.model_fields:
            kept[name] = given
        elif name == "stream" and given is True:
            message = "stream=true is not supported: poll the response, or follow its task by events or WebSocket"
            raise Problem(400, "unsupported_parameter", message, "stream")
        elif name in TOLERATED or name in UNSUPPORTED:
            if given is not None and not (name in TOLERATED and TOLERATED[name](given)):
                what = "this value of " if name in TOLERATED else ""
                raise Problem(400, "unsupported_parameter", f"{what}the parameter {name!r} is not supported", name)
        else:
            shown = name.encode("ascii", "replace").decode()[:64]
            raise Problem(400, "unknown_parameter", f"Unknown parameter: '{shown}'.", shown)
    return kept


def message_of(asked: ResponsesRequest) -> tuple[str, bool]:
    """Return the task's message and whether it is a message list as JSON.

    Raises:
        Problem: the input is empty, or holds what agents cannot read.
    """
    if isinstance(asked.input, str):
        if not asked.input:
            raise invalid("input must not be empty", "input")
        return asked.input, False
    return messages.as_json(messages.chat_messages(asked.input)), True
