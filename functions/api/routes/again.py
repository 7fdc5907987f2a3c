"""What follows a run's end: running it again, going on from one of its steps, deleting it."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from starlette.requests import Request
from starlette.responses import JSONResponse

from functions.api.contract.problem import Problem
from functions.api.contract.requests import MESSAGE_BYTES, ModelName
from functions.api.description.note import TAKEN_ON, described
from functions.api.door.body import RawBody, parse
from functions.api.door.identity import AnyCaller, Subject, own_task
from functions.api.read import accepted
from functions.api.routes.agent import IdempotencyKey
from functions.api.submit.repeats import idempotency_of
from shared.tasks.ids import MAX_SEQ

router = APIRouter(prefix="/agent", tags=["tasks"])

STEP_NAME_CHARACTERS = 64
StepName = Annotated[str, StringConstraints(min_length=1, max_length=STEP_NAME_CHARACTERS)]


class StepUse(BaseModel):
    """One use of a step's name."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    name: StepName
    n: Annotated[int, Field(ge=1, le=MAX_SEQ, description="Which use of the name, from 1.")]


class ForkRequest(BaseModel):
    """Where to go on from, and with what."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    after: Annotated[
        Annotated[int, Field(ge=0, le=MAX_SEQ)] | StepName | StepUse,
        Field(description="The last step to keep: its name (its last use), its name and use, or an event's number."),
    ]
    message: Annotated[
        str | None,
        Field(
            min_length=1,
            description=f"The text in place of the first one's; at most {MESSAGE_BYTES} bytes of UTF-8.",
        ),
    ] = None
    model: Annotated[ModelName | None, Field(description="Model in place of the first one's.")] = None


@router.post("/{task_id}/retry", status_code=202, summary="Run a task again")
@described("Accepted", 401, 402, 403, 404, 409, 413, 422, 429, also=TAKEN_ON)
def retry_agent(
    request: Request,
    caller: Subject,
    task_id: str,
    idempotency_key: IdempotencyKey = None,
) -> JSONResponse:
    """Submit an ended task's message once more, with its agent, model and parameters, as a new task."""
    from functions.api.control import again  # here: most requests do without it

    task = own_task(caller, task_id)
    idempotency = idempotency_of(idempotency_key, {}, place=f"retry {task_id}")
    return accepted.taken_on(request, again.retry(caller, task, idempotency=idempotency, trace=request.state.trace))


@router.post("/{task_id}/fork", status_code=202, summary="Go on from a step of a task")
@described(
    "Accepted",
    *(401, 402, 403, 404, 409, 413, 422, 429),
    also=TAKEN_ON,
    takes=ForkRequest,
    example={"after": "plan", "model": "gpt-4o-mini"},
)
def fork_agent(
    request: Request,
    caller: AnyCaller,
    task_id: str,
    body: RawBody,
    idempotency_key: IdempotencyKey = None,
) -> JSONResponse:
    """Begin a new task with the first steps of an ended one, which are not paid for again."""
    from functions.api.control import again  # here: most requests do without it

    asked = parse(ForkRequest, body, request.headers.get("content-type"))
    task = own_task(caller, task_id)
    receipt = again.fork(
        caller,
        task,
        after=_place(asked.after),
        message=asked.message,
        model=asked.model,
        idempotency=idempotency_of(idempotency_key, asked.model_dump(exclude_unset=True), place=f"fork {task_id}"),
        trace=request.state.trace,
    )
    return accepted.taken_on(request, receipt)


@router.delete("/{task_id}", summary="Delete a task")
@described("TaskDeleted", 401, 403, 404, 409, 422)
def delete_agent(
    caller: Subject,
    task_id: str,
    keep_turn: Annotated[
        bool, Query(description="Leave what its conversation remembers of it: the question and the answer.")
    ] = False,
) -> JSONResponse:
    """Delete a task that has ended, with its steps, events, large values and its turn of a conversation."""
    from functions.api.dialect import forget  # here: most requests do without it

    task = own_task(caller, task_id)
    if not task.status.terminal:
        raise Problem(409, "not_ended", f"the task is {task.status}: cancel it first", "task_id")
    forget.forget(task, keep_turn=keep_turn)
    return JSONResponse({"task_id": task_id, "deleted": True})


def _place(after: int | str | StepUse) -> int | tuple[str, int | None]:
    if isinstance(after, int):
        return after
    if isinstance(after, str):
        return after, None
    return after.name, after.n
