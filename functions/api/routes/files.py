"""OpenAI's files: uploaded whole, or put to S3 by their client; read back, listed and deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from pydantic import Field, StringConstraints
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from functions.api.contract.problem import Problem, invalid
from functions.api.contract.requests import Strict
from functions.api.description.note import described
from functions.api.door.body import LARGE_BODY_BYTES, LargeBody, check, decode
from functions.api.door.form import Field as FormField
from functions.api.door.form import is_form, read_form
from functions.api.door.identity import AnyCaller, Caller, Subject
from shared import wire
from shared.clock import now
from shared.settings import settings

if TYPE_CHECKING:
    from shared.bulk.files import File

router = APIRouter(prefix="/v1/files", tags=["OpenAI dialect"])

DIRECT_BYTES = LARGE_BODY_BYTES * 3 // 4
"""Largest file in a request: Lambda is given it in base64."""
CONTENT_BYTES = 4_000_000
"""Largest content in an answer; a larger one is fetched from S3 by the address that a redirect names."""
NAME_CHARACTERS = 255
PAGE = 10_000
LEAST_SECONDS, MOST_SECONDS = 3_600, 2_592_000
"""How long ``expires_after`` may keep a file: OpenAI's own bounds."""
OTHER_WAYS = (
    "Larger files: POST /v1/files with JSON {filename, purpose, bytes} answers an `upload_url` to PUT the content to; "
    "or send it in parts with POST /v1/uploads."
)

LINK_EXAMPLE = {"url": "https://…", "expires_at": 1_767_225_600}

FileId = Annotated[str, Path(description="`file-…`")]
FileName = Annotated[str, StringConstraints(min_length=1, max_length=NAME_CHARACTERS, pattern=r"^[^\x00-\x1f\x7f]+$")]
Purpose = Literal["batch"]
Size = Annotated[int, Field(ge=1, description="At most `MaxFileBytes`, 200 MB by default.")]


class ExpiresAfter(Strict):
    """When a file is deleted by itself."""

    anchor: Literal["created_at"]
    seconds: Annotated[int, Field(ge=LEAST_SECONDS, le=MOST_SECONDS)]


class FileRequest(Strict):
    """A file whose content its client puts to S3. In a form, ``file`` stands in place of ``filename`` and ``bytes``."""

    filename: FileName
    purpose: Purpose
    bytes: Size
    expires_after: ExpiresAfter | None = None


@router.post("", summary="Upload a file")
@described(
    "FileView",
    *(400, 401, 409),
    error="OpenAIErrorBody",
    takes=FileRequest,
    example={"filename": "lines.jsonl", "purpose": "batch", "bytes": 1_000_000},
)
def create_file(request: Request, caller: AnyCaller, body: LargeBody) -> JSONResponse:
    """Take a file: whole, as a form; or announced as JSON, and then put to the address in the answer."""
    from shared.bulk import files  # here: few requests are about files

    content_type = request.headers.get("content-type")
    if not is_form(content_type):
        file = _checked(caller, decode(body, content_type), "pending")
        url = files.announce(file)
        how = {"upload_url": url, "upload_method": "PUT", "upload_expires_at": int(file.made_at) + files.UPLOAD_SECONDS}
        return JSONResponse(file.public() | how)
    form = read_form(body, content_type)
    content = form.pop("file", None)
    if content is None or content.filename is None:
        raise invalid("the form needs a file", "file")
    if len(content.content) > DIRECT_BYTES:
        message = f"a file in a request may have {DIRECT_BYTES} bytes. {OTHER_WAYS}"
        raise Problem(413, "too_large", message, "file")
    file = _checked(caller, _of_form(form, content), "processed")
    files.store(file, content.content)
    return JSONResponse(file.public())


def _checked(caller: Caller, value: dict[str, Any], state: str) -> File:
    from shared.bulk import files

    asked = check(FileRequest, value)
    files.check_room(caller.user, asked.bytes)
    return files.make(
        caller.user,
        filename=asked.filename,
        purpose=asked.purpose,
        size=asked.bytes,
        seconds=asked.expires_after.seconds if asked.expires_after else None,
        state=state,
    )


