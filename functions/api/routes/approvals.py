"""Approvals: the calls, and the budget, that the caller's runs wait to be allowed, and the answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import JSONResponse

from functions.api.contract.requests import PAGE_TASKS, ApprovalAnswer
from functions.api.description.note import described
from functions.api.door.body import RawBody, parse
from functions.api.door.identity import AnyCaller, Subject, own_task
from shared.errors import NotFound
from shared.tasks import listing

if TYPE_CHECKING:
    from shared.tasks.inbox import Receipt

router = APIRouter(tags=["tasks"])

_EXAMPLE = {"decision": "deny", "reason": "The amount is too high; ask for half of it."}


@router.get("/approvals", summary="List pending approvals")
@described("ApprovalList", 401, 403, 422)
def list_approvals(
    caller: Subject,
    limit: Annotated[int, Query(ge=1, le=PAGE_TASKS)] = 20,
    cursor: Annotated[str | None, Query(max_length=2048, description="From `next_cursor`.")] = None,
) -> JSONResponse:
    """List what the caller's tasks wait to be allowed, newest task first. The index lags by a moment."""
    from functions.api.read import pending  # here: most requests do without them
    from shared.tasks import items, table

    found, more = listing.list_tasks(caller.user, limit=limit, cursor=cursor, status="waiting")
    ids = [str(one["task_id"]) for one in found if _asks(one)]
    rows = table.get_many([items.row_key(task_id) for task_id in ids]) if ids else []
    tasks = {task.task_id: task for task in map(items.read_task, rows)}
    page = pending.Page()
    for n, summary in enumerate(found):
        task = tasks.get(str(summary["task_id"]))
        if task is not None and not page.take(task):
            more = listing.cursor_behind(listing.of_user(caller.user), found[n - 1])
            break
    return JSONResponse({"approvals": page.shown, "next_cursor": more})


def _asks(summary: dict[str, Any]) -> bool:
    from shared.tasks import approvals

    return any(one["kind"] == approvals.KIND for one in summary.get("waiting_for", ()))


@router.get("/agent/{task_id}/approvals/{fingerprint}", summary="Read an approval")
@described("ApprovalView", 401, 403, 404, 422)
def get_approval(caller: Subject, task_id: str, fingerprint: str) -> JSONResponse:
    """Return one call that a task waits to be allowed, with its arguments however large they are."""
    from functions.api.read import pending  # here: most requests do without them
    from shared.tasks import approvals

    task = own_task(caller, task_id)
    found = next(iter(approvals.pending(task, fingerprint=fingerprint)), None)
    if found is None:
        raise NotFound("the task asks for no such approval (any more)")
    return JSONResponse(pending.shown(task, found))


@router.post("/agent/{task_id}/approvals/{fingerprint}", status_code=202, summary="Answer an approval")
@described("SignalTaken", 401, 404, 409, 413, 422, takes=ApprovalAnswer, example=_EXAMPLE)
def answer_approval(
    request: Request,
    caller: AnyCaller,
    task_id: str,
    fingerprint: str,
    body: RawBody,
) -> JSONResponse:
    """Allow or deny the very call, or the budget, that a run waits for.

    The first answer counts; the same once more is harmless.
    """
    from functions.api.control import answering  # here: most requests do without it

    given = parse(ApprovalAnswer, body, request.headers.get("content-type"))
    receipt = answering.answer(caller, own_task(caller, task_id), fingerprint, given, operator=False)
    return taken(receipt, fingerprint)


def taken(receipt: Receipt, fingerprint: str) -> JSONResponse:
    """Say that an answer was taken."""
    from shared.tasks import approvals

    task = receipt.task
    content = {"task_id": task.task_id, "status": str(task.status), "name": approvals.name_of(fingerprint)}
    headers = {"Idempotent-Replayed": "true"} if receipt.repeat else {}
    return JSONResponse(content | {"signal": receipt.signal}, 202, headers)
