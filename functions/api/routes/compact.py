"""OpenAI's compaction: a conversation becomes a summary, which stands for it in a later request's input."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse

from functions.api.description.note import described
from functions.api.dialect import compaction, runs
from functions.api.dialect.request import checked
from functions.api.door.body import LargeBody, decode
from functions.api.door.identity import AnyCaller
from functions.api.routes.agent import IdempotencyKey
from functions.api.routes.responses import HOW

router = APIRouter(prefix="/v1", tags=["OpenAI dialect"])

_EXAMPLE = {"model": "gpt-4o-mini", "input": [{"role": "user", "content": "My name is Ann."}]}


@router.post("/responses/compact", summary="Compact a conversation")
@described(
    "Compaction",
    *(400, 401, 402, 403, 404, 409, 413, 429, 504),
    error="OpenAIErrorBody",
    takes=compaction.CompactRequest,
    example=_EXAMPLE,
)
def post_compact(
    request: Request,
    caller: AnyCaller,
    body: LargeBody,
    idempotency_key: IdempotencyKey = None,
) -> JSONResponse:
    """Let the model sum a conversation up. It is a run like any other; its result is an item for a later input."""
    value = decode(body, request.headers.get("content-type"))
    asked = checked(compaction.CompactRequest, value)
    task, headers = runs.run(
        request,
        caller,
        lambda: compaction.submission_of(caller, asked),
        place="compact",
        body=value,
        key=idempotency_key,
    )
    shown = f"resp_{task.task_id}"
    task = runs.answered(request, caller, task, headers, shown, HOW.format(shown))
    return JSONResponse(compaction.compaction_of(task), headers=headers)
