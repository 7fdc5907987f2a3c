"""Everybody's tasks, for operators: search, and what an operator may do to one. What is done is written down first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import JSONResponse

from functions.api.contract.problem import Problem, invalid
from functions.api.contract.requests import PAGE_TASKS, ApprovalAnswer, SessionId, StatusName
from functions.api.control import cancel, deliveries
from functions.api.description.note import described
from functions.api.door.body import RawBody, parse
from functions.api.door.identity import Operator
from functions.api.read import accepted, show
from functions.api.routes.agent import IdempotencyKey
from functions.api.submit.repeats import idempotency_of
from functions.api.system import times
from shared import wire
from shared.clock import day as day_of
from shared.clock import iso, now
from shared.errors import NotFound
from shared.settings import settings
from shared.tasks import audit, events, lanes, store
from shared.tasks.ids import MAX_SEQ, well_formed
from shared.tasks.model import Status, Task

if TYPE_CHECKING:
    from shared.tasks.search import Wanted

router = APIRouter(prefix="/operator", tags=["operation"])

Cursor = Annotated[str | None, Query(max_length=2048, description="From `next_cursor`.")]
Limit = Annotated[int, Query(ge=1, le=PAGE_TASKS)]
Word = Annotated[str | None, Query(min_length=1, max_length=200)]
Time = Annotated[str | None, Query(max_length=40, description="ISO 8601, UTC where it names no zone.")]
TaskId = Annotated[str, Path(max_length=64)]


@router.get("/tasks", summary="Search everybody's tasks")
@described("OperatorTaskList", 401, 403, 422)
def search_tasks(
    _: Operator,
    limit: Limit = 20,
    cursor: Cursor = None,
    user: Word = None,
    status: Annotated[StatusName | None, Query()] = None,
    agent: Word = None,
    model: Word = None,
    lane: Word = None,
    error: Annotated[str | None, Query(min_length=1, max_length=200, description="Code of the (last) failure.")] = None,
    session_id: Annotated[SessionId | None, Query()] = None,
    text: Annotated[str | None, Query(min_length=1, max_length=200, description="Part of how messages begin.")] = None,
    since: Time = None,
    until: Time = None,
    tree: Annotated[
        str | None, Query(max_length=64, description="Only this task and those that it and its like started.")
    ] = None,
) -> JSONResponse:
    """Return tasks, newest first. A page looks at so many tasks at most: it may be short and still have a cursor."""
    from shared.tasks.search import Wanted, search  # here: few environments are ever asked

    earliest, latest = _between(since, until)
    wanted = Wanted(
        since=earliest,
        until=latest,
        user=user,
        status=status,
        agent=agent,
        model=model,
        lane=lane,
        error=error,
        session_id=session_id,
        text=text,
    )
    if tree is None:
        found, more = search(wanted, limit=limit, cursor=cursor)
    else:
        found, more = _of_tree(_task(tree), wanted, limit=limit, cursor=cursor)
    return JSONResponse({"tasks": [show.operators_summary(one) for one in found], "next_cursor": more})


@router.get("/tasks/{task_id}", summary="Look at anybody's task")
@described("OperatorTaskView", 401, 403, 404, 422)
def get_task(
    _: Operator,
    task_id: TaskId,
    tree: Annotated[bool, Query(description="Show the runs that it started, and theirs.")] = False,
) -> JSONResponse:
    """Return a task as its owner sees it, with whose it is and what was asked."""
    task = _task(task_id)
    shown = show.full(task) | {"user": task.user, "key_id": task.key_id or None, "tier": task.tier}
    shown["webhook"] = deliveries.shown(task)
    shown |= show.message(task, most=wire.left(shown) // 2)
    if tree:
        from functions.api.read import tree as trees  # here: most requests do without it

        shown["tree"] = trees.of(task, most_bytes=wire.left(shown))
    return JSONResponse(shown)


@router.get("/tasks/{task_id}/events", summary="Read anybody's task's events")
@described("EventPage", 401, 403, 404, 422)
def get_task_events(
    _: Operator,
    task_id: TaskId,
    after: Annotated[int, Query(ge=0, le=MAX_SEQ, description="Number of the last event that you have.")] = 0,
) -> JSONResponse:
    """Return the events after a number, as many as an answer holds."""
    if not well_formed(task_id):
        raise NotFound("no such task")
    return JSONResponse(show.events(events.read(task_id, after, most_bytes=wire.ANSWER_BYTES)))


@router.post("/tasks/{task_id}/cancel", status_code=202, summary="Cancel anybody's task")
@described(
    "Accepted",
    *(401, 403, 404, 409, 422),
    also={200: {"model": "Accepted", "description": "It has ended: cancelled, or as it was before."}},
)
def cancel_task(operator: Operator, task_id: TaskId) -> JSONResponse:
    """Cancel a task as its owner may. Repeating it is harmless."""
    task = _task(task_id)
    audit.note(operator.key_user, operator.key_id, "cancel", task_id, task.user)
    task = cancel.cancel(task)
    return JSONResponse(accepted.state(task), 200 if task.status.terminal else 202)


@router.post("/tasks/{task_id}/requeue", summary="Send a task's message again")
@described("Accepted", 401, 403, 404, 409, 422)
def requeue_task(operator: Operator, task_id: TaskId) -> JSONResponse:
    """Send a waiting task's message again, at once. The row decides, so one too many does no harm."""
    task = _task(task_id)
    if task.status.terminal or task.parked or task.status not in (Status.QUEUED, Status.PROCESSING):
        state = "parked" if task.parked else str(task.status)
        raise Problem(409, "not_queued", f"the task is {state}: it waits for no message", "task_id")
    audit.note(operator.key_user, operator.key_id, "requeue", task_id, task.user)
    lanes.send(task.lane, task_id, task.gen, user=task.user, trace=task.trace)
    return JSONResponse(accepted.state(task))


