"""Signals: what a run waits for from outside, sent to it by whoever owns it."""

from typing import Annotated

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import JSONResponse

from functions.api.description.note import described
from functions.api.door.body import RawBody, decode_any
from functions.api.door.identity import AnyCaller, own_task
from functions.api.routes.agent import IdempotencyKey
from functions.api.submit.repeats import digest

router = APIRouter(prefix="/agent", tags=["tasks"])

SignalName = Annotated[str, Path(pattern=r"^[A-Za-z0-9._:-]{1,64}$", description="What the run waits for.")]


@router.post("/{task_id}/signals/{name}", status_code=202, summary="Send a signal to a task")
@described("SignalTaken", 401, 404, 409, 413, 422)
def post_signal(
    request: Request,
    caller: AnyCaller,
    task_id: str,
    name: SignalName,
    body: RawBody,
    idempotency_key: IdempotencyKey = None,
) -> JSONResponse:
    """Send any JSON, or nothing, to a run that waits for it, or will: it is kept. One that has ended takes none."""
    from functions.api.control import signalling  # here: most requests do without it

    task = own_task(caller, task_id)
    payload = decode_any(body, request.headers.get("content-type")) if body else None
    key = None if idempotency_key is None else digest(idempotency_key)
    receipt = signalling.send(caller, task, name, payload, key)
    content = {"task_id": task_id, "status": str(receipt.task.status), "name": name, "signal": receipt.signal}
    return JSONResponse(content, 202, {"Idempotent-Replayed": "true"} if receipt.repeat else {})
