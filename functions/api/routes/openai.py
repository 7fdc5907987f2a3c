"""The OpenAI dialect: an unmodified `openai` client works against ``…/v1``."""

from __future__ import annotations

from typing import Annotated, Any

from botocore.exceptions import BotoCoreError, ClientError
from fastapi import APIRouter, Depends, Path, Query
from pydantic import TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse

from functions.api import cancel
from functions.api.body import check, decode, raw_body
from functions.api.described import described
from functions.api.dialect import messages
from functions.api.dialect.request import TOOLS_BYTES, ResponsesRequest, message_of, without_tolerated
from functions.api.dialect.response import response_of, task_id_of
from functions.api.errors import Problem, invalid
from functions.api.held import Held
from functions.api.identity import AUTHENTICATED, AnyCaller, Caller, own_task
from functions.api.repeats import idempotency_of
from functions.api.routes.agent import IdempotencyKey
from functions.api.schemas import MAX_WAIT_SECONDS, UserId
from functions.api.submit import Receipt, Submission, submit
from functions.api.waiting import hold
from shared.errors import NotFound, SluiceError
from shared.limits import models, operators
from shared.logs import get_logger
from shared.settings import settings
from shared.tasks.model import Task, dumps

log = get_logger("api")
router = APIRouter(prefix="/v1", tags=["OpenAI dialect"], dependencies=AUTHENTICATED)

_EXAMPLE = {"model": "gpt-4o-mini", "input": "Write a haiku about queues.", "background": True}
_OWN_PARAMS = ("max_output_tokens", "timeout_s", "max_cost_usd", "metadata", "webhook_url", "instructions")
_user_id: TypeAdapter[str] = TypeAdapter(UserId)

ResponseId = Annotated[str, Path(description="`resp_…`")]


@router.post("/responses", summary="Create a response")
@described("ResponseView", 400, 401, 403, 409, 429, error="OpenAIErrorBody", takes=ResponsesRequest, example=_EXAMPLE)
def post_responses(
    request: Request,
    caller: AnyCaller,
    body: Annotated[bytes, Depends(raw_body)],
    idempotency_key: IdempotencyKey = None,
) -> JSONResponse:
    """Run an agent on the input. The answer comes at once with `background`, else when it is done or after 25 s."""
    value = decode(body, request.headers.get("content-type"))
    asked = check(ResponsesRequest, without_tolerated(value))
    caller = _acting(caller, asked.user)
    wanted = _submission(caller, asked)
    idempotency = idempotency_of(idempotency_key, value, place="responses")
    receipt = submit(caller, wanted, idempotency=idempotency, trace=request.state.trace)
    shown = _held(request, caller, receipt, held=not asked.background)
    return JSONResponse(shown, headers=receipt.headers)  # which waiting may have added to


@router.get("/responses/{response_id}", summary="Retrieve a response")
@described("ResponseView", 400, 401, 404, error="OpenAIErrorBody")
def get_response(
    caller: AnyCaller, response_id: ResponseId, stream: Annotated[bool, Query(description="Must be false.")] = False
) -> JSONResponse:
    """Return a response as it now is."""
    if stream:
        raise Problem(400, "unsupported_parameter", "stream=true is not supported", "stream")
    return JSONResponse(response_of(_own(caller, response_id)))


@router.post("/responses/{response_id}/cancel", summary="Cancel a response")
@described("ResponseView", 401, 404, 409, error="OpenAIErrorBody")
def cancel_response(request: Request, caller: AnyCaller, response_id: ResponseId) -> JSONResponse:
    """Cancel a response; when it is running, wait for its worker to stop (a heartbeat, 25 s at most)."""
    headers: dict[str, str] = {}
    task = cancel.cancel(_own(caller, response_id))
    if not task.status.terminal:
        task = _await_end(request, caller, task, headers)
    return JSONResponse(response_of(task), headers=headers)


@router.get("/models", summary="List models")
@described("ModelList", 401, error="OpenAIErrorBody")
def list_models(caller: AnyCaller) -> JSONResponse:
    """List models that the caller's tier may use: the deployment's own, those it priced, and common ones."""
    return JSONResponse({"object": "list", "data": [_model(name) for name in _models(caller)]})


