"""OpenAI's batches: many requests from a file, run in what other work leaves, within a day."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import JSONResponse

from functions.api.contract.problem import Problem, invalid
from functions.api.contract.requests import Metadata
from functions.api.description.note import described
from functions.api.dialect.rejoin import Rejoin
from functions.api.door.body import RawBody, check, decode
from functions.api.door.identity import AnyCaller, Subject
from functions.api.routes.files import ExpiresAfter, listed
from shared.settings import settings

router = APIRouter(prefix="/v1/batches", tags=["OpenAI dialect"])

PAGE = 100
BatchId = Annotated[str, Path(description="`batch_…`")]


class BatchRequest(BaseModel):
    """A batch to begin."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True, title="BulkRequest")

    input_file_id: Annotated[str, Field(min_length=1, max_length=64)]
    endpoint: Literal["/v1/responses", "/v1/chat/completions"]
    completion_window: Literal["24h"]
    metadata: Metadata | None = None
    output_expires_after: Annotated[
        ExpiresAfter | None, Field(description="When the output file and the error file are deleted.")
    ] = None


@router.post("", summary="Begin a batch")
@described(
    "BatchView",
    *(400, 401, 403, 409),
    error="OpenAIErrorBody",
    takes=BatchRequest,
    example={"input_file_id": "file-…", "endpoint": "/v1/responses", "completion_window": "24h"},
)
def create_batch(request: Request, caller: AnyCaller, body: RawBody) -> JSONResponse:
    """Run the requests of a file. It is read through first: a file with a fault fails the batch, and nothing is run."""
    from shared.bulk import files, model, pokes, store  # here: few requests are about batches
    from shared.clock import now
    from shared.errors import NotFound
    from shared.limits import keys

    if not settings().queue_url_bulk:
        raise invalid("this deployment has no batches", code="batches_off")
    value = decode(body, request.headers.get("content-type"))
    asked = check(BatchRequest, value)
    rejoin = Rejoin(caller.user, "batches", value, request.headers)
    if (earlier := rejoin.found_id()) is not None:  # the client's library tries again by itself: one batch, paid once
        return JSONResponse(store.load(caller.user, earlier).public())
    try:
        file = files.load(caller.user, asked.input_file_id)
    except NotFound as error:
        raise Problem(400, "file_not_found", error.message, "input_file_id") from error
    if file.purpose != files.INPUT:
        raise invalid(f"the file's purpose is {file.purpose}, and not {files.INPUT}", "input_file_id")
    if file.state != "processed":
        raise invalid(file.why or "the file's content has not come yet", "input_file_id", code="file_not_ready")
    made = model.Batch(
        batch_id=files.new_id(model.PREFIX),
        user=caller.user,
        key=keys.digest_of(request.headers["authorization"].partition(" ")[2].strip()),
        endpoint=asked.endpoint,
        file_id=file.file_id,
        made_at=now(),
        metadata=dict(asked.metadata or {}),
        keep_s=asked.output_expires_after.seconds if asked.output_expires_after else 0,
        size=file.size,
    )
    with rejoin.taking():
        store.create(made)
        rejoin.remember(made.batch_id)
    pokes.soon(made.user, made.batch_id, delay_s=0)
    return JSONResponse(made.public())


@router.get("", summary="List batches")
@described("BatchPage", 400, 401, 403, error="OpenAIErrorBody")
def list_batches(
    caller: Subject,
    limit: Annotated[int, Query(ge=1, le=PAGE)] = 20,
    after: Annotated[str | None, Query(description="Id of the last batch that you have.")] = None,
) -> JSONResponse:
    """List the caller's batches, the newest first."""
    from shared.bulk import files, model, store

    if after is not None and not files.named(after, model.PREFIX):
        raise invalid("names no batch", "after")
    found, more = store.page(caller.user, limit=limit, after=after)
    return JSONResponse(listed([one.public() for one in found], more))


@router.get("/{batch_id}", summary="Retrieve a batch")
@described("BatchView", 400, 401, 403, 404, error="OpenAIErrorBody")
def get_batch(caller: Subject, batch_id: BatchId) -> JSONResponse:
    """Return a batch as it now is."""
    from shared.bulk import store

    return JSONResponse(store.load(caller.user, batch_id).public())


@router.post("/{batch_id}/cancel", summary="Cancel a batch")
@described("BatchView", 400, 401, 403, 404, 409, error="OpenAIErrorBody")
def cancel_batch(caller: Subject, batch_id: BatchId) -> JSONResponse:
    """Cancel a batch: its running requests are cancelled, and what has ended is in its files. Idempotent."""
    from shared.bulk import pokes, store

    found = store.cancel(caller.user, batch_id)
    if not found.ended:
        pokes.soon(found.user, found.batch_id, delay_s=0)
    return JSONResponse(found.public())
