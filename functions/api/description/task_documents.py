"""What answers about tasks and their events hold, and every error; tests hold answers against it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from functions.api.contract.requests import StatusName


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


class Accepted(BaseModel):
    """A task was taken on."""

    task_id: str
    status: StatusName


class BatchItem(BaseModel):
    """What became of one run of a batch."""

    status_code: Annotated[int, Field(description="What `POST /agent` would have answered: 202, or an error's.")]
    task_id: str | None = None
    status: StatusName | None = None
    replayed: Annotated[bool | None, Field(description="A repeat: the task was there before.")] = None
    error: ErrorInfo | None = None
    retry_after_s: Annotated[int | None, Field(description="Come back after so many seconds.")] = None


class BatchTaken(BaseModel):
    """What became of a batch."""

    runs: Annotated[list[BatchItem], Field(description="In the order of the request.")]
    accepted: int
    refused: int


class TaskDeleted(BaseModel):
    """A task is gone."""

    task_id: str
    deleted: Literal[True]


class Usage(BaseModel):
    """What a run used."""

    input_tokens: int
    output_tokens: int
    total_tokens: int
    cost_usd: float
    model_calls: int


class ResultData(BaseModel):
    """What an agent returned besides its text; each has fields of its own."""

    model_config = ConfigDict(extra="allow")

    finish_reason: Annotated[
        str | None, Field(description="`length` when `max_output_tokens` cut the reply; else absent.")
    ] = None
    tool_calls: Annotated[
        list[dict[str, Any]] | None, Field(description="Calls of the client's own tools: `id`, `name`, `arguments`.")
    ] = None


class Result(BaseModel):
    """What a complete task answered."""

    response: Annotated[str | None, Field(description="null where it is too large for an answer: see `response_url`.")]
    tokens: int
    session_id: str | None
    data: ResultData | None = None
    response_bytes: Annotated[int | None, Field(description="Size of a response that is fetched by address.")] = None
    response_url: Annotated[str | None, Field(description="Its address for a while; it needs no key.")] = None
    data_url: Annotated[str | None, Field(description="Their address.")] = None


class QueueHint(BaseModel):
    """Roughly where a queued task stands."""

    ahead: Annotated[int, Field(description="About how many tasks its lane holds besides it.")]
    starts_in_s: Annotated[
        float | None,
        Field(description="About how many seconds until it starts, by what others waited lately."),
    ] = None


class WaitView(BaseModel):
    """Something that a task waits for; each kind has fields of its own."""

    model_config = ConfigDict(extra="allow")

    kind: Annotated[str, Field(description="`sleep`, `signal`, `approval` or `children`.")]
    name: str
    since: str | None = None
    until: Annotated[str | None, Field(description="When the task goes on without it.")] = None


class TreeNode(BaseModel):
    """One run of a tree."""

    task_id: str
    status: StatusName
    agent: str
    cost_usd: float
    step: Annotated[str | None, Field(description="The step of its parent that started it.")] = None
    error: dict[str, Any] | None = None
    children: list[TreeNode] | None = None


class Tree(BaseModel):
    """A run with all the runs below it."""

    root: TreeNode
    runs: int
    cost_usd: Annotated[float, Field(description="What all of them have cost so far.")]
    more: Annotated[bool, Field(description="Whether some are left out.")]


class TaskView(BaseModel):
    """A task as its owner sees it."""

    task_id: str
    status: StatusName
    agent: str
    model: str
    lane: Annotated[str, Field(description="Where it is now; event 1 tells the lane of its submission.")]
    session_id: str | None
    created_at: str
    message: Annotated[str | None, Field(description="How the message begins.")] = None
    attempts: int
    started_at: str | None = None
    ended_at: str | None = None
    next_try_at: Annotated[str | None, Field(description="When a waiting or deferred task is tried again.")] = None
    reason: Annotated[str | None, Field(description="Why it is still queued.")] = None
    waiting_for: Annotated[list[WaitView] | None, Field(description="What a `waiting` task waits for.")] = None
    retry_of: Annotated[str | None, Field(description="The task that this one repeats.")] = None
    fork_of: Annotated[str | None, Field(description="The task whose first steps this one began with.")] = None
    parent: Annotated[str | None, Field(description="The task whose run started this one.")] = None
    children: Annotated[int | None, Field(description="How many runs it started.")] = None
    batch_id: Annotated[str | None, Field(description="The batch that it is a line of.")] = None
    batch_line: Annotated[int | None, Field(description="Which one, from 0.")] = None
    tree: Annotated[Tree | None, Field(description="With `tree=1`: the runs below it.")] = None
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
    session_id: str | None
    parent: Annotated[str | None, Field(description="The task that started it, if one did.")] = None
    created_at: str
    started_at: str | None = None
    ended_at: str | None = None
    next_try_at: str | None = None
    reason: str | None = None
    waiting_for: list[WaitView] | None = None
    message: Annotated[str | None, Field(description="How the message begins.")] = None
    error: dict[str, Any] | None = None
    last_error: dict[str, Any] | None = None
    cost_usd: float = 0.0


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


class StreamedEvent(EventView):
    """The data of one message of a task's stream."""

    partial: Annotated[bool, Field(description="Text of an event that is not whole yet; more of it follows.")] = False


class EventPage(BaseModel):
    """Events after a number."""

    events: list[EventView]
    last_seq: int
    status: Annotated[StatusName, Field(description="As of the page's last event.")]
    has_more: Annotated[bool | None, Field(description="The page is full: ask for what comes after `last_seq`.")] = None


class SignalTaken(BaseModel):
    """A signal was kept for its task."""

    task_id: str
    status: StatusName
    name: str
    signal: Annotated[str, Field(description="The signal's id within its task.")]


class BudgetAsked(BaseModel):
    """A ceiling that stands in a task's way: in USD or tokens, as ``unit`` says."""

    limit: Annotated[str, Field(description="`max_cost_usd`, or a budget of the day, as `usd_per_day`.")]
    unit: Literal["usd", "tokens"]
    raised_by: Annotated[Literal["owner", "operator"], Field(description="Whose answer may raise it.")]
    ceiling: Annotated[float | None, Field(description="What it is now; null where it is not the task's to know.")]
    next: Annotated[float | None, Field(description="What the next call may use at worst; null when not known.")]


class ApprovalView(BaseModel):
    """A call, or more budget, that a task waits to be allowed."""

    task_id: str
    agent: str
    session_id: str | None
    kind: Literal["approval"]
    name: str
    tool: Annotated[str | None, Field(description="The tool that is to be called; absent of a budget.")] = None
    arguments: Annotated[
        dict[str, Any] | None, Field(description="The call's arguments; null in a list whose answer cannot hold them.")
    ] = None
    arguments_bytes: Annotated[
        int, Field(description="Size of arguments that are null; fetch the approval itself.")
    ] = 0
    budget: BudgetAsked | None = None
    fingerprint: Annotated[
        str, Field(description="Of tool and arguments, or of the question: an answer is for this very one.")
    ]
    editable: Annotated[bool, Field(description="Whether an answer may change the arguments.")]
    cost_usd: Annotated[float, Field(description="What the run had cost when it asked.")]
    since: str
    until: str


class ApprovalList(BaseModel):
    """Pending approvals, newest task first."""

    approvals: list[ApprovalView]
    next_cursor: Annotated[str | None, Field(description="Give it as ``cursor`` for the next page; null at the end.")]
