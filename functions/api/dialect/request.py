"""A `POST /v1/responses` body, checked by name."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field

from functions.api.contract.problem import Problem
from functions.api.contract.requests import (
    MAX_COST_USD,
    MAX_OUTPUT_TOKENS,
    MAX_TIMEOUT_SECONDS,
    AgentName,
    Metadata,
    ModelName,
    Priority,
    PublicAddress,
    SessionId,
    Strict,
)
from functions.api.dialect.options import Sampling
from functions.api.door.body import check

INSTRUCTIONS_BYTES = 32 * 1024
"""Longest ``instructions``; they stay in the task's row. Longer ones can be sent as a system message of ``input``."""
TOOLS = 128
TOOLS_BYTES = 96 * 1024
"""Most tool definitions (OpenAI's own bound), and their JSON's size; they stay in the row, too, which DynamoDB bounds.

Programs that write code bring 20 to 40 KB of their own (qwen-code, Codex), and those of MCP servers beside.
"""
RESPONSE_ID_CHARACTERS = 80


def bounded_instructions(text: str | None) -> str | None:
    """Return instructions that are not too long.

    Raises:
        ValueError: they are.
    """
    if text is not None and len(text.encode()) > INSTRUCTIONS_BYTES:
        raise ValueError(f"must be at most {INSTRUCTIONS_BYTES} bytes")
    return text


class StreamOptions(Strict):
    """``stream_options``."""

    include_obfuscation: bool | None = None


class ConversationParam(Strict):
    """``conversation`` as an object."""

    id: Annotated[str, Field(max_length=RESPONSE_ID_CHARACTERS)]


class OpenAIRequest(Strict):
    """A request of OpenAI's, which `checked` reads."""

    unsupported: ClassVar[Mapping[str, str]] = {}
    """Further parameters that OpenAI has, and what there is instead."""


class Common(OpenAIRequest):
    """What both dialects' requests have in common, with additions of our own (the SDK's ``extra_body``)."""

    model: Annotated[ModelName | None, Field(description="The deployment's default when absent.")] = None
    metadata: Metadata | None = None
    tools: Annotated[list[dict[str, Any]] | None, Field(max_length=TOOLS, description="Functions only.")] = None
    user: Annotated[
        str | None, Field(max_length=512, description="With a trusted service's key: one of its own users.")
    ] = None

    agent: AgentName = "chat"
    priority: Priority | None = None
    timeout_s: Annotated[float | None, Field(gt=0, le=MAX_TIMEOUT_SECONDS, allow_inf_nan=False)] = None
    max_cost_usd: Annotated[float | None, Field(gt=0, le=MAX_COST_USD, allow_inf_nan=False)] = None
    webhook_url: PublicAddress | None = None


class ResponsesRequest(Sampling, Common):
    """What this API understands of OpenAI's request."""

    unsupported: ClassVar[Mapping[str, str]] = {
        "access_programs": "",
        "background_options": "",
        "context_management": "compact a conversation with POST /v1/responses/compact",
        "image": "",
        "moderation": "",
        "prompt": "prompts kept at OpenAI are not known here: send their text",
        "prompt_cache_options": "",
    }

    input: Annotated[
        str | list[dict[str, Any]] | None,
        Field(description="Text, or a list of messages, function calls and their outputs, and references to items."),
    ] = None
    background: Annotated[
        bool | None, Field(description="Answer at once; otherwise the answer is held until it is there.")
    ] = None
    stream: Annotated[
        bool | None, Field(description="Server-sent events as the response is written (the streaming address).")
    ] = None
    stream_options: Annotated[StreamOptions | None, Field(description="Obfuscation is always off.")] = None
    store: Annotated[bool | None, Field(description="false: kept for an hour at most.")] = None
    instructions: Annotated[
        str | None, AfterValidator(bounded_instructions), Field(description=f"At most {INSTRUCTIONS_BYTES} bytes.")
    ] = None
    previous_response_id: Annotated[str | None, Field(max_length=RESPONSE_ID_CHARACTERS)] = None
    conversation: Annotated[
        str | ConversationParam | None, Field(description="Its items come first; this turn is added to it.")
    ] = None
    max_output_tokens: Annotated[
        int | None, Field(ge=1, le=MAX_OUTPUT_TOKENS, description="Per model call; `OpenaiOutputTokens` when absent.")
    ] = None
    tool_choice: Annotated[str | dict[str, Any] | None, Field(description="auto, none, required or a function.")] = None
    client_metadata: Annotated[
        dict[str, Any] | None, Field(description="What Codex tells of itself; neither kept nor shown to the model.")
    ] = None

    session_id: SessionId | None = None


def checked[R: OpenAIRequest](model: type[R], value: dict[str, Any]) -> R:
    """Check decoded JSON against a request. Parameters that are null are left out, as if they were not given.

    Raises:
        Problem: one is unknown, asks for something that is not done here, or is not as it must be; it is named.
    """
    kept: dict[str, Any] = {}
    for name, given in value.items():
        if given is None:
            continue
        if name in model.model_fields:
            kept[name] = given
        elif name in model.unsupported:
            instead = f": {model.unsupported[name]}" if model.unsupported[name] else ""
            raise Problem(400, "unsupported_parameter", f"the parameter {name!r} is not supported{instead}", name)
        else:
            shown = name.encode("ascii", "replace").decode()[:64]
            raise Problem(400, "unknown_parameter", f"Unknown parameter: '{shown}'.", shown)
    return check(model, kept)
