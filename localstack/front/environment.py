"""An environment: a process of the function's bundle, and the runtime API that it speaks to, on a port of its own."""

from __future__ import annotations

import asyncio
import base64
import sys
from typing import TYPE_CHECKING, Any

import h11

from localstack.front.calls import Broken, Call

if TYPE_CHECKING:
    from collections.abc import Sequence

API = "/2018-06-01/runtime"
RESTART_SECONDS = 0.3
READ_BYTES = 64 * 1024


class Environment:
    """Starts its process anew whenever it ends. ``waiting`` holds calls that no environment has taken yet."""

    def __init__(self, command: Sequence[str], variables: dict[str, str], waiting: asyncio.Queue[Call]) -> None:
        """Take how the process is started."""
        self._command = command
        self._variables = variables
        self._waiting = waiting
        self._taken: dict[str, Call] = {}
        self.ready = asyncio.Event()

    async def run(self) -> None:
        """Serve until cancelled."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=READ_BYTES)
        port = server.sockets[0].getsockname()[1]
        async with server:
            while True:
                await self._live(f"127.0.0.1:{port}")
                await asyncio.sleep(RESTART_SECONDS)

    async def _live(self, address: str) -> None:
        environment = {**self._variables, "AWS_LAMBDA_RUNTIME_API": address}
        process = await asyncio.create_subprocess_exec(*self._command, env=environment)
        try:
            code = await process.wait()
            print(f"environment ended with code {code}", file=sys.stderr, flush=True)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
            self.ready.clear()
            for call in list(self._taken.values()):
                call.break_off("Runtime.ExitError")
            self._taken.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = _Link(reader, writer)
        try:
            request = await link.next()
            if not isinstance(request, h11.Request):
                return
            path = request.target.decode()
            if path == f"{API}/invocation/next":
                await self._next(link, reader)
            elif path == f"{API}/init/error":
                print(f"start failed: {(await link.body()).decode(errors='replace')}", file=sys.stderr, flush=True)
                await link.answer(202)
            else:
                await self._answer(link, request, path)
        except (OSError, h11.ProtocolError) as error:
            print(f"runtime API: {error!r}", file=sys.stderr, flush=True)
        finally:
            writer.close()

    async def _next(self, link: _Link, reader: asyncio.StreamReader) -> None:
        await link.body()
        self.ready.set()
        taking = asyncio.ensure_future(self._waiting.get())
        gone = asyncio.ensure_future(reader.read(1))  # the process ends while it waits
        await asyncio.wait({taking, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not taking.done():
            taking.cancel()
            return
        gone.cancel()
        call = taking.result()
        self._taken[call.id] = call
        headers = {
            "Lambda-Runtime-Aws-Request-Id": call.id,
            "Lambda-Runtime-Deadline-Ms": str(int(call.deadline * 1000)),
            "Content-Type": "application/json",
        }
        await link.answer(200, call.event, headers)

    async def _answer(self, link: _Link, request: h11.Request, path: str) -> None:
        _, _, rest = path.partition("/invocation/")
        call_id, _, what = rest.partition("/")
        call = self._taken.get(call_id)
        if call is None or what not in ("response", "error"):
            await link.answer(400, b'{"errorType":"InvalidRequestID"}')
            return
        headers = {name.decode().lower(): value.decode() for name, value in request.headers}
        streaming = headers.get("lambda-runtime-function-response-mode") == "streaming"
        ended = False
        try:
            if what == "error":
                call.break_off((await link.body()).decode(errors="replace"))
            elif not streaming:
                call.whole(await link.body())
                call.end()
            else:
                await self._stream(link, call)
            ended = True
            await link.answer(202, b'{"status":"OK"}')
        finally:
            if not ended:
                call.break_off("the connection broke")
            self._taken.pop(call_id, None)

    async def _stream(self, link: _Link, call: Call) -> None:
        while isinstance(said := await link.next(), h11.Data):
            call.data(bytes(said.data))
        if not isinstance(said, h11.EndOfMessage):
            raise Broken("the answer was not ended")
        trailers = {name.decode().lower(): value.decode() for name, value in said.headers}
        if kind := trailers.get("lambda-runtime-function-error-type"):
            why: Any = base64.b64decode(trailers.get("lambda-runtime-function-error-body", ""))
            call.break_off(f"{kind} {why.decode(errors='replace')}")
        else:
            call.end()


class _Link:
    """One connection of the runtime API."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.SERVER)

    async def next(self) -> h11.Event | type[h11.PAUSED] | type[h11.NEED_DATA]:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(await self._reader.read(READ_BYTES))
        return event

    async def body(self) -> bytes:
        data = b""
        while isinstance(event := await self.next(), h11.Data):
            data += event.data
        return data

    async def answer(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        sent = [*(headers or {}).items(), ("Content-Length", str(len(body))), ("Connection", "close")]
        for event in (h11.Response(status_code=status, headers=sent), h11.Data(data=body), h11.EndOfMessage()):
            self._writer.write(self._http.send(event) or b"")
        await self._writer.drain()
