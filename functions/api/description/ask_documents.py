"""What answers hold about what a task is told and what it asks: signals and approvals."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from functions.api.contract.requests import StatusName


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
