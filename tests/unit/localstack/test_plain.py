"""The local AWS's quick way for plain requests: what is not plain goes to hypercorn as it came."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from localstack.strict import plain

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HEAD = b"POST /a%20b?x=1&y=%2F HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nX-Two: 1\r\nX-Two: 2\r\n\r\n"


async def echo(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer with what was asked."""
    came = await receive()
    body = repr((scope["method"], scope["path"], scope["raw_path"], scope["query_string"], came["body"])).encode()
    size = [(b"Content-Length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": size})
    await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def served(app: Any, idle_s: float = 60) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Serve ``app``; yields the port and what was handed over."""
    over: list[bytes] = []

    async def others(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        over.append(await reader.read(100_000))
        writer.write(b"hypercorn's")
        writer.close()

    runner: Any = SimpleNamespace()
    plain.install(runner, app, idle_s)
    listening = socket.create_server(("127.0.0.1", 0))
    server = await runner.asyncio.start_server(others, backlog=5, sock=listening)
    try:
        yield listening.getsockname()[1], over
    finally:
        server.close()
        await asyncio.wait_for(server.wait_closed(), 10)  # which waits for connections


async def said(port: int, *pieces: bytes, until: bytes = b"") -> bytes:
    """Send pieces one after the other; returns what came until then, or until the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0.01)
    try:
        return await (reader.readuntil(until) if until else reader.read())
    finally:
        writer.close()
        await writer.wait_closed()


def test_a_request_is_served_however_it_comes_in_pieces() -> None:
    async def go() -> None:
        async with served(echo) as (port, over):
            whole = HEAD + b"abc"
            for at in (0, 1, 20, len(HEAD) - 2, len(HEAD), len(HEAD) + 1):
                got = await said(port, whole[:at], whole[at:], until=b"b'abc')")
                assert got.startswith(b"HTTP/1.1 200 OK\r\nContent-Length: ")
                assert b"('POST', '/a b', b'/a%20b', b'x=1&y=%2F', b'abc')" in got
            assert not over

    asyncio.run(go())


def test_requests_that_come_together_are_answered_in_turn_and_close_ends_them() -> None:
    async def go() -> None:
        async with served(echo) as (port, _):
            second = b"GET /second HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
            got = await said(port, HEAD + b"abc" + second)
            assert got.count(b"HTTP/1.1 200") == 2
            assert got.index(b"/a b") < got.index(b"/second")

    asyncio.run(go())


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.0\r\nHost: h\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET /\x80 HTTP/1.1\r\nHost: h\r\n\r\n",
        b"get / HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"PUT / HTTP/1.1\r\nHost: h\r\nExpect: 200-ok\r\nContent-Length: 3\r\n\r\n",
        b"PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
        b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: +3\r\n\r\nabc",
        b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 134217729\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nHost: other\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n folded\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nX : a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nX: a\0b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\nX: a\r\n\r\n",
        b"\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET /" + b"x" * 17_000,
    ],
)
def test_what_is_not_plain_is_handed_over_with_all_that_came(head: bytes) -> None:
    async def go() -> None:
        async with served(echo) as (port, over):
            assert await said(port, head) == b"hypercorn's"
            assert over == [head]
            after_one = await said(port, HEAD + b"abc" + head)
            assert after_one.startswith(b"HTTP/1.1 200 OK")
            assert after_one.endswith(b"hypercorn's")
            assert over == [head, head]

    asyncio.run(go())


def test_who_asks_whether_to_go_on_is_told_so_once_and_a_large_body_comes_whole() -> None:
    async def size(scope: dict[str, Any], receive: Any, send: Any) -> None:
        body = b"%d" % len((await receive())["body"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    async def go() -> None:
        async with served(size) as (port, over):
            head = b"PUT / HTTP/1.1\r\nHost: h\r\nExpect: 100-Continue\r\nConnection: close\r\n"
            head += b"Content-Length: 3000000\r\n\r\n"
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(head)
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            for _ in range(30):
                writer.write(b"x" * 100_000)
                await writer.drain()
            answer = await reader.read()
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
            assert answer.endswith(b"\r\n7\r\n3000000\r\n0\r\n\r\n")
            writer.close()
            whole = await said(port, head + b"x" * 3_000_000)  # sent unasked: nobody needs to be told
            assert b"3000000" in whole
            assert not over

    asyncio.run(go())


def test_answers_of_unknown_length_come_in_chunks_and_heads_have_no_body() -> None:
    async def pieces(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 299, "headers": [(b"a", b"b")]})
        for piece in (b"one", b"", b"three"):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def go() -> None:
        async with served(pieces) as (port, _):
            close = b" / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
            head = b"HTTP/1.1 299 \r\na: b\r\n"
            got = await said(port, b"GET" + close)
            assert got == head + b"transfer-encoding: chunked\r\n\r\n3\r\none\r\n5\r\nthree\r\n0\r\n\r\n"
            assert await said(port, b"HEAD" + close) == head + b"\r\n"

    asyncio.run(go())


def test_an_application_that_fails_is_told_as_500_and_one_that_breaks_off_closes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def fails(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["path"] == "/late":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9")]})
            await send({"type": "http.response.body", "body": b"abc", "more_body": True})
        raise ValueError("of the application")

    async def go() -> None:
        async with served(fails) as (port, _):
            assert (await said(port, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")).startswith(b"HTTP/1.1 500 ")
            assert (await said(port, b"GET /late HTTP/1.1\r\nHost: h\r\n\r\n")).endswith(b"\r\n\r\nabc")

    asyncio.run(go())
    assert "of the application" in capsys.readouterr().err


def test_who_leaves_is_told_of() -> None:
    left = asyncio.Event()

    async def waits(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await receive()
        assert (await receive())["type"] == "http.disconnect"
        left.set()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"too late"})

    async def go() -> None:
        async with served(waits) as (port, _):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(HEAD + b"abc")
            await writer.drain()
            writer.close()
            await asyncio.wait_for(left.wait(), 10)

    asyncio.run(go())


def test_idle_connections_are_closed_and_shutting_down_waits_for_no_client() -> None:
    async def go() -> None:
        async with served(echo, idle_s=0.05) as (port, _):
            assert (await said(port, HEAD + b"abc")).endswith(b"b'abc')")  # to the end: the server closes
        async with served(echo) as (port, _):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(HEAD + b"abc")
            await reader.readuntil(b"b'abc')")
        assert await reader.read() == b""  # its `wait_closed` came back
        writer.close()

    asyncio.run(go())


def test_an_answer_cannot_smuggle_a_header() -> None:
    async def smuggles(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"a", b"b\r\nc: d")]})

    async def go() -> None:
        async with served(smuggles) as (port, _):
            got = await said(port, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            assert got.startswith(b"HTTP/1.1 500 ")
            assert b"c: d" not in got

    asyncio.run(go())
