"""What runs cost: by day, user, agent, model or key."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from starlette.responses import JSONResponse

from functions.api.contract.problem import Problem
from functions.api.description.note import described
from functions.api.door.identity import Subject

router = APIRouter(tags=["costs"])

DEFAULT_DAYS = 30
"""Days that are added up when a request names none."""
MOST_GROUPS = 1_000
"""Most groups of one page."""
Day = Annotated[str | None, Query(pattern=r"^\d{4}-\d{2}-\d{2}$", description="UTC day.")]


@router.get("/costs", summary="Read what runs cost")
@described("Costs", 401, 403, 422)
def get_costs(
    caller: Subject,
    by: Annotated[Literal["day", "user", "agent", "model", "key"], Query(description="What to add up by.")] = "day",
    first: Annotated[Day, Query(alias="from", description="First day, included; 30 days when absent.")] = None,
    last: Annotated[Day, Query(alias="to", description="Last day, included; today when absent.")] = None,
    user: Annotated[str | None, Query(min_length=1, max_length=200, description="Only this user's; operators.")] = None,
    limit: Annotated[int, Query(ge=1, le=MOST_GROUPS)] = 100,
    cursor: Annotated[int, Query(ge=0, le=10_000_000, description="From `next_cursor`.")] = 0,
) -> JSONResponse:
    """Add up what ended runs cost, on the days on which it was spent. An operator sees everybody's, a user their own.

    A trusted service sees what its users cost; with `user_id`, what that one did.
    """
    from functions.api.system import costs  # here: few environments are ever asked

    days = costs.days_of(first, last, default=DEFAULT_DAYS)
    operator = caller.limits.operator
    if user is not None and not operator and user != caller.user:
        raise Problem(403, "operator_only", "another user's costs need an operator's key", "user")
    whose = user if operator else caller.user
    serves = caller.limits.trusted and caller.user == caller.key_user and not operator and user is None
    wanted = costs.counters(days, user=None if serves else whose, under=caller.user if serves else None)
    found = costs.page(costs.add_up(wanted, by), by, limit=limit, start=cursor)
    return JSONResponse({"by": by, "from": days[0], "to": days[-1], **found})
