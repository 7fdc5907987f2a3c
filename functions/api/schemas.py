"""What requests may hold and what answers hold; every limit is a named constant."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from shared.netguard import URL_CHARACTERS as WEBHOOK_CHARACTERS
from shared.netguard import Forbidden
from shared.webhooks import check_target

MESSAGE_BYTES = 256 * 1024
"""Largest message, in bytes of UTF-8 (a tier may allow less)."""
SESSION_CHARACTERS = 128
USER_ID_CHARACTERS = 64
NAME_CHARACTERS = 128
"""Longest name of a model."""
METADATA_PAIRS = 16
METADATA_KEY_CHARACTERS = 64
METADATA_VALUE_CHARACTERS = 512
MAX_OUTPUT_TOKENS = 128_000
"""Most output tokens that a request may allow each model call."""
DEFAULT_OUTPUT_TOKENS = 1024
"""Output tokens that each model call may have when a request says nothing."""
MAX_TIMEOUT_SECONDS = 86_400
"""Longest ``timeout_s``: a day."""
MAX_COST_USD = 10_000
IDEMPOTENCY_KEY_CHARACTERS = 255
PAGE_TASKS = 100
"""Most tasks of one page of ``GET /agent``."""
MAX_WAIT_SECONDS = 25
"""Longest ``wait``; an HTTP API of API Gateway gives up after 30 s."""
MAX_SEQ = 99_999_999
"""Largest event number."""

SessionId = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9._:@~-]+$", min_length=1, max_length=SESSION_CHARACTERS)
]
UserId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:@~-]+$", min_length=1, max_length=USER_ID_CHARACTERS)]
AgentName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", min_length=1, max_length=64)]
ModelName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:/-]+$", min_length=1, max_length=NAME_CHARACTERS)]
MetadataKey = Annotated[str, StringConstraints(min_length=1, max_length=METADATA_KEY_CHARACTERS)]
MetadataValue = Annotated[str, StringConstraints(max_length=METADATA_VALUE_CHARACTERS)]
Metadata = Annotated[dict[MetadataKey, MetadataValue], Field(max_length=METADATA_PAIRS)]
Priority = Literal["high", "normal"]
StatusName = Literal["queued", "processing", "complete", "failed", "cancelled"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class AgentRequest(_Strict):
    """A message for an agent."""

    message: Annotated[str, Field(min_length=1, description=f"The text; at most {MESSAGE_BYTES} bytes of UTF-8.")]
    session_id: Annotated[SessionId, Field(description="Conversation whose earlier turns the agent sees.")] = "default"
    agent: Annotated[AgentName, Field(description="Which agent runs.")] = "chat"
    model: Annotated[ModelName | None, Field(description="Model; the deployment's default when absent.")] = None
    priority: Annotated[Priority | None, Field(description="Lane; the tier's own when absent, 403 above the tier.")] = (
        None
    )
    max_output_tokens: Annotated[
        int | None,
        Field(ge=1, le=MAX_OUTPUT_TOKENS, description=f"Per model call; {DEFAULT_OUTPUT_TOKENS} when absent."),
    ] = None
    timeout_s: Annotated[
        float | None,
        Field(
            gt=0,
            le=MAX_TIMEOUT_SECONDS,
            allow_inf_nan=False,
            description="The run fails when not done so many seconds after submission.",
        ),
    ] = None
    max_cost_usd: Annotated[
        float | None,
        Field(
            gt=0,
            le=MAX_COST_USD,
            allow_inf_nan=False,
            description="The run fails before a call that could pass it.",
        ),
    ] = None
    metadata: Annotated[Metadata | None, Field(description="Yours; shown in the result.")] = None
    webhook_url: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=WEBHOOK_CHARACTERS,
            description="https address told when the task has ended.",
        ),
    ] = None
    user_id: Annotated[
        UserId | None, Field(description="User of a trusted service's own; not regarded with any other key.")
    ] = None

    @field_validator("webhook_url")
    @classmethod
    def _public_address(cls, url: str | None) -> str | None:
        return None if url is None else checked_webhook_url(url)


def checked_webhook_url(url: str) -> str:
    """Refuse what can be no public https address. Delivery checks again, on the address that the name then has.

    Raises:
        ValueError: says what is wrong with it.
    """
    if not url.isascii():
        raise ValueError("an international name must be given in its ASCII form")
    try:
        check_target(url)
    except Forbidden as error:
        raise ValueError(error.message) from error
    return url


class ErrorInfo(BaseModel):
    """What went wrong."""

    code: Annotated[str, Field(description="Stable word for programs.")]
    message: Annotated[str, Field(description="Sentence for people.")]
    type: Annotated[str, Field(description="Kind of error, by status.")]
    param: Annotated[str | None, Field(description="The input to blame.")] = None
    limit: Annotated[str | None, Field(description="The limit that refused.")] = None


class ErrorBody(BaseModel):
    """Body of every answer other than success."""

    error: ErrorInfo


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
    """OpenAI's response object."""

    id: str
    object: Literal["response"]
    created_at: int
    completed_at: int | None
    status: Literal["queued", "in_progress", "completed", "failed", "cancelled"]
    background: bool
    error: dict[str, Any] | None
    incomplete_details: dict[str, Any] | None
    instructions: str | None
    max_output_tokens: int | None
    metadata: dict[str, str]
    model: str
    output: list[dict[str, Any]]
    parallel_tool_calls: bool
    previous_response_id: str | None
    service_tier: str
    store: bool
    temperature: float
    text: dict[str, Any]
    tool_choice: str | dict[str, Any]
    tools: list[dict[str, Any]]
    top_p: float
    truncation: str
    usage: dict[str, Any] | None


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


