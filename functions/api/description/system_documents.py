"""What answers about the whole system hold: operators' lists, limits, health. For tasks: `task_documents`."""

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


class WebhookOutcome(BaseModel):
    """What came of a task's webhook so far."""

    url: str
    status: Literal["pending", "waiting", "delivered", "given_up", "refused"]
    attempts: int
    last_status: int | None
    last_error: str | None
    at: str | None


class OperatorTaskView(TaskView):
    """A task as an operator sees it."""

    webhook: Annotated[WebhookOutcome | None, Field(description="null: it asked for none.")]

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


class OwnPriceView(BaseModel):
    """What one's own provider charges for a model, USD per million tokens."""

    input: float
    output: float
    cached: float | None = None


class OwnKey(BaseModel):
    """What may be seen of a key of one's own."""

    base_url: Annotated[str, Field(description="Empty: the deployment's provider.")]
    last4: str
    created_at: str
    prices: Annotated[dict[str, OwnPriceView] | None, Field(description="By model; `*` is every other one.")]
    requests_per_minute: int | None


class Credentials(BaseModel):
    """A caller's own key, or null."""

    credentials: OwnKey | None


class AlertTarget(BaseModel):
    """Where a caller is told of their budget."""

    webhook_url: str
    thresholds: Annotated[list[int], Field(description="At which it is told, percent of a day's budget.")]
    created_at: str


class AlertDelivery(BaseModel):
    """What came of telling."""

    status: Literal["pending", "waiting", "delivered", "given_up", "refused"]
    attempts: int
    last_status: int | None
    last_error: str | None
    at: str | None


class AlertTold(BaseModel):
    """A threshold that a day's use came to."""

    scope: Literal["user", "service"]
    day: str
    unit: Literal["tokens", "usd"]
    threshold: int
    limit: float
    used: float
    at: str
    delivery: Annotated[AlertDelivery | None, Field(description="null: there was no address to tell.")]


class Alerts(BaseModel):
    """A caller's address for alerts, or null."""

    alerts: AlertTarget | None
    recent: Annotated[
        list[AlertTold] | None, Field(description="With GET: what was noticed in the last week, newest first.")
    ] = None


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


class OwnersLane(BaseModel):
    """What an owner has of a lane."""

    running: int
    slots: Annotated[int | None, Field(description="How many runs the lane may have at once; null: not known.")]
    share: Annotated[float, Field(description="Part of the slots; where they are not known, of the runs under way.")]


class OwnerStats(BaseModel):
    """An owner (a user; of a trusted service's users, the service) and what it has under way."""

    owner: str
    running: int
    open: Annotated[int | None, Field(description="Tasks that have not ended; null: fewer than others have.")]
    lanes: dict[str, OwnersLane]


class LaneWaits(BaseModel):
    """How long tasks of a lane waited."""

    tasks: Annotated[int, Field(description="How many were looked at.")]
    median_s: float
    longest_s: float


class Stretch(BaseModel):
    """Tasks that were submitted in a stretch of time."""

    at: Annotated[int, Field(description="When it begins, epoch seconds.")]
    lanes: dict[str, LaneWaits]
    ended: Annotated[int, Field(description="How many of those looked at are complete or failed.")]
    failed: Annotated[dict[str, int], Field(description="Of these, by the code of the failure.")]


class PastHours(BaseModel):
    """How tasks of the last hours fared, the oldest first."""

    hours: int
    stretches: list[Stretch]


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
    owners: Annotated[list[OwnerStats] | None, Field(description="Who has the most runs under way; at most 20.")]
    history: Annotated[
        list[dict[str, Any]] | None,
        Field(description="With `history=1`: the lanes at each minute of the last hour, as the scaler saw them."),
    ] = None
