"""One request on its way to an environment and back."""

from __future__ import annotations

import asyncio
import base64
import json
import time
import uuid
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Mapping

NULS = b"\0" * 8
PRELUDE_BYTES = 64 * 1024
"""Longest prelude looked for."""
DOMAIN = "local.lambda-url.us-east-1.on.aws"


class Broken(Exception):
    """The environment did not answer, or broke its answer off."""


class Call:
    """An invocation: its event, and what has been answered."""

    def __init__(self, event: dict[str, Any], seconds: float) -> None:
        """Give it an id and a deadline."""
        self.id = str(uuid.uuid4())
        self.event = json.dumps(event).encode()
        self.deadline = time.time() + seconds
        self.head: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._chunks: asyncio.Queue[bytes | Broken | None] = asyncio.Queue()
        self._prelude: bytes | None = b""

    def data(self, data: bytes) -> None:
        """Take what the environment wrote: first the prelude, then the body.

        Raises:
            Broken: there is no prelude.
        """
        if self._prelude is not None:
            self._prelude += data
            head, found, rest = self._prelude.partition(NULS)
            if not found:
                if len(self._prelude) > PRELUDE_BYTES:
                    raise Broken("no prelude")
                return
            self._prelude, data = None, rest
            if not self.head.done():
                self.head.set_result(json.loads(head))
        if data:
            self._chunks.put_nowait(data)

    def whole(self, body: bytes) -> None:
        """Take an answer in one piece: a string or an object of status, headers and body."""
        said = json.loads(body)
        if not isinstance(said, dict) or "statusCode" not in said:
            said = {"statusCode": 200, "headers": {"content-type": "application/json"}, "body": body.decode()}
        text = str(said.pop("body", ""))
        if not self.head.done():
            self.head.set_result(said)
        self._chunks.put_nowait(base64.b64decode(text) if said.get("isBase64Encoded") else text.encode())

    def end(self) -> None:
        """Take the end of the answer."""
        if not self.head.done():
            self.head.set_exception(Broken("the answer has no prelude"))
        self._chunks.put_nowait(None)

    def break_off(self, why: str) -> None:
        """Note that nothing more will come; a second time is harmless."""
        if not self.head.done():
            self.head.set_exception(Broken(why))
            self.head.exception()  # whoever waits for it sees it; nobody may
        self._chunks.put_nowait(Broken(why))

    async def chunk(self) -> bytes | None:
        """Return the next piece of the body, None at its end.

        Raises:
            Broken: it broke off.
        """
        found = await self._chunks.get()
        if isinstance(found, Broken):
            raise found
        return found


def event_of(
    method: str, raw_path: bytes, query: bytes, headers: Mapping[str, str], client: str, body: bytes
) -> dict[str, Any]:
    """Make a Function URL's event (payload 2.0) of a request."""
    path = unquote(raw_path.decode("ascii"))
    now = time.time()
    sent = {name: value for name, value in headers.items() if name != "cookie"}
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query.decode("ascii"),
        "headers": sent,
        "requestContext": {
            "accountId": "anonymous",
            "apiId": "local",
            "domainName": DOMAIN,
            "domainPrefix": "local",
            "http": {
                "method": method,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": client,
                "userAgent": headers.get("user-agent", ""),
            },
            "requestId": str(uuid.uuid4()),
            "routeKey": "$default",
            "stage": "$default",
            "timeEpoch": int(now * 1000),
        },
        "isBase64Encoded": False,
    }
    if "cookie" in headers:
        event["cookies"] = headers["cookie"].split("; ")
    if body:
        event["body"] = base64.b64encode(body).decode()
        event["isBase64Encoded"] = True
    return event
