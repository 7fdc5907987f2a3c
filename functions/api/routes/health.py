"""Liveness, with the dependencies."""

from typing import Any

from fastapi import APIRouter
from starlette.responses import JSONResponse

from functions.api.description.note import described
from sluice import __version__

router = APIRouter(tags=["operation"])


@router.get("/health", summary="Ask how it is")
@described("Health", also={503: {"model": "Health", "description": "DynamoDB is down: nothing can be taken on."}})
def get_health() -> JSONResponse:
    """Answer 200 while tasks can be taken on (`degraded` when Redis or SQS is down), else 503. Needs no key."""
    from functions.api.system import probes  # the breaker's modules with it, which few requests need

    found = probes.dependencies()
    down = {name for name, each in found.items() if each["status"] == "down"}
    status = "down" if "dynamodb" in down else "degraded" if down else "ok"
    body: dict[str, Any] = {
        "status": status,
        "version": __version__,
        "dependencies": found,
        "breakers": probes.own_breakers(),
    }
    return JSONResponse(body, 503 if status == "down" else 200, {"Retry-After": "5"} if status == "down" else None)
