"""A task's state, result and events, at once or as a long poll."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import JSONResponse

from functions.api.contract.problem import invalid
from functions.api.contract.requests import MAX_STREAMED_WAIT_SECONDS, MAX_WAIT_SECONDS
from functions.api.description.note import described
from functions.api.door.identity import Subject, own_task
from functions.api.read import show
from functions.api.read.hold import Held, hold
from functions.api.read.punctual import punctual
from shared import watchers, wire
from shared.errors import NotFound
from shared.logs import get_logger
from shared.settings import settings
from shared.tasks import events
from shared.tasks.events import Page
from shared.tasks.ids import MAX_SEQ, well_formed
from shared.valkey import RedisError

READER_SECONDS = 60.0
"""Whoever comes back within so long finds a run's text stored as it came; see `watchers.reading`."""

_log = get_logger("result")
router = APIRouter(prefix="/result", tags=["tasks"])

Wait = Annotated[
    float,
    Query(
        ge=0,
        le=MAX_STREAMED_WAIT_SECONDS,
        allow_inf_nan=False,
        description=f"Hold the answer so many seconds at most; {MAX_WAIT_SECONDS}, but on the streaming address.",
    ),
]


@router.get("/{task_id}", summary="Look a task up")
@described("TaskView", 401, 403, 404, 422)
def get_result(
    request: Request,
    caller: Subject,
    task_id: str,
    wait: Wait = 0,
    tree: Annotated[bool, Query(description="Show the runs that it started, and theirs.")] = False,
) -> JSONResponse:
    """Return a task's state; with `wait`, once it has ended or the seconds have passed."""
    headers: dict[str, str] = {}
    _check(wait)
    task = hold(
        lambda: punctual(own_task(caller, task_id)),
        lambda task: task.status.terminal,
        wait,
        request.scope.get("aws.context"),
        Held(caller.user, headers),
    )
    shown = show.full(task)
    if tree:
        from functions.api.read import tree as trees  # here: most requests do without it

        shown["tree"] = trees.of(task, most_bytes=wire.left(shown))
    return JSONResponse(shown, headers=headers)


@router.get("/{task_id}/events", summary="Read a task's events")
@described("EventPage", 401, 403, 404, 422)
def get_events(
    request: Request,
    caller: Subject,
    task_id: str,
    after: Annotated[int, Query(ge=0, le=MAX_SEQ, description="Number of the last event that you have.")] = 0,
    wait: Wait = 0,
) -> JSONResponse:
    """Return the events after a number; with `wait`, once there is one, the task ended or the seconds passed."""
    _check(wait)
    if not well_formed(task_id):
        raise NotFound("no such task")

    noted = False

    def look() -> Page:
        nonlocal noted
        page = events.read(task_id, after, most_bytes=wire.ANSWER_BYTES)
        if not caller.owns(page.task.user):
            raise NotFound("no such task")
        if not noted and not page.task.status.terminal:
            noted = True
            _note_reader(task_id, wait)
        return page

    headers: dict[str, str] = {}
    page = hold(
        look,
        lambda page: bool(page.events) or page.task.status.terminal,
        wait,
        request.scope.get("aws.context"),
        Held(caller.user, headers),
    )
    return JSONResponse(show.events(page), headers=headers)


def _check(wait: float) -> None:
    longest = max(MAX_WAIT_SECONDS, settings().result_max_wait)
    if wait > longest:
        raise invalid(f"wait: Input should be less than or equal to {longest:g}", "wait")


def _note_reader(task_id: str, wait: float) -> None:
    try:
        watchers.reading(task_id, wait + READER_SECONDS)
    except RedisError as error:  # the text comes later, in larger pieces; nothing else is lost
        _log.warning("reader not noted", extra={"task_id": task_id, "error": str(error)})
