"""What a caller may do, and how much of it is left."""

from fastapi import APIRouter
from starlette.responses import JSONResponse

from functions.api.description.note import described
from functions.api.door.gate import gate
from functions.api.door.identity import Subject
from functions.api.submit.allowed import longest_message

router = APIRouter(tags=["limits"])


@router.get("/limits", summary="Read your limits")
@described("LimitsView", 401, 403, 422)
def get_limits(caller: Subject) -> JSONResponse:
    """Return every limit of the caller, used and left. Looking costs nothing."""
    limits = caller.limits
    shown = {
        "user": caller.user,
        "tier": limits.tier,
        "lanes": limits.lanes,
        "agents": limits.agents,
        "models": limits.models,
        "message_bytes": longest_message(limits),
        "limits": gate().usage(caller.user, limits),
    }
    return JSONResponse(shown)
