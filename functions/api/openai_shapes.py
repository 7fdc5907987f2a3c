"""What answers of the OpenAI dialect hold; see `shapes`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field


class OpenAIErrorInfo(BaseModel):
    """What went wrong, in OpenAI's words."""

    message: str
    type: str
    param: str | None
    code: str | None
    limit: Annotated[str | None, Field(description="The limit that refused.")] = None


class OpenAIErrorBody(BaseModel):
    """Body of every answer of the OpenAI dialect other than success."""

    error: OpenAIErrorInfo


class ResponseView(BaseModel):
    """OpenAI's response object, as the Open Responses document of 2026-04-24 has it."""

    id: str
    object: Literal["response"]
    created_at: int
    completed_at: int | None
    status: Literal["queued", "in_progress", "completed", "incomplete", "failed", "cancelled"]
    background: bool
    conversation: dict[str, str] | None
    error: dict[str, Any] | None
    incomplete_details: dict[str, Any] | None
    instructions: str | None
    max_output_tokens: int | None
    max_tool_calls: int | None
    metadata: dict[str, str]
    model: str
    output: list[dict[str, Any]]
    parallel_tool_calls: bool
    previous_response_id: str | None
    prompt_cache_key: str | None
    reasoning: dict[str, Any]
    safety_identifier: str | None
    service_tier: str
    store: bool
    temperature: float
    presence_penalty: float
    frequency_penalty: float
    text: dict[str, Any]
    tool_choice: str | dict[str, Any]
    tools: list[dict[str, Any]]
    top_logprobs: int
    top_p: float
    truncation: str
    usage: dict[str, Any] | None
    user: str | None


class ChatCompletion(BaseModel):
    """OpenAI's chat completion."""

    id: Annotated[str, Field(description="`chatcmpl-` and the task's id.")]
    object: Literal["chat.completion"]
    created: int
    model: str
    service_tier: str
    system_fingerprint: None
    choices: list[dict[str, Any]]
    usage: dict[str, Any]


class ModelView(BaseModel):
    """A model that may be asked for."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelList(BaseModel):
    """Models that may be asked for."""

    object: Literal["list"]
    data: list[ModelView]
