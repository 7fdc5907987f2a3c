"""What the dashboard draws; operators only."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from starlette.responses import JSONResponse

from functions.api.description.note import described
from functions.api.door.identity import Operator

router = APIRouter(tags=["operation"])


@router.get("/stats", summary="Read the system's state")
@described("Stats", 401, 403, 422)
def get_stats(
    _: Operator, history: Annotated[bool, Query(description="Show the last hour's minutes, too.")] = False
) -> JSONResponse:
    """Return backlog, concurrency, refusals, breakers and spending of all users together. Needs an operator's key."""
    from functions.api.system import stats  # the scaler's modules with it: few environments are ever asked

    shown = stats.snapshot()
    return JSONResponse({**shown, "history": stats.history()} if history else shown)


@router.get("/stats/past", summary="Read how runs fared lately")
@described("PastHours", 401, 403, 422)
def get_past(
    _: Operator, hours: Annotated[Literal["1", "6", "24", "72"], Query(description="Over how many hours.")] = "24"
) -> JSONResponse:
    """Return how long tasks waited from submission to their start, by lane, and why they failed, over the last hours.

    It is read from the tasks' rows: of each of 48 stretches of time the newest 20 tasks are looked at. A task that
    waits still counts with its wait so far. The answer is at most 20 seconds old.
    """
    from functions.api.system import stats

    return JSONResponse({"hours": int(hours), "stretches": stats.past(int(hours))()})
