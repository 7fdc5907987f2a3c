"""The caller's own data."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse

from functions.api.described import described
from functions.api.erase import LONGEST_S, erase
from functions.api.identity import AUTHENTICATED, Subject
from functions.api.waiting import MARGIN_S

router = APIRouter(prefix="/me", tags=["data"], dependencies=AUTHENTICATED)


@router.delete("/data", summary="Erase your data")
@described("Erased", 401, 403, 422)
def delete_data(request: Request, caller: Subject) -> JSONResponse:
    """Erase the caller's tasks and conversations. Cancels what still runs; repeat while `more` is true."""
    context = request.scope.get("aws.context")
    room = LONGEST_S if context is None else min(LONGEST_S, context.get_remaining_time_in_millis() / 1000 - MARGIN_S)
    return JSONResponse(erase(caller.user, longest_s=room).public())
