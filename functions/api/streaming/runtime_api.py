"""Lambda's runtime API as a streaming function speaks it: HTTP/1.1 to one local address, a connection a request.

https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html and, for answers in chunks,
https://docs.aws.amazon.com/lambda/latest/dg/runtimes-custom.html.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ROOT = "/2018-06-01/runtime"
HEADER_BYTES = 64 * 1024
"""Longest line of an answer's head."""
END_SECONDS = 30.0
"""How long the end of an answer, and what is still on its way, may take to be taken."""
ERROR_TYPE = "Lambda-Runtime-Function-Error-Type"
ERROR_BODY = "Lambda-Runtime-Function-Error-Body"


class Refused(Exception):
    """The runtime API gave another answer than was asked for."""


@dataclass(frozen=True, slots=True)
class Invocation:
    """An event and what Lambda says of it; ``deadline`` in epoch seconds."""

    request_id: str
    deadline: float
    trace: str
    body: bytes


class RuntimeApi:
    """Asks for events and posts answers."""

    def __init__(self, address: str) -> None:
        """Take ``AWS_LAMBDA_RUNTIME_API``: host and port."""
        self._host, _, port = address.rpartition(":")
        self._port = int(port)

    async def next(self) -> Invocation:
        """Wait for an event; as long as it takes, as the environment is frozen meanwhile.

        Raises:
            OSError, EOFError, Refused: there will be none.
        """
        status, headers, body = await self._ask("GET", "/invocation/next", {}, b"")
        if status != 200:
            raise Refused(f"next: {status}")
        return Invocation(
            headers["lambda-runtime-aws-request-id"],
            int(headers.get("lambda-runtime-deadline-ms", "0")) / 1000,
            headers.get("lambda-runtime-trace-id", ""),
            body,
        )

    async def respond(self, request_id: str, body: bytes) -> None:
        """Post a whole answer."""
        await self._ask("POST", f"/invocation/{request_id}/response", {"Content-Type": "application/json"}, body)

    async def stream(self, request_id: str) -> Writer:
        """Begin to post an answer in chunks."""
        reader, writer = await self._connect()
        head = {
            "Content-Type": "application/vnd.awslambda.http-integration-response",
            "Lambda-Runtime-Function-Response-Mode": "streaming",
            "Transfer-Encoding": "chunked",
            "Trailer": f"{ERROR_TYPE}, {ERROR_BODY}",
        }
        writer.write(self._head("POST", f"/invocation/{request_id}/response", head))
        return Writer(reader, writer)

    async def fail(self, place: str, kind: str, message: str) -> None:
        """Report an error: of an invocation (``/invocation/{id}``), or of the start (``/init``)."""
        headers = {"Content-Type": "application/json", ERROR_TYPE: kind}
        await self._ask("POST", f"{place}/error", headers, _error(kind, message))

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(self._host, self._port, limit=HEADER_BYTES)

    def _head(self, method: str, path: str, headers: Mapping[str, str]) -> bytes:
        lines = [f"{method} {ROOT}{path} HTTP/1.1", f"Host: {self._host}:{self._port}", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    async def _ask(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        reader, writer = await self._connect()
        try:
            length = {"Content-Length": str(len(body))} if method == "POST" else {}
            writer.write(self._head(method, path, dict(headers) | length) + body)
            await writer.drain()
            return await _answer(reader)
        finally:
            writer.close()


class Writer:
    """An answer under way. Lambda reads on when the client has left: nothing here tells of that."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._drained = True

    @property
    def stuck(self) -> bool:
        """Whether the other side has not taken what was last written: a client reads slowly, or not at all."""
        return not self._drained

    async def write(self, data: bytes) -> None:
        """Send a chunk, at once.

        Raises:
            OSError: the other side has closed the connection.
        """
        if not data:
            return  # an empty chunk is the end
        if self._reader.at_eof():
            raise ConnectionResetError("the runtime API closed the answer")
        self._drained = False
        self._writer.write(b"%x\r\n%b\r\n" % (len(data), data))
        await self._writer.drain()
        self._drained = True

    async def end(self, kind: str = "", message: str = "") -> None:
        """End the answer; with the kind of an error that broke it off, told in trailers.

        Raises:
            OSError, EOFError, Refused: it was not taken; not within `END_SECONDS` (TimeoutError is an OSError).
        """
        trailers = ""
        if kind:
            trailers = f"{ERROR_TYPE}: {kind}\r\n"
            trailers += f"{ERROR_BODY}: {base64.b64encode(_error(kind, message)).decode()}\r\n"
        try:
            self._writer.write(f"0\r\n{trailers}\r\n".encode())
            async with asyncio.timeout(END_SECONDS):
                await self._writer.drain()
                status, _, _ = await _answer(self._reader)
            if status >= 300:
                raise Refused(f"response: {status}")
        except TimeoutError:
            self.abandon()
            raise
        finally:
            self._writer.close()

    def abandon(self) -> None:
        """Break the connection off, without an end. What the other side has not taken is lost."""
        self._writer.transport.abort()


def prelude(status: int, headers: Mapping[str, str]) -> bytes:
    """Return what comes before the body: status and headers in JSON, and eight NUL bytes."""
    return json.dumps({"statusCode": status, "headers": dict(headers)}).encode() + b"\0" * 8


def _error(kind: str, message: str) -> bytes:
    return json.dumps({"errorMessage": message, "errorType": kind, "stackTrace": []}).encode()


async def _answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    """Read one answer: status, headers by lower-case name, body."""
    status = int((await _line(reader)).split()[1])
    headers: dict[str, str] = {}
    while line := await _line(reader):
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body = b""
        while size := int((await _line(reader)).partition(";")[0], 16):
            body += await reader.readexactly(size)
            await _line(reader)
        while await _line(reader):
            pass
        return status, headers, body
    return status, headers, await reader.readexactly(int(headers.get("content-length", "0")))


async def _line(reader: asyncio.StreamReader) -> str:
    line: Any = await reader.readline()
    if not line:
        raise EOFError("the runtime API closed the connection")
    return str(line.decode("latin-1")).rstrip("\r\n")