@router.get("/models/{model:path}", summary="Retrieve a model")
@described("ModelView", 401, 404, error="OpenAIErrorBody")
def get_model(caller: AnyCaller, model: str) -> JSONResponse:
    """Return one of these models, or any other that has a price."""
    priced = models.known(model) is not None and caller.limits.allows_model(model)
    if not priced and model not in _models(caller):
        raise Problem(
            404, "model_not_found", f"The model '{model[:80]}' does not exist or you may not use it.", "model"
        )
    return JSONResponse(_model(model))


def _acting(caller: Caller, user: str | None) -> Caller:
    """Let ``user`` name a trusted service's own user."""
    if user is None or not caller.limits.trusted:
        return caller
    try:
        return caller.acting_for(_user_id.validate_python(user))
    except ValidationError as error:
        raise invalid("must be 1 to 64 of A-Z a-z 0-9 . _ : @ ~ -", "user") from error


def _submission(caller: Caller, asked: ResponsesRequest) -> Submission:
    message, is_list = message_of(asked)
    params: dict[str, Any] = {name: getattr(asked, name) for name in _OWN_PARAMS}
    params |= {"dialect": "responses", "background": asked.background or None, "input_json": is_list or None}
    if asked.tools:
        params["tools"] = messages.chat_tools(asked.tools)
        if len(dumps(params["tools"]).encode()) > TOOLS_BYTES:
            raise invalid(f"tools must be at most {TOOLS_BYTES} bytes of JSON", "tools")
    if asked.tool_choice is not None:
        params["tool_choice"] = messages.chat_tool_choice(asked.tool_choice)
    session_id = asked.session_id
    if asked.previous_response_id is not None:
        session_id = _previous(caller, asked.previous_response_id).session_id
        params["previous_response_id"] = asked.previous_response_id
    return Submission(
        message=message,
        agent=asked.agent,
        session_id=session_id,
        begins_session=True,
        model=asked.model,
        priority=asked.priority,
        params=params,
    )


def _previous(caller: Caller, response_id: str) -> Task:
    try:
        task = own_task(caller, task_id_of(response_id))
    except NotFound:
        task = None
    if task is None or task.user != caller.user:
        message = f"Previous response with id '{response_id}' not found."
        raise Problem(400, "previous_response_not_found", message, "previous_response_id")
    return task


def _own(caller: Caller, response_id: str) -> Task:
    try:
        return own_task(caller, task_id_of(response_id))
    except NotFound:
        shown = response_id.encode("ascii", "replace").decode()[:80]
        raise Problem(404, "response_not_found", f"Response with id '{shown}' not found.", "id") from None


def _held(request: Request, caller: Caller, receipt: Receipt, *, held: bool) -> dict[str, Any]:
    """Describe the response, once it is done if the client waits for it.

    The run is accepted whatever fails from here on. An error would have the client's library make another, and pay it.
    """
    task = receipt.task
    if not held or task.status.terminal:
        return response_of(task, held=held)
    try:
        return response_of(_await_end(request, caller, task, receipt.headers), held=True)
    except (SluiceError, ClientError, BotoCoreError) as error:
        log.warning("the end of a run was not seen", extra={"task_id": task.task_id}, exc_info=error)
        return response_of(task, held=True)


def _await_end(request: Request, caller: Caller, task: Task, headers: dict[str, str]) -> Task:
    def look() -> Task:
        return own_task(caller, task.task_id)

    context, held = request.scope.get("aws.context"), Held(caller.user, headers)
    return hold(look, lambda seen: seen.status.terminal, MAX_WAIT_SECONDS, context, held)


def _models(caller: Caller) -> list[str]:
    config = settings()
    known = [*operators.priced(), *models.COMMON, config.default_model, *config.fallback_models.split(",")]
    return sorted({name.strip() for name in known if name.strip() and caller.limits.allows_model(name.strip())})


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "sluice"}
