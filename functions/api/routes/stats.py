"""What the dashboard draws; operators only."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import JSONResponse

from functions.api.description.note import described
from functions.api.door.identity import AUTHENTICATED, Operator

router = APIRouter(tags=["operation"], dependencies=AUTHENTICATED)


@router.get("/stats", summary="Read the system's state")
@described("Stats", 401, 403, 422)
def get_stats(
    _: Operator, history: Annotated[bool, Query(description="Show the last hour's minutes, too.")] = False
) -> JSONResponse:
    """Return backlog, concurrency, refusals, breakers and spending of all users together. Needs an operator's key."""
    from functions.api.system import stats  # the scaler's modules with it: few environments are ever asked

    shown = stats.snapshot()
    return JSONResponse({**shown, "history": stats.history()} if history else shown)
