"""What both dialects do with a request: whose it is, the run that it makes or joins, and the wait for its end."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from pydantic import TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import StreamingResponse

from functions.api.contract import openai_problem
from functions.api.contract.problem import Problem, invalid, problem_of
from functions.api.contract.requests import MAX_WAIT_SECONDS, UserId
from functions.api.dialect import ends
from functions.api.dialect.content import inline
from functions.api.dialect.items import showable
from functions.api.dialect.rejoin import Rejoin
from functions.api.dialect.stream import DONE
from functions.api.door.identity import Caller, own_task
from functions.api.live import sse
from functions.api.live.following import follow, life
from functions.api.live.sequence import End, KeepAlive, LogEvent, Place
from functions.api.read.hold import Held, hold
from functions.api.read.punctual import punctual
from functions.api.submit.repeats import idempotency_of
from functions.api.submit.submission import Receipt, Submission
from functions.api.submit.taking import submit
from shared.errors import SluiceError
from shared.limits.holds import RETRY_AFTER_S
from shared.logs import get_logger
from shared.settings import settings
from shared.tasks.events import TERMINAL_EVENTS, Event, Page
from shared.tasks.model import Task, dumps_line

INLINE_BYTES = 5 * 1024 * 1024
"""Most of images, files and sound that may stand in a request."""
NO_STREAMS = "this address cannot stream"

log = get_logger("api")
_user_id: TypeAdapter[str] = TypeAdapter(UserId)


def streams(request: Request) -> bool:
    """Tell whether this address can stream, and hold a request to its end: all but the HTTP API can."""
    return sse.can_stream(request)


def must_stream(request: Request) -> None:
    """Make sure that this address can stream.

    Raises:
        Problem: it cannot; the one that can is named.
    """
    if not streams(request):
        message = f"stream=true is not supported here: {NO_STREAMS}. Use the streaming address as the base URL"
        where = streaming_address()
        raise Problem(400, "unsupported_parameter", f"{message}: {where}" if where else f"{message}.", "stream")


def streaming_address() -> str:
    """Return the base URL that streams; empty when this deployment does not say."""
    base = settings().stream_url.rstrip("/")
    return f"{base}/v1" if base else ""


def acting(caller: Caller, user: str | None) -> Caller:
    """Let ``user`` name a trusted service's own user.

    Raises:
        Problem: it can be nobody's name.
    """
    if user is None or not caller.limits.trusted:
        return caller
    try:
        return caller.acting_for(_user_id.validate_python(user))
    except ValidationError as error:
        raise invalid("must be 1 to 64 of A-Z a-z 0-9 . _ : @ ~ -", "user") from error


def inline_of(messages: list[dict[str, Any]], param: str) -> list[int]:
    """Return the sizes of what stands in messages and is no text.

    Raises:
        Problem: it is too large.
    """
    sizes = inline(messages)
    if sum(sizes) > INLINE_BYTES:
        message = f"images and files in a request may have {INLINE_BYTES} bytes together, as they are written there"
        raise Problem(413, "too_large", message, param)
    showable(messages, param)
    return sizes


def run(
    request: Request,
    caller: Caller,
    wanted: Callable[[], Submission],
    *,
    place: str,
    body: dict[str, Any],
    key: str | None,
) -> tuple[Task, dict[str, str]]:
    """Make the run that a request asks for, or join the one that it made before; returns it with headers.

    ``place`` keeps kinds of request apart; ``key`` is the client's idempotency key.

    Raises:
        Problem, DependencyDown: nothing was written or charged.
    """
    idempotency = idempotency_of(key, body, place=place)
    rejoin = Rejoin(caller.user, place, body, request.headers)
    if idempotency is not None:
        receipt: Receipt = submit(caller, wanted(), idempotency=idempotency, trace=request.state.trace)
    elif earlier := rejoin.find():
        return earlier, {"Idempotent-Replayed": "true", **ends.headers_of(earlier)}
    else:
        with rejoin.taking():
            receipt = submit(caller, wanted(), trace=request.state.trace)
            rejoin.remember(receipt.task.task_id)
    return receipt.task, {**receipt.headers, **ends.headers_of(receipt.task)}


def answered(request: Request, caller: Caller, task: Task, headers: dict[str, str], shown_id: str, how: str) -> Task:
    """Wait for a run's answer; ``how`` says how it is had later. ``headers`` gets what `await_end` gives it.

    Raises:
        Problem: the run failed, was cancelled, or goes on. Frameworks would take another answer for the run's.
    """
    task = await_end(request, caller, task, headers)
    if not task.status.terminal:
        raise ends.unfinished(task, shown_id, streaming_address(), how=how)
    problem = ends.problem_of(task, shown_id)
    if problem is not None:
        raise problem
    return task


def await_end(request: Request, caller: Caller, task: Task, headers: dict[str, str]) -> Task:
    """Wait for a run's end, as long as this address can; returns the task as it then is.

    The run is accepted whatever fails from here on: the task comes back as it was last seen. ``headers`` gets what the
    answer is to say of the wait.
    """
    seen = task

    def look() -> Task:
        nonlocal seen
        seen = punctual(own_task(caller, task.task_id))
        return seen

    until = time.monotonic() + (life(request) if streams(request) else MAX_WAIT_SECONDS)
    context = request.scope.get("aws.context")
    try:
        while not seen.status.terminal and (left := until - time.monotonic()) > 0:
            hold(look, lambda task: task.status.terminal, left, context, Held(caller.user, headers))
            if "Retry-After" in headers:  # no place to wait in
                break
    except (SluiceError, ClientError, BotoCoreError) as error:
        log.warning("the end of a run was not seen", extra={"task_id": task.task_id}, exc_info=error)
    return seen


def server_sent(
    request: Request,
    caller: Caller,
    task: Task,
    encoded: Callable[[Event], str],
    headers: dict[str, str],
    *,
    pieces: bool,
    first: Page | None = None,
) -> StreamingResponse:
    """Answer with a run's log as server-sent events; ``encoded`` writes what each of its events gives.

    ``first`` is the beginning of the log, where it was just read.

    With ``pieces`` a text comes before it is stored, in parts: for streams that nobody takes up again.

    Raises:
        Problem: 429, the owner holds as many requests as it may. The run is made, and can be taken up by its id.
    """
    held = Held(caller.user, {})
    if not held.go_on():
        message = f"too many requests are held open; the run goes on as {task.task_id}"
        raise Problem(429, "too_many_streams", message, headers={"Retry-After": str(RETRY_AFTER_S)})

    until = time.monotonic() + life(request)

    async def blocks() -> AsyncGenerator[bytes]:
        try:
            events = follow(task.task_id, Place(), until=until, pieces=pieces, held=held, first=first)
            async with aclosing(events) as items:
                async for item in items:
                    match item:
                        case KeepAlive():
                            yield sse.KEEP_ALIVE
                        case LogEvent(event):
                            ended = event.type in TERMINAL_EVENTS
                            text = await asyncio.to_thread(encoded, event) if ended else encoded(event)
                            if text:
                                yield text.encode()
                        case End(status=None):
                            message = "a stream is open for so long only; the run goes on"
                            yield _error(Problem(504, "stream_timeout", message))
                            return
            yield DONE.encode()
        except (SluiceError, ClientError, BotoCoreError) as error:
            yield _error(problem_of(error))

    answer = sse.response(blocks(), until=until, held=held)
    answer.headers.update(headers)
    return answer


def _error(problem: Problem) -> bytes:
    """Write what ends a stream before its run has ended; every reader raises at it."""
    return f"data: {dumps_line(openai_problem.body(problem))}\n\n".encode()
