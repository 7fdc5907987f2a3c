"""What answers of the OpenAI dialect hold."""

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


class OpenAIPage(BaseModel):
    """A page of OpenAI's."""

    object: Literal["list"]
    data: list[Any]
    first_id: str | None
    last_id: str | None
    has_more: bool


class ItemList(OpenAIPage):
    """A page of items."""

    data: list[dict[str, Any]]


class Deleted(BaseModel):
    """Something was deleted."""

    id: str
    object: str
    deleted: Literal[True]


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


class StoredCompletion(ChatCompletion):
    """A chat completion that was stored, with what it was asked with."""

    metadata: dict[str, str]
    request_id: Annotated[str, Field(description="The task's id.")]
    tool_choice: str | dict[str, Any] | None
    tools: list[dict[str, Any]] | None
    temperature: float | None
    top_p: float | None
    presence_penalty: float | None
    frequency_penalty: float | None
    seed: int | None
    response_format: dict[str, Any] | None


class StoredCompletions(OpenAIPage):
    """A page of stored completions."""

    data: list[StoredCompletion]


class CompletionDeleted(Deleted):
    """A chat completion was deleted."""

    object: Literal["chat.completion.deleted"]


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


class ResponseDeleted(Deleted):
    """A response was deleted."""

    object: Literal["response"]


class ItemView(BaseModel):
    """An item: a message, a call, an output; its fields go by its type."""

    id: str
    type: str


class InputTokens(BaseModel):
    """How many tokens an input has, about."""

    object: Literal["response.input_tokens"]
    input_tokens: int


class ConversationView(BaseModel):
    """A conversation."""

    id: str
    object: Literal["conversation"]
    created_at: int
    metadata: dict[str, str]


class ConversationDeleted(Deleted):
    """A conversation was deleted."""

    object: Literal["conversation.deleted"]


class Compaction(BaseModel):
    """A conversation summed up."""

    id: str
    object: Literal["response.compaction"]
    created_at: int
    output: list[dict[str, Any]]
    usage: dict[str, Any]
