"""Signals: what a run waits for from outside, sent to it by whoever owns it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path
from starlette.requests import Request
from starlette.responses import JSONResponse

from functions.api.contract.problem import Problem, invalid
from functions.api.description.note import described
from functions.api.door.body import decode_any, raw_body
from functions.api.door.gate import gate
from functions.api.door.identity import AUTHENTICATED, AnyCaller, own_task
from functions.api.routes.agent import IdempotencyKey
from functions.api.submit.repeats import digest
from shared.tasks import waits
from shared.tasks.model import Status, Task, dumps

router = APIRouter(prefix="/agent", tags=["tasks"], dependencies=AUTHENTICATED)

SignalName = Annotated[str, Path(pattern=r"^[A-Za-z0-9._:-]{1,64}$", description="What the run waits for.")]

OWN = ("approval:", "children:")
"""What the names of signals that Sluice sends itself begin with."""


@router.post("/{task_id}/signals/{name}", status_code=202, summary="Send a signal to a task")
@described("SignalTaken", 401, 404, 409, 413, 422)
def post_signal(
    request: Request,
    caller: AnyCaller,
    task_id: str,
    name: SignalName,
    body: Annotated[bytes, Depends(raw_body)],
    idempotency_key: IdempotencyKey = None,
) -> JSONResponse:
    """Send any JSON, or nothing, to a run that waits for it, or will: it is kept. One that has ended takes none."""
    from shared.tasks import inbox, waking  # here: most requests do without them

    if name.startswith(OWN):
        raise invalid("approvals are answered at /agent/{task_id}/approvals/{fingerprint}; children end", "name")
    task = own_task(caller, task_id)
    payload = decode_any(body, request.headers.get("content-type")) if body else None
    size = len(dumps(payload).encode())
    if size > inbox.PAYLOAD_BYTES:
        raise Problem(413, "too_large", f"the payload is over the limit of {inbox.PAYLOAD_BYTES} bytes")
    _fits(task, name, payload)
    key = None if idempotency_key is None else digest(idempotency_key)
    receipt = inbox.post(task_id, name, payload, key=key, by=caller.key_id, seen=task)
    if receipt.woken:
        waking.send(gate(), receipt.task)
    content = {"task_id": task_id, "status": str(receipt.task.status), "name": name, "signal": receipt.signal}
    return JSONResponse(content, 202, {"Idempotent-Replayed": "true"} if receipt.repeat else {})


def _fits(task: Task, name: str, payload: object) -> None:
    """Hold a payload against what the task that waits for it takes."""
    if task.status is not Status.WAITING:
        return
    for one in waits.of_row(task):
        schema = (one.more or {}).get("schema")
        if one.name == name and schema is not None:
            from shared import json_schema

            if wrong := json_schema.wrong(schema, payload):
                raise invalid(wrong, code="invalid_payload")
