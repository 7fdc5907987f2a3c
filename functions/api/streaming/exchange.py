"""One request of the streaming address: an event becomes an ASGI request, its answer goes out as it is written."""

import asyncio
import json
import os
import time
from typing import Any

from mangum.handlers import APIGateway, HTTPGateway
from starlette.types import ASGIApp, Message, Scope

from functions.api.door import error_answers
from functions.api.live import sse
from functions.api.streaming.runtime_api import Invocation, Refused, RuntimeApi, Writer, prelude
from shared.logs import get_logger

DEADLINE_MARGIN_SECONDS = 2.0
"""Left of the function's own time when an answer that is still being written is broken off."""
STOP_SECONDS = 1.0
"""How long an application that is told to stop may take."""
TAKEN_SECONDS = 60.0
"""How long a client may take to read an answer that is no event stream: 6 MB at 0.8 Mbit/s. Whoever reads nothing, or
a byte now and then, would keep the environment for the function's whole time, and is no held request that is counted.
An event stream has its own longest life (`sse.Lasting`)."""
PIECE_BYTES = 64 * 1024
"""What is written of an answer at a time."""

_CONFIG: Any = {"api_gateway_base_path": "/", "text_mime_types": [], "exclude_headers": []}
_log = get_logger("streaming")


class Context:
    """What Lambda's own runtime hands to a handler, as far as the API uses it."""

    def __init__(self, invocation: Invocation) -> None:
        self.aws_request_id = invocation.request_id
        self.function_name = os.environ.get("AWS_LAMBDA_FUNCTION_NAME", "")
        self._deadline = invocation.deadline

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds until Lambda ends the function."""
        return max(0, int((self._deadline - time.time()) * 1000))


async def serve(app: ASGIApp, api: RuntimeApi, invocation: Invocation) -> None:
    """Answer one invocation.

    Raises:
        OSError, EOFError, Refused: the runtime API did not take the answer.
    """
    event = json.loads(invocation.body)
    if not isinstance(event, dict) or "requestContext" not in event:
        # API Gateway may call once more when a streamed answer is complete. That is no request, and wants no answer.
        await api.respond(invocation.request_id, b"null")
        return
    try:
        scope, body = _request(event, Context(invocation))
    except Exception as error:
        answer = error_answers.of_unreadable(error)
        writer = await api.stream(invocation.request_id)
        await writer.write(prelude(answer["statusCode"], answer["headers"]))
        await writer.write(answer["body"].encode())
        await writer.end()
        return
    await _Exchange(api, invocation, body).run(app, scope)


def _request(event: dict[str, Any], context: Any) -> tuple[Scope, bytes]:
    """Read an event of a Function URL (payload 2.0) or of a REST API (1.0)."""
    kind = HTTPGateway if event.get("version") == "2.0" else APIGateway
    request = kind(event, context, _CONFIG)
    scope: Any = request.scope
    scope["raw_path"] = None
    scope[sse.STREAMING] = True
    return scope, request.body


class _Exchange:
    def __init__(self, api: RuntimeApi, invocation: Invocation, body: bytes) -> None:
        self._api = api
        self._invocation = invocation
        self._body: bytes | None = body
        self._over = asyncio.Event()
        self._writer: Writer | None = None
        self._status = 0
        self._headers: dict[str, str] = {}
        self._complete = False
        self._broken: Exception | None = None
        self._until: float | None = None

    async def run(self, app: ASGIApp, scope: Scope) -> None:
        running = asyncio.ensure_future(app(scope, self._receive, self._send))
        time_left = self._invocation.deadline - time.time() - DEADLINE_MARGIN_SECONDS
        done, _ = await asyncio.wait([running], timeout=max(0.0, time_left))
        late = not done
        if late:
            self._over.set()  # the application sees its client leave, and cleans up
            done, _ = await asyncio.wait([running], timeout=STOP_SECONDS)
            if not done:
                running.cancel()
                await asyncio.wait([running])
        error = None if running.cancelled() else running.exception()
        if isinstance(error, Exception) and error is not self._broken:
            _log.error("unhandled error", exc_info=error)
        await self._finish(late, error)

    async def _finish(self, late: bool, error: BaseException | None) -> None:
        if self._broken is not None:
            raise self._broken
        if not self._complete and self._writer is not None and self._writer.stuck:
            self._writer.abandon()
            raise TimeoutError("the client took nothing of the answer for as long as it may")
        kind, message = "", ""
        if not self._complete:
            kind = "Sluice.Deadline" if late else f"Sluice.{type(error).__name__}" if error else "Sluice.Incomplete"
            message = "the function's time is over" if late else "the answer broke off"
            _log.error("answer broken off", extra={"request_id": self._invocation.request_id, "error": kind})
        if self._writer is None:
            await self._api.fail(f"/invocation/{self._invocation.request_id}", kind, message)
        else:
            await self._writer.end(kind, message)

    async def _receive(self) -> Message:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._over.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if self._broken is not None:
            return  # the application is told by `http.disconnect`
        try:
            await self._pass_on(message)
        except (OSError, EOFError, Refused) as error:
            self._broken = error
            self._over.set()
            if self._writer is not None:
                self._writer.abandon()

    async def _pass_on(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._writer = await self._api.stream(self._invocation.request_id)
            headers: dict[str, str] = {}
            for name, value in message.get("headers", ()):
                key, text = name.decode("latin-1").lower(), value.decode("latin-1")
                headers[key] = f"{headers[key]}, {text}" if key in headers else text
            if not headers.get("content-type", "").startswith(sse.MEDIA_TYPE):
                self._until = asyncio.get_running_loop().time() + TAKEN_SECONDS
            await self._writer.write(prelude(message["status"], headers))
        elif message["type"] == "http.response.body" and self._writer is not None:
            body = message.get("body", b"")
            async with asyncio.timeout_at(self._until):
                for start in range(0, len(body), PIECE_BYTES):
                    await self._writer.write(body[start : start + PIECE_BYTES])
            self._complete = not message.get("more_body", False)