class Accepted(BaseModel):
    """A task was taken on."""

    task_id: str
    status: StatusName


class Usage(BaseModel):
    """What a run used."""

    input_tokens: int
    output_tokens: int
    total_tokens: int
    cost_usd: float
    model_calls: int


class Result(BaseModel):
    """What a complete task answered."""

    response: str
    tokens: int
    session_id: str
    data: dict[str, Any] | None = None


class QueueHint(BaseModel):
    """Roughly where a queued task stands."""

    ahead: Annotated[int, Field(description="About how many tasks its lane holds besides it.")]
    starts_in_s: Annotated[
        float | None,
        Field(description="About how many seconds until it starts, by what others waited lately."),
    ] = None


class TaskView(BaseModel):
    """A task as its owner sees it."""

    task_id: str
    status: StatusName
    agent: str
    model: str
    lane: str
    session_id: str
    created_at: str
    attempts: int
    started_at: str | None = None
    ended_at: str | None = None
    next_try_at: Annotated[str | None, Field(description="When a waiting or deferred task is tried again.")] = None
    reason: Annotated[str | None, Field(description="Why it waits.")] = None
    metadata: dict[str, str] | None = None
    cancel_requested: bool | None = None
    last_error: dict[str, Any] | None = None
    queue: QueueHint | None = None
    result: Result | None = None
    usage: Usage | None = None
    error: Annotated[dict[str, Any] | None, Field(description="Why it failed.")] = None


class TaskSummary(BaseModel):
    """A task in a list."""

    task_id: str
    status: StatusName
    agent: str
    model: str
    lane: str
    session_id: str
    created_at: str
    started_at: str | None = None
    ended_at: str | None = None
    next_try_at: str | None = None
    reason: str | None = None


class TaskList(BaseModel):
    """A page of tasks, newest first."""

    tasks: list[TaskSummary]
    next_cursor: Annotated[str | None, Field(description="Give it as ``cursor`` for the next page; null at the end.")]


class EventView(BaseModel):
    """Something that happened in a run."""

    seq: int
    type: str
    at: str
    data: dict[str, Any]


class EventPage(BaseModel):
    """Events after a number."""

    events: list[EventView]
    last_seq: int
    status: StatusName


class TurnView(BaseModel):
    """One exchange of a conversation."""

    task_id: str
    at: str
    user: str
    assistant: str


class SessionView(BaseModel):
    """A conversation's memory, oldest turn first."""

    session_id: str
    turns: list[TurnView]


class SessionDeleted(BaseModel):
    """A conversation was forgotten."""

    session_id: str
    deleted_turns: int


class Ticket(BaseModel):
    """A ticket for one WebSocket connection."""

    ticket: str
    url: Annotated[str, Field(description="Connect to it with `?ticket=`.")]
    expires_in_s: int


class LimitRow(BaseModel):
    """One limit; ``limit`` and ``left`` are null where there is none, others when not known right now."""

    limit: float | None
    used: float | None
    left: float | None
    reset_s: float | None
    reserved: float | None = None
    window_s: float | None = None


class LimitsView(BaseModel):
    """A caller's limits."""

    user: str
    tier: str
    lanes: list[str]
    agents: list[str]
    models: list[str]
    message_bytes: int
    limits: dict[str, LimitRow]


class Erased(BaseModel):
    """What was erased; repeat the call while ``more`` is true."""

    tasks: int
    sessions: int
    items: int
    cancelled: int
    more: bool


class Dependency(BaseModel):
    """One dependency."""

    status: Literal["ok", "down", "none"]
    latency_ms: float | None = None


class Health(BaseModel):
    """Whether the API can serve."""

    status: Literal["ok", "degraded", "down"]
    version: str
    dependencies: dict[str, Dependency]
    breakers: dict[str, Any]


class LaneStats(BaseModel):
    """One lane; null where it cannot be read."""

    visible: int | None
    in_flight: int | None
    delayed: int | None
    target_replicas: int | None
    recent_wait_s: float | None


class Stats(BaseModel):
    """The system's state; a part that cannot be read is null."""

    at: str
    lanes: dict[str, LaneStats]
    open_tasks: int | None
    scaler: dict[str, Any] | None
    replicas: dict[str, int]
    runs_per_environment: int
    breakers: dict[str, Any]
    provider: dict[str, Any]
    refusals: list[dict[str, Any]] | None
    spend: dict[str, Any] | None
    dependencies: dict[str, Dependency]