@router.post("/tasks/{task_id}/retry", status_code=202, summary="Run anybody's task again")
@described("Accepted", 401, 402, 403, 404, 409, 413, 422, 429)
def retry_task(
    request: Request, operator: Operator, task_id: TaskId, idempotency_key: IdempotencyKey = None
) -> JSONResponse:
    """Submit an ended task's message once more in its owner's place: admitted by their limits, paid by them."""
    from functions.api.control import again  # here: few environments are ever asked

    task = _task(task_id)
    again.check_ended(task)
    audit.note(operator.key_user, operator.key_id, "retry", task_id, task.user)
    idempotency = idempotency_of(idempotency_key, {}, place=f"operator's retry {task_id}")
    receipt = again.retry(again.owner_of(task), task, idempotency=idempotency, trace=request.state.trace)
    return accepted.taken_on(request, receipt)


@router.post("/tasks/{task_id}/webhook", status_code=202, summary="Deliver a task's webhook again")
@described("Accepted", 401, 403, 404, 409, 422)
def deliver_task(operator: Operator, task_id: TaskId) -> JSONResponse:
    """Tell an ended task's webhook once more, with all its tries, whatever came of it before. Its id is the same."""
    task = _task(task_id)
    deliveries.check(task)
    audit.note(operator.key_user, operator.key_id, "webhook", task_id, task.user)
    deliveries.again(task)
    return JSONResponse(accepted.state(task), 202)


@router.post("/tasks/{task_id}/approvals/{fingerprint}", status_code=202, summary="Answer a task that asks for budget")
@described("SignalTaken", 401, 403, 404, 409, 413, 422, takes=ApprovalAnswer)
def answer_task(
    request: Request,
    operator: Operator,
    task_id: TaskId,
    fingerprint: str,
    body: RawBody,
) -> JSONResponse:
    """Raise a ceiling for anybody's run that waits for that, a budget of its user's day, too; or let it fail."""
    from functions.api.control import answering  # here: few environments are ever asked
    from functions.api.routes.approvals import taken

    given = parse(ApprovalAnswer, body, request.headers.get("content-type"))
    return taken(answering.answer(operator, _task(task_id), fingerprint, given, operator=True), fingerprint)


@router.get("/audit", summary="Read what operators did")
@described("AuditPage", 401, 403, 422)
def get_audit(
    _: Operator,
    day: Annotated[str | None, Query(pattern=r"^\d{4}-\d{2}-\d{2}$", description="UTC day; today when absent.")] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> JSONResponse:
    """Return what operators did to tasks on a day, newest first."""
    acts, more = audit.of_day(times.day(day, "day") if day else day_of(now()), limit=limit, cursor=cursor)
    shown: dict[str, Any] = {"acts": acts, "next_cursor": more}
    return JSONResponse(shown)


def _of_tree(root: Task, wanted: Wanted, *, limit: int, cursor: str | None) -> tuple[list[dict[str, Any]], str | None]:
    from functions.api.read import tree as trees
    from shared.tasks.listing import BadCursor

    if cursor is not None and not (cursor.isascii() and cursor.isdigit() and int(cursor) <= trees.MOST):
        raise BadCursor("not a cursor of this search", param="cursor")
    between = iso(wanted.since), iso(wanted.until)
    fitting = [
        one
        for one in trees.summaries(root)
        if between[0] <= one["created"] <= between[1] and wanted.user in (None, one["user"]) and wanted.fits(one)
    ]
    start = int(cursor or 0)
    return fitting[start : start + limit], str(start + limit) if start + limit < len(fitting) else None


def _task(task_id: str) -> Task:
    if not well_formed(task_id):
        raise NotFound("no such task")
    return store.get(task_id)


def _between(since: str | None, until: str | None) -> tuple[float, float]:
    """Return the time that is searched, all that is kept where none is given. Nothing was submitted in the future."""
    latest = soon = now() + 60
    if until is not None:
        latest = times.instant(until, "until")
    if since is None:
        return min(latest, soon) - settings().task_ttl_days * 86_400, min(latest, soon)
    earliest = times.instant(since, "since")
    if until is not None and earliest > latest:
        raise invalid("must not be after `until`", "since")
    return min(earliest, latest, soon), min(latest, soon)
