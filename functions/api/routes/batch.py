"""Submit up to a hundred messages in one request."""

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from starlette.requests import Request
from starlette.responses import JSONResponse

from functions.api.contract.problem import Problem, invalid
from functions.api.contract.requests import IDEMPOTENCY_KEY_CHARACTERS, AgentRequest
from functions.api.description.note import described
from functions.api.door.body import LargeBody, check, parse
from functions.api.door.identity import AnyCaller, Caller
from functions.api.routes.agent import IdempotencyKey
from functions.api.submit.batch import MOST_RUNS, Run, each, whole
from functions.api.submit.repeats import idempotency_of
from functions.api.submit.submission import Receipt, wanted_of

router = APIRouter(prefix="/agent", tags=["tasks"])

OF_ONE = ("Location", "Idempotent-Replayed", "Retry-After")
"""Headers that speak of a single run."""


class BatchRun(AgentRequest):
    """One run of a batch: what `POST /agent` takes, and its key."""

    idempotency_key: Annotated[
        Annotated[str, StringConstraints(min_length=1, max_length=IDEMPOTENCY_KEY_CHARACTERS, pattern=r"^[ -~]+$")]
        | None,
        Field(description="Makes a repeat of this run safe for a day, here or at `POST /agent`."),
    ] = None


class _Outer(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    runs: Annotated[list[Any], Field(min_length=1, max_length=MOST_RUNS)]
    all: bool = False


class BatchRequest(BaseModel):
    """Runs, in the order in which they are taken on."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    runs: Annotated[list[BatchRun], Field(min_length=1, max_length=MOST_RUNS)]
    all: Annotated[bool, Field(description="true: all of them or none; else each by itself.")] = False


@router.post("/batch", status_code=202, summary="Submit many messages")
@described(
    "BatchTaken",
    *(401, 402, 403, 409, 413, 422, 429),
    also={
        200: {"model": "BatchTaken", "description": "Some were refused; each says what became of it."},
        202: {"description": "All were taken on."},
    },
    takes=BatchRequest,
    example={"runs": [{"message": "What is 17 * 23?", "agent": "tools"}, {"message": "Hello!"}], "all": True},
)
def post_batch(
    request: Request,
    caller: AnyCaller,
    body: LargeBody,
    idempotency_key: IdempotencyKey = None,
) -> JSONResponse:
    """Take messages on, each by itself or all of them or none. With an `Idempotency-Key` every run has one of it."""
    asked = parse(_Outer, body, request.headers.get("content-type"))
    runs = [partial(_run, caller, value, idempotency_key, number) for number, value in enumerate(asked.runs)]
    trace = request.state.trace
    found: list[Receipt | Problem] = [*whole(runs, trace)] if asked.all else each(runs, trace)
    headers: dict[str, str] = {}
    for one in found:
        headers |= {name: value for name, value in one.headers.items() if name not in OF_ONE}
    accepted = sum(isinstance(one, Receipt) for one in found)
    content = {"runs": [_shown(one) for one in found], "accepted": accepted, "refused": len(found) - accepted}
    return JSONResponse(content, 202 if accepted == len(found) else 200, headers)


def _run(caller: Caller, value: Any, key: str | None, number: int) -> Run:
    if not isinstance(value, dict):
        raise invalid("a run is a JSON object")
    asked = check(BatchRun, value)
    own = asked.idempotency_key or (f"{key}#{number}" if key is not None else None)
    same = asked.model_dump(exclude_unset=True, exclude={"idempotency_key"})
    return Run(caller.acting_for(asked.user_id), wanted_of(asked), idempotency_of(own, same, place="agent"))


def _shown(one: Receipt | Problem) -> dict[str, Any]:
    if isinstance(one, Receipt):
        shown: dict[str, Any] = {"status_code": 202, "task_id": one.task.task_id, "status": str(one.task.status)}
        return shown | ({"replayed": True} if one.repeat else {})
    shown = {"status_code": one.status, **one.body()}
    if "Retry-After" in one.headers:
        shown["retry_after_s"] = int(one.headers["Retry-After"])
    return shown