def _of_form(form: dict[str, FormField], content: FormField) -> dict[str, Any]:
    """Return a form's fields as the JSON that says the same."""
    value: dict[str, Any] = {"filename": content.filename, "bytes": len(content.content)}
    for name, field in form.items():
        outer, bracket, inner = name.partition("[")
        text: Any = field.text(name)
        if not bracket:
            value[outer] = text
            continue
        inner = inner.removesuffix("]")
        if inner == "seconds" and text.isascii() and text.isdecimal():
            text = int(text[:12])
        value.setdefault(outer, {})
        if isinstance(value[outer], dict):
            value[outer][inner] = text
    return value


@router.get("", summary="List files")
@described("FileList", 400, 401, 403, error="OpenAIErrorBody")
def list_files(
    caller: Subject,
    limit: Annotated[int, Query(ge=1, le=PAGE)] = PAGE,
    order: Annotated[Literal["asc", "desc"], Query()] = "desc",
    after: Annotated[str | None, Query(description="Id of the last file that you have.")] = None,
    purpose: Annotated[str | None, Query(max_length=64)] = None,
) -> JSONResponse:
    """List the caller's files, the newest first if not asked otherwise."""
    from shared.bulk import files

    if after is not None and not files.named(after, files.PREFIX):
        raise invalid("names no file", "after")
    found, more = files.page(caller.user, limit=limit, after=after, purpose=purpose, newest_first=order == "desc")
    return JSONResponse(listed([one.public() for one in found], more))


def listed(data: list[dict[str, Any]], more: bool) -> dict[str, Any]:
    """Return a page of OpenAI's: as much of it as an answer holds."""
    fit = wire.how_many(data)
    data, more = data[:fit], more or fit < len(data)
    ends = {"first_id": data[0]["id"] if data else None, "last_id": data[-1]["id"] if data else None}
    return {"object": "list", "data": data, **ends, "has_more": more}


@router.get("/{file_id}", summary="Retrieve a file")
@described("FileView", 400, 401, 403, 404, error="OpenAIErrorBody")
def get_file(caller: Subject, file_id: FileId) -> JSONResponse:
    """Return what is known of a file."""
    from shared.bulk import files

    return JSONResponse(files.load(caller.user, file_id).public())


@router.get("/{file_id}/content", summary="Download a file")
@described(
    "FileView",
    *(400, 401, 403, 404, 409),
    error="OpenAIErrorBody",
    also={
        200: {
            "description": "The content; with `link`, the address alone.",
            "content": {"application/octet-stream": {}, "application/json": {"example": LINK_EXAMPLE}},
        },
        302: {"description": f"Over {CONTENT_BYTES} bytes: where the content can be fetched."},
    },
)
def get_content(
    caller: Subject,
    file_id: FileId,
    link: Annotated[
        bool, Query(description="Answer the address in S3 as JSON, whatever the size: for pages that cannot follow.")
    ] = False,
) -> Response:
    """Return a file's content, or the address in S3 of a large one."""
    from shared.bulk import files, objects

    file = files.load(caller.user, file_id)
    if file.state != "processed":
        raise Problem(409, "file_not_ready", file.why or "the file's content has not come yet", "file_id")
    if link:
        shown = {"url": files.address(file), "expires_at": int(now()) + settings().result_url_seconds}
        return JSONResponse(shown, headers={"Cache-Control": "no-store"})
    if file.size > CONTENT_BYTES:
        return RedirectResponse(files.address(file), 302)
    return Response(objects.read(file.key), media_type="application/octet-stream")


@router.delete("/{file_id}", summary="Delete a file")
@described("FileDeleted", 400, 401, 403, 404, error="OpenAIErrorBody")
def delete_file(caller: Subject, file_id: FileId) -> JSONResponse:
    """Delete a file. A batch that still reads it ends."""
    from shared.bulk import files

    files.delete(caller.user, file_id)
    return JSONResponse({"id": file_id, "object": "file", "deleted": True})
