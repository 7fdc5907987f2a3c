"""What is answered to whoever submitted a task or did something to one: apart from `show`, for a quick first answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse

from shared.tasks.model import Task

if TYPE_CHECKING:
    from functions.api.submit.submission import Receipt


def state(task: Task) -> dict[str, Any]:
    """Return what is answered to whoever did something to a task."""
    return {"task_id": task.task_id, "status": str(task.status)}


def taken_on(request: Request, receipt: Receipt) -> JSONResponse:
    """Answer that a new task was taken on, and where its result will be."""
    location = f"{request.scope['root_path']}/result/{receipt.task.task_id}"
    return JSONResponse(state(receipt.task), 202, receipt.headers | {"Location": location})
