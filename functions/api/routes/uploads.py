"""OpenAI's uploads: a file that comes in parts, each small enough for a request."""

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import Field, StringConstraints
from starlette.requests import Request
from starlette.responses import JSONResponse

from functions.api.contract.problem import Problem, invalid
from functions.api.contract.requests import Strict
from functions.api.description.note import described
from functions.api.door.body import LargeBody, RawBody, parse
from functions.api.door.form import read_form
from functions.api.door.identity import AnyCaller
from functions.api.routes.files import DIRECT_BYTES, ExpiresAfter, FileName, Purpose, Size

router = APIRouter(prefix="/v1/uploads", tags=["OpenAI dialect"])

UploadId = Annotated[str, Path(description="`upload_…`")]
PartId = Annotated[str, StringConstraints(min_length=1, max_length=64)]
MOST_PARTS = 1_000


class UploadRequest(Strict):
    """A file that is to come in parts."""

    filename: FileName
    purpose: Purpose
    bytes: Size
    mime_type: Annotated[str, Field(max_length=255)]
    expires_after: ExpiresAfter | None = None


class UploadCompletion(Strict):
    """The parts of a file, in their order."""

    part_ids: Annotated[list[PartId], Field(min_length=1, max_length=MOST_PARTS)]
    md5: Annotated[str | None, StringConstraints(pattern=r"^[0-9a-fA-F]{32}$")] = None


@router.post("", summary="Begin an upload in parts")
@described("UploadView", 400, 401, 409, error="OpenAIErrorBody", takes=UploadRequest)
def create_upload(request: Request, caller: AnyCaller, body: RawBody) -> JSONResponse:
    """Begin a file that comes in parts; they may take an hour."""
    from shared.bulk import files, uploads  # here: few requests are about files

    asked = parse(UploadRequest, body, request.headers.get("content-type"))
    files.check_room(caller.user, asked.bytes)
    seconds = asked.expires_after.seconds if asked.expires_after else None
    made = uploads.begin(caller.user, filename=asked.filename, purpose=asked.purpose, size=asked.bytes, seconds=seconds)
    return JSONResponse(made.public())


@router.post("/{upload_id}/parts", summary="Send a part")
@described("UploadPart", 400, 401, 404, 409, error="OpenAIErrorBody")
def create_part(request: Request, caller: AnyCaller, upload_id: UploadId, body: LargeBody) -> JSONResponse:
    """Take a part of a file: a form with `data`."""
    from shared.bulk import uploads

    data = read_form(body, request.headers.get("content-type")).get("data")
    if data is None or not data.content:
        raise invalid("the form needs data", "data")
    if len(data.content) > DIRECT_BYTES:
        raise Problem(413, "too_large", f"a part may have {DIRECT_BYTES} bytes: send smaller ones", "data")
    try:
        return JSONResponse(uploads.add(caller.user, upload_id, data.content))
    except uploads.BadParts as error:
        raise Problem(400, error.code, error.message, error.param) from error


@router.post("/{upload_id}/complete", summary="Complete an upload")
@described("UploadView", 400, 401, 404, 409, error="OpenAIErrorBody", takes=UploadCompletion)
def complete_upload(request: Request, caller: AnyCaller, upload_id: UploadId, body: RawBody) -> JSONResponse:
    """Put the file together from its parts."""
    from shared.bulk import uploads

    asked = parse(UploadCompletion, body, request.headers.get("content-type"))
    try:
        upload, file = uploads.complete(caller.user, upload_id, asked.part_ids, asked.md5)
    except uploads.BadParts as error:
        raise Problem(400, error.code, error.message, error.param) from error
    return JSONResponse(upload.public(file))


@router.post("/{upload_id}/cancel", summary="Cancel an upload")
@described("UploadView", 401, 404, 409, error="OpenAIErrorBody")
def cancel_upload(caller: AnyCaller, upload_id: UploadId) -> JSONResponse:
    """Give an upload up; its parts are deleted."""
    from shared.bulk import uploads

    return JSONResponse(uploads.cancel(caller.user, upload_id).public())
