"""OpenAI's chat completions: each is a task like any other, named in a header of its answer."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from functions.api.description.note import described
from functions.api.dialect import runs
from functions.api.dialect.chat_answer import ChatStream, completion_id, completion_of, encode
from functions.api.dialect.chat_request import ChatRequest
from functions.api.dialect.chat_turn import submission_of
from functions.api.dialect.request import checked
from functions.api.door.body import LargeBody, decode
from functions.api.door.identity import AnyCaller, Caller
from functions.api.routes.agent import IdempotencyKey
from shared.tasks import store
from shared.tasks.events import Event
from shared.tasks.model import Task

router = APIRouter(prefix="/v1", tags=["OpenAI dialect"])

_EXAMPLE = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Write a haiku about queues."}]}
_STREAM = {200: {"description": "The completion; with `stream`, its chunks.", "content": {"text/event-stream": {}}}}


@router.post("/chat/completions", summary="Create a chat completion")
@described(
    "ChatCompletion",
    *(400, 401, 402, 403, 409, 413, 429, 504),
    error="OpenAIErrorBody",
    also=_STREAM,
    takes=ChatRequest,
    example=_EXAMPLE,
)
def post_chat_completions(
    request: Request,
    caller: AnyCaller,
    body: LargeBody,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Run an agent on the messages; nothing is remembered of them for another request."""
    value = decode(body, request.headers.get("content-type"))
    asked = checked(ChatRequest, value)
    if asked.stream:
        runs.must_stream(request)
    caller = runs.acting(caller, asked.user)
    task, headers = runs.run(
        request,
        caller,
        lambda: submission_of(asked),
        place="chat",
        body=value,
        key=idempotency_key,
    )
    if asked.stream:
        return _streamed(request, caller, task, asked, headers)
    how = f"Its answer will be at GET /result/{task.task_id}."
    task = runs.answered(request, caller, task, headers, completion_id(task), how)
    return JSONResponse(completion_of(task), headers=headers)


def _streamed(request: Request, caller: Caller, task: Task, asked: ChatRequest, headers: dict[str, str]) -> Response:
    usage = bool(asked.stream_options and asked.stream_options.include_usage)
    made = ChatStream(task, lambda: store.get(task.task_id), include_usage=usage)

    def encoded(event: Event) -> str:
        return "".join(encode(chunk) for chunk in made.take(event))

    return runs.server_sent(request, caller, task, encoded, headers, pieces=True)
