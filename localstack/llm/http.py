"""The little of HTTP that the simulator needs on top of ASGI."""

import json
import uuid
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from localstack.llm import wire
from localstack.llm.faults import ApiError, invalid

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

MAX_BODY = 32 * 1024 * 1024
_JSON = (b"content-type", b"application/json")


def common_headers() -> Headers:
    """What every answer of OpenAI carries, a request id of its own included."""
    return [
        (b"x-request-id", b"req_" + uuid.uuid4().hex.encode()),
        (b"openai-version", b"2020-10-01"),
        (b"openai-organization", b"org-simulator"),
        (b"access-control-expose-headers", b"X-Request-ID"),
    ]


async def read_body(receive: Receive) -> bytes | None:
    """The whole body; ``None`` if the client left before it was sent.

    Raises:
        ApiError: 413, it is above 32 MiB.
    """
    message = await receive()
    body: bytes = message.get("body", b"")
    if message["type"] == "http.request" and not message.get("more_body"):
        return body
    parts = [body]
    size = len(body)
    while message["type"] != "http.disconnect":
        if not message.get("more_body"):
            return b"".join(parts)
        message = await receive()
        size += len(message.get("body", b""))
        if size > MAX_BODY:
            raise invalid("The request is too large.", status=413)
        parts.append(message.get("body", b""))
    return None


async def start(send: Send, status: int, headers: Headers) -> None:
    """Sends status and headers."""
    await send({"type": "http.response.start", "status": status, "headers": headers})


async def write(send: Send, body: bytes, *, more: bool = False) -> None:
    """Sends a piece of the body."""
    await send({"type": "http.response.body", "body": body, "more_body": more})


async def send_whole(send: Send, status: int, body: bytes, headers: Headers) -> None:
    """Sends an answer in one piece, as JSON."""
    await start(send, status, [_JSON, (b"content-length", b"%d" % len(body)), *headers])
    await write(send, body)


async def send_json(send: Send, status: int, payload: Mapping[str, object]) -> None:
    """Sends an object as JSON."""
    await send_whole(send, status, json.dumps(payload).encode(), common_headers())


async def send_error(send: Send, error: ApiError, headers: Headers | None = None) -> None:
    """Sends an error in OpenAI's shape."""
    extra = [(name.encode(), value.encode()) for name, value in error.headers.items()]
    body = wire.error_body(error.refusal)
    await send_whole(send, error.refusal.status, body, [*(headers or common_headers()), *extra])
