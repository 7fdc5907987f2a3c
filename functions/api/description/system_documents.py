"""What answers about the whole system hold: operators' lists, limits, health. For tasks: `task_documents`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from functions.api.description.task_documents import TaskSummary, TaskView


class OperatorTaskSummary(TaskSummary):
    """A task in an operator's list."""

    user: str
    key_id: str | None
    parked: bool
    input_tokens: int
    output_tokens: int


class OperatorTaskList(BaseModel):
    """A page of everybody's tasks, newest first."""

    tasks: list[OperatorTaskSummary]
    next_cursor: Annotated[str | None, Field(description="Give it as ``cursor`` for the next page; null at the end.")]


class OperatorTaskView(TaskView):
    """A task as an operator sees it."""

    user: str
    key_id: str | None
    tier: str
    message: Annotated[str | None, Field(description="What was asked; null where it is too large for an answer.")]
    message_bytes: Annotated[int | None, Field(description="Size of a message that is fetched by address.")] = None
    message_url: Annotated[str | None, Field(description="Its address for a while; it needs no key.")] = None


class AuditAct(BaseModel):
    """What an operator did."""

    at: str
    operator: str
    key_id: str
    what: str
    task_id: str
    user: str


class AuditPage(BaseModel):
    """What operators did on a day, newest first."""

    acts: list[AuditAct]
    next_cursor: str | None


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


class OwnKey(BaseModel):
    """What may be seen of a key of one's own."""

    base_url: Annotated[str, Field(description="Empty: the deployment's provider.")]
    last4: str
    created_at: str


class Credentials(BaseModel):
    """A caller's own key, or null."""

    credentials: OwnKey | None


class AlertTarget(BaseModel):
    """Where a caller is told of their budget."""

    webhook_url: str
    created_at: str


class Alerts(BaseModel):
    """A caller's address for alerts, or null."""

    alerts: AlertTarget | None


class CostGroup(BaseModel):
    """What one group cost; it has one of the first five names, by what was asked for."""

    day: str | None = None
    user: str | None = None
    agent: str | None = None
    model: str | None = None
    key: Annotated[str | None, Field(description="Id of an API key, as `make key ARGS=list` shows it.")] = None
    cost_usd: float
    tokens: int
    runs: Annotated[int, Field(description="Runs that ended and used anything, on the day of their last call.")]


class CostTotal(BaseModel):
    """What all groups cost together, those of other pages too."""

    cost_usd: float
    tokens: int
    runs: int


class Costs(BaseModel):
    """A page of what runs cost."""

    model_config = ConfigDict(populate_by_name=True)

    by: Literal["day", "user", "agent", "model", "key"]
    first: Annotated[str, Field(alias="from")]
    last: Annotated[str, Field(alias="to")]
    total: CostTotal
    groups: Annotated[list[CostGroup], Field(description="Days in their order; others the dearest first.")]
    next_cursor: Annotated[int | None, Field(description="Give it as `cursor` for the next page; null at the end.")]


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
    paused: bool | None


class DeadLetters(BaseModel):
    """Tasks that failed as dead letters, and were not run again."""

    count: int
    more: Annotated[bool, Field(description="There are more than `count`.")]


class Stats(BaseModel):
    """The system's state; a part that cannot be read is null."""

    at: str
    lanes: dict[str, LaneStats]
    open_tasks: int | None
    scaler: dict[str, Any] | None
    replicas: dict[str, int]
    runs_per_environment: int
    breakers: dict[str, Any]
    owner_breakers: list[dict[str, Any]]
    """Owners whose calls of a model are stopped, while others' go on."""
    provider: dict[str, Any]
    refusals: list[dict[str, Any]] | None
    spend: dict[str, Any] | None
    dependencies: dict[str, Dependency]
    dead_letters: DeadLetters | None
    history: Annotated[
        list[dict[str, Any]] | None,
        Field(description="With `history=1`: the lanes at each minute of the last hour, as the scaler saw them."),
    ] = None
