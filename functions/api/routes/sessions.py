"""Conversation memory of the caller."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from starlette.responses import JSONResponse

from functions.api.contract.requests import SESSION_CHARACTERS
from functions.api.description.note import described
from functions.api.door.identity import Subject
from shared.tasks import sessions, turn_pages
from shared.wire import ANSWER_BYTES

router = APIRouter(prefix="/sessions", tags=["sessions"])

SessionPath = Annotated[str, Path(pattern=r"^[A-Za-z0-9._:@~-]+$", max_length=SESSION_CHARACTERS)]
PAGE_TURNS = 500


@router.get("/{session_id}", summary="Read a conversation")
@described("SessionView", 401, 403, 422)
def get_session(
    caller: Subject,
    session_id: SessionPath,
    limit: Annotated[int, Query(ge=1, le=PAGE_TURNS)] = 50,
    cursor: Annotated[
        str | None, Query(max_length=400, description="Of the page whose turns came after these.")
    ] = None,
) -> JSONResponse:
    """Return the newest turns of a conversation, as many as an answer holds, oldest of them first.

    One that never was has none. With `cursor` the turns before those of an earlier page.
    """
    page = turn_pages.page(caller.user, session_id, limit=limit, most_bytes=ANSWER_BYTES, cursor=cursor)
    turns = [{"task_id": t.task_id, "at": t.at, "user": t.user, "assistant": t.assistant} for t in page.turns]
    shown: dict[str, Any] = {"session_id": session_id, "turns": turns}
    if page.cursor is not None:
        shown["cursor"] = page.cursor
    return JSONResponse(shown)


@router.delete("/{session_id}", summary="Forget a conversation")
@described("SessionDeleted", 401, 403, 422)
def delete_session(caller: Subject, session_id: SessionPath) -> JSONResponse:
    """Forget a conversation's turns; tasks and their results stay."""
    return JSONResponse({"session_id": session_id, "deleted_turns": sessions.delete(caller.user, session_id)})
