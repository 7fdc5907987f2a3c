"""No answer outlives its longest life, though its client stays and reads nothing; whoever reads gets all of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import pytest

from functions.api.live import sse
from functions.api.read.hold import Held
from functions.api.streaming import exchange, runtime_api
from functions.api.streaming.exchange import serve
from functions.api.streaming.runtime_api import Invocation, RuntimeApi

FAR = 3600.0
SCOPE = {"type": "http", "method": "GET", "path": "/", "headers": [], "asgi": {"spec_version": "2.0"}}


class Blocks:
    """A stream of so many blocks, of which it is known whether it was closed."""

    def __init__(self, count: int, size: int = 10) -> None:
        self.closed, self.given = False, 0
        self._count, self._size = count, size

    async def __call__(self) -> AsyncGenerator[bytes]:
        try:
            for _ in range(self._count):
                self.given += 1
                yield b"x" * self._size
                await asyncio.sleep(0)
        finally:
            self.closed = True


async def never() -> dict[str, Any]:
    await asyncio.Event().wait()
    raise AssertionError


def respond(answer: Any, send: Callable[[Any], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(answer(SCOPE, never, send), 30))


def taking(most: int, got: list[bytes]) -> Callable[[Any], Awaitable[None]]:
    """Take so many parts of an answer, then nothing more."""

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            if len(got) >= most:
                await never()
            got.append(message["body"])

    return send


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "GRACE_SECONDS", 0.2)
    monkeypatch.setattr(sse, "LOOK_SECONDS", 0.05)


def test_a_stream_that_nobody_reads_is_over_when_its_life_is() -> None:
    blocks, got = Blocks(100), list[bytes]()

    async def main() -> None:
        stream = blocks()
        await anext(stream)  # what was never begun holds nothing that it could give back
        answer = sse.response(stream, until=time.monotonic() + 1)
        await asyncio.wait_for(answer(SCOPE, never, taking(3, got)), 30)

    asyncio.run(main())
    assert blocks.given < 100
    assert blocks.closed


def test_one_that_is_read_is_whole_though_it_ends_with_its_life(monkeypatch: pytest.MonkeyPatch) -> None:
    """The grace is for whoever takes what there is: saying the end comes after the time is over."""
    monkeypatch.setattr(sse, "GRACE_SECONDS", 20.0)
    blocks, got = Blocks(5), list[bytes]()
    respond(sse.response(blocks(), until=time.monotonic()), taking(100, got))
    assert got == [*[b"x" * 10] * 5, b""]


def test_one_whose_place_was_lost_is_over_though_nobody_reads_it() -> None:
    blocks, got, held = Blocks(100), list[bytes](), Held("demo", {})

    async def main() -> None:
        answer = sse.response(blocks(), until=time.monotonic() + FAR, held=held)
        writing = asyncio.create_task(answer(SCOPE, never, taking(1, got)))
        await asyncio.sleep(0.3)
        assert not writing.done(), "its life is not over and its place not lost"
        held.lost = True
        await asyncio.wait_for(writing, 30)

    asyncio.run(main())
    assert blocks.closed


class Deaf:
    """A runtime API that takes the head of an answer, and of its body nothing until it may."""

    def __init__(self) -> None:
        self.has_head, self.may_read = asyncio.Event(), asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        transport: Any = writer.transport
        transport.pause_reading()
        self.has_head.set()
        await self.may_read.wait()
        transport.resume_reading()
        with contextlib.suppress(ConnectionError):
            while await reader.read(1 << 20):
                pass
        writer.close()


def answered(app: Any, runtime: Any) -> None:
    """Serve one invocation to a runtime API.

    Raises:
        OSError: it did not take the answer.
    """

    async def main() -> None:
        server = await asyncio.start_server(runtime, "127.0.0.1", 0, limit=1024)
        api = RuntimeApi(f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
        http = {"method": "GET", "path": "/", "sourceIp": "127.0.0.1"}
        event = {
            "version": "2.0", "rawPath": "/", "rawQueryString": "", "headers": {"host": "x"},
            "requestContext": {"http": http, "stage": "$default"}, "isBase64Encoded": False,
        }  # fmt: skip
        invocation = Invocation("r1", time.time() + FAR, "", json.dumps(event).encode())
        try:
            await asyncio.wait_for(serve(app, api, invocation), 60)
        finally:
            if isinstance(runtime, Deaf):
                runtime.may_read.set()
            server.close()

    asyncio.run(main())


async def large(_scope: Any, _receive: Any, send: Any) -> None:
    head = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": b"y" * 30_000_000})


def test_a_large_answer_that_nobody_reads_gives_its_environment_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "TAKEN_SECONDS", 0.2)
    with pytest.raises(TimeoutError):
        answered(large, Deaf())


def test_so_does_a_stream() -> None:
    blocks, runtime, held = Blocks(1000, 1_000_000), Deaf(), Held("demo", {})

    async def lose() -> None:
        await runtime.has_head.wait()
        given = -1
        while blocks.given != given:  # it writes until nothing fits any more
            given = blocks.given
            await asyncio.sleep(0.05)
        held.lost = True

    async def app(scope: Any, receive: Any, send: Any) -> None:
        losing = asyncio.create_task(lose())
        await sse.response(blocks(), until=time.monotonic() + FAR, held=held)(scope, receive, send)
        await losing

    with pytest.raises(TimeoutError):
        answered(app, runtime)
    assert 0 < blocks.given < 1000
    assert blocks.closed


def test_an_end_that_is_not_taken_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_api, "END_SECONDS", 0.1)

    async def short(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"y"})

    with pytest.raises(TimeoutError):
        answered(short, Deaf())


def test_a_large_answer_that_is_read_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "TAKEN_SECONDS", 30.0)
    got: list[int] = []

    async def runtime(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        while size := int(await reader.readline(), 16):
            got.append(len(await reader.readexactly(size)))
            await reader.readexactly(2)
        await reader.readexactly(2)
        writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    answered(large, runtime)
    assert max(got) <= exchange.PIECE_BYTES
    assert sum(got[1:]) == 30_000_000
