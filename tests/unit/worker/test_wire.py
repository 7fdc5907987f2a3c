"""The transport of model calls: HTTP/1.1 as servers really speak it, and a pool that loses no place."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import gzip
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.worker.environment import clients, loop
from functions.worker.wire import pool
from functions.worker.wire.connection import AHEAD_BYTES, HEAD_BYTES, _buffer
from functions.worker.wire.transport import WHOLE_BODY, Transport
from tests.examples import examples

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"
LOOPS = {"libuv's": loop.new, "asyncio's": asyncio.new_event_loop}
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


_made: list[Callable[[], asyncio.AbstractEventLoop]] = []


@pytest.fixture(params=LOOPS, autouse=True)
def either_loop(request: pytest.FixtureRequest) -> Iterator[None]:
    """Have each test run on the loop that an environment has, and on the one where that is not installed."""
    _made.append(LOOPS[request.param])
    yield
    _made.clear()


def run[T](main: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=_made[-1]) as runner:
        return runner.run(main)


def certificate(folder: Path) -> Path:
    """Make a certificate of this address, with its key in the same file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    at = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(at - datetime.timedelta(hours=1))
        .not_valid_after(at + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "both.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


def limits(most: int = 100, kept: int = 100, keep_s: float | None = 55.0) -> httpx2.Limits:
    return httpx2.Limits(max_connections=most, max_keepalive_connections=kept, keepalive_expiry=keep_s)


class Served:
    """A server of a test's own, and how many connections it was given."""

    url = ""
    connections = 0

    def __init__(self) -> None:
        self.writers: list[asyncio.StreamWriter] = []


@contextlib.asynccontextmanager
async def serving(serve: Serve, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[Served]:
    """Serve each connection with ``serve``."""
    served = Served()

    async def ended(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.connections += 1
        served.writers.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await serve(reader, writer)
        writer.close()

    server = await asyncio.start_server(ended, "127.0.0.1", 0, ssl=tls)
    served.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    try:
        yield served
    finally:
        for writer in served.writers:
            writer.transport.abort()
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0)


TRUSTING = ssl.create_default_context()
"""It reads the authorities' certificates: 20 ms, which hundreds of clients of servers without TLS need not wait for."""


def client(transport: Transport | None = None, **options: object) -> httpx2.AsyncClient:
    made = transport or Transport(limits(), TRUSTING)
    patient: dict[str, object] = {"timeout": 60}  # five seconds are not enough on a busy machine
    return httpx2.AsyncClient(transport=made, **patient | options)  # type: ignore[arg-type]


async def request_of(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Read a request: its head and its body."""
    head = await reader.readuntil(b"\r\n\r\n")
    lower = head.lower()
    if b"transfer-encoding: chunked" in lower:
        body = b""
        while size := int(await reader.readuntil(b"\r\n"), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readexactly(2)
        return head, body
    length = int(lower.partition(b"content-length: ")[2].partition(b"\r\n")[0] or b"0")
    return head, await reader.readexactly(length)


def answering(*answers: bytes, close: bool = False) -> Serve:
    """Answer each request with these bytes, each written by itself."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await request_of(reader)
            for part in answers:
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(0)
            if close:
                return

    return serve


async def ask(answer: bytes, *, method: str = "POST", close: bool = False) -> httpx2.Response:
    async with serving(answering(answer, close=close)) as served, client() as asking:
        return await asking.request(method, served.url, content=b"{}" if method == "POST" else None)


def test_the_model_client_uses_it_unless_there_is_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    try:
        clients.http.cache_clear()
        assert type(clients.http()._transport) is Transport
        run(clients.http().aclose())
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
        clients.http.cache_clear()
        assert type(clients.http()._transport) is httpx2.AsyncHTTPTransport
        run(clients.http().aclose())
    finally:
        clients.http.cache_clear()


@pytest.mark.parametrize("tls", [False, True])
def test_a_connection_is_used_again_until_its_server_closes_it(tls: bool, tmp_path: Path) -> None:
    served_with, trusting = None, ssl.create_default_context()
    if tls:
        pem = certificate(tmp_path)
        served_with = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        served_with.load_cert_chain(pem)
        trusting = ssl.create_default_context(cafile=pem)

    async def main() -> None:
        async with (
            serving(answering(ANSWER), tls=served_with) as served,
            client(Transport(limits(), trusting)) as asking,
        ):
            for _ in range(3):
                assert (await asking.post(served.url, json={"a": 1})).text == "hi"
            assert served.connections == 1
            served.writers[0].close()
            await asyncio.sleep(0.05)
            assert (await asking.post(served.url, json={"a": 1})).text == "hi"
            assert served.connections == 2

    run(main())


def test_a_close_that_the_loop_has_not_seen_yet_is_seen_before_a_connection_is_used_again() -> None:
    """As after a freeze: what came meanwhile waits in the socket."""

    async def main() -> None:
        async with serving(answering(ANSWER)) as served, client() as asking:
            await asking.get(served.url)
            (connection,) = asking._transport._pool._open  # type: ignore[attr-defined]
            connection._transport.pause_reading()  # the loop looks no more
            served.writers[0].close()
            await asyncio.sleep(0.05)
            assert (await asking.get(served.url)).text == "hi"
            assert served.connections == 2

    run(main())


def test_a_certificate_that_nobody_signed_is_refused(tmp_path: Path) -> None:
    served_with = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    served_with.load_cert_chain(certificate(tmp_path))

    async def main() -> None:
        async with serving(answering(ANSWER), tls=served_with) as served, client() as asking:
            with pytest.raises(httpx2.ConnectError):
                await asking.get(served.url)

    run(main())


@pytest.mark.parametrize(
    ("answer", "close", "text"),
    [
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", False, "hi"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nhi\r\n0\r\nTrailer: x\r\n\r\n", False, "hi"),
        (b"HTTP/1.1 200 OK\r\n\r\nhi", True, "hi"),
        (b"HTTP/1.0 200 OK\r\n\r\nhi", True, "hi"),
        (b"HTTP/1.1 200 OK\nContent-Length: 2\n\nhi", False, "hi"),
        (b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nhi", False, "hi"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", False, ""),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + ANSWER, False, "hi"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
            False,
            "hi",
        ),
        (b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 50_000 + b"\r\nContent-Length: 2\r\n\r\nhi", False, "hi"),
    ],
)
def test_answers_are_read_as_servers_write_them(answer: bytes, close: bool, text: str) -> None:
    got = run(ask(answer, close=close))
    assert got.text == text
    assert "link" not in got.headers  # of an answer before the answer
    assert "trailer" not in got.headers


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", httpx2.RemoteProtocolError),
        (b"HTTP/1.1 200 OK\r\nContent-Le", httpx2.RemoteProtocolError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi", httpx2.RemoteProtocolError),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n", httpx2.RemoteProtocolError),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhi\r\n", httpx2.RemoteProtocolError),
        (b"SSH-2.0-OpenSSH_9.9\r\n", httpx2.RemoteProtocolError),
        (b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", httpx2.RemoteProtocolError),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 2 * HEAD_BYTES + b"\r\n\r\n", httpx2.RemoteProtocolError),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * HEAD_BYTES + b"\r\n", httpx2.RemoteProtocolError),
    ],
)
def test_what_is_no_answer_is_an_error_and_its_connection_is_closed(answer: bytes, error: type[Exception]) -> None:
    async def main() -> None:
        async with serving(answering(answer, close=True)) as served, client() as asking:
            with pytest.raises(error):
                await asking.post(served.url, content=b"{}")
            await asyncio.sleep(0)
            pool = asking._transport._pool  # type: ignore[attr-defined]
            assert (pool._places, pool._idle_count) == (0, 0)

    run(main())


@pytest.mark.parametrize(
    "answer",
    [
        ANSWER + b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nother",
        ANSWER + b"rest",
        ANSWER.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"),
    ],
)
def test_a_connection_that_holds_more_than_one_answer_is_not_used_again(answer: bytes) -> None:
    async def main() -> None:
        async with serving(answering(answer)) as served, client() as asking:
            for number in (1, 2, 3):
                assert (await asking.get(served.url)).text == "hi"
                assert served.connections == number

    run(main())


def test_an_answer_without_body_is_read_as_one() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"
    assert run(ask(answer, method="HEAD")).headers["content-length"] == "100"


@settings(max_examples=examples(40, usual=15), deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=60), min_size=1, max_size=8), st.data())
def test_an_answer_is_the_same_wherever_it_is_cut(pieces: list[bytes], data: st.DataObject) -> None:
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    whole = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
    cuts = sorted(data.draw(st.sets(st.integers(1, len(whole) - 1), max_size=6)))
    parts = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]

    async def main() -> None:
        async with serving(answering(*parts)) as served, client() as asking:
            for _ in range(2):
                assert (await asking.get(served.url)).content == b"".join(pieces)
            assert served.connections == 1

    run(main())


@pytest.mark.parametrize("chunked", [False, True])
def test_a_large_request_arrives_whole_however_slowly_it_is_read(chunked: bool) -> None:
    sent = b"0123456789" * 300_000
    got: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.1)
        got.append((await request_of(reader))[1])
        writer.write(ANSWER)
        await writer.drain()

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(sent), 70_000):
            yield sent[start : start + 70_000]

    async def main() -> None:
        async with serving(serve) as served, client(timeout=httpx2.Timeout(60)) as asking:
            assert (await asking.post(served.url, content=pieces() if chunked else sent)).text == "hi"

    run(main())
    assert got == [sent]


def test_an_answer_is_not_read_far_ahead_of_its_reader() -> None:
    size = 20 * AHEAD_BYTES

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        writer.write(b"x" * size)
        await writer.drain()

    async def main() -> None:
        async with serving(serve) as served, client() as asking, asking.stream("GET", served.url) as answer:
            await asyncio.sleep(0.2)
            (connection,) = asking._transport._pool._open  # type: ignore[attr-defined]
            assert connection._ahead <= AHEAD_BYTES + len(_buffer)
            assert sum([len(piece) async for piece in answer.aiter_raw()]) == size

    run(main())


def test_an_answer_that_comes_before_the_request_is_sent_is_heard() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
        await writer.drain()
        await asyncio.sleep(0.2)

    async def main() -> None:
        async with serving(serve) as served, client() as asking:
            got = await asking.post(served.url, content=b"x" * 50_000)
            assert (got.status_code, got.text) == (413, "no")

    run(main())


@pytest.mark.parametrize(
    ("headers", "sent"),
    [({"x": "a\r\nb: c"}, False), ({"x": "a\nb"}, False), ({"x": "a\0"}, False), ({"x": "ä".encode()}, True)],
)
def test_a_header_cannot_smuggle_another(headers: dict[str, str], sent: bool) -> None:
    async def main() -> None:
        async with serving(answering(ANSWER)) as served, client() as asking:
            if sent:
                await asking.get(served.url, headers=headers)
                return
            with pytest.raises(httpx2.LocalProtocolError):
                await asking.get(served.url, headers=headers)

    run(main())


@pytest.mark.parametrize(
    ("timeout", "error"),
    [
        (httpx2.Timeout(60, read=0.05), httpx2.ReadTimeout),
        (httpx2.Timeout(60, write=0.05), httpx2.WriteTimeout),
        (httpx2.Timeout(60, pool=0.05), httpx2.PoolTimeout),
    ],
)
def test_each_timeout_has_its_own_error_and_gives_its_place_back(
    timeout: httpx2.Timeout, error: type[Exception]
) -> None:
    async def silent(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    async def main() -> None:
        transport = Transport(limits(most=1), ssl.create_default_context())
        async with serving(silent) as served, client(transport, timeout=timeout) as asking:
            first = None
            if error is httpx2.PoolTimeout:
                first = asyncio.create_task(asking.get(served.url))
                await asyncio.sleep(0.02)
            with pytest.raises(error):
                await asking.post(served.url, content=b"x" * 30_000_000 if error is httpx2.WriteTimeout else b"x")
            if first is not None:
                first.cancel()
                await asyncio.wait([first])
            await asyncio.sleep(0)
            assert transport._pool._places == 0

    run(main())


def test_nobody_there_is_a_connect_error() -> None:
    async def main() -> None:
        async with client() as asking:
            with pytest.raises(httpx2.ConnectError):
                await asking.get("http://127.0.0.1:1/")
            with pytest.raises(httpx2.UnsupportedProtocol):
                await asking.get("ftp://127.0.0.1/")
            assert asking._transport._pool._places == 0  # type: ignore[attr-defined]

    run(main())


def test_a_request_that_is_cancelled_closes_its_connection_at_once() -> None:
    came, gone = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n")
        await writer.drain()
        came.set()
        await reader.read()
        gone.set()

    async def main() -> None:
        async with serving(serve) as served, client() as asking:
            under_way = asyncio.create_task(asking.get(served.url))
            await came.wait()
            under_way.cancel()
            await asyncio.wait([under_way])
            async with asyncio.timeout(30):
                await gone.wait()

    run(main())


def test_the_pool_never_opens_more_than_it_may_and_loses_no_place() -> None:
    """Two hosts, five places, two hundred requests, a third of them cancelled or cut."""
    most, now_open, peak = 5, 0, 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal now_open, peak
        now_open += 1
        peak = max(peak, now_open)
        try:
            while True:
                head, _ = await request_of(reader)
                await asyncio.sleep(0.002)
                if b"/cut" in head:
                    writer.write(ANSWER[:-1])
                    return
                writer.write(ANSWER)
                await writer.drain()
        finally:
            now_open -= 1

    async def main() -> None:
        transport = Transport(limits(most=most, kept=3), ssl.create_default_context())
        async with serving(serve) as one, serving(serve) as other, client(transport) as asking:

            async def get(n: int) -> str:
                url = (one, other)[n % 2].url
                try:
                    async with asyncio.timeout(0.001 if n % 5 == 1 else 60):
                        return (await asking.get(url + ("cut" if n % 7 == 3 else ""))).text
                except (TimeoutError, httpx2.RemoteProtocolError):
                    return ""

            found = await asyncio.gather(*(get(n) for n in range(200)))
            assert all(text == "hi" for n, text in enumerate(found) if n % 5 != 1 and n % 7 != 3)
            assert peak <= most + 1  # the server notices a closed one a moment later
            await asyncio.sleep(0.05)
            pool = transport._pool
            assert pool._places == len(pool._open) == pool._idle_count <= 3
            assert not any(turn for _, turn in pool._waiting if not turn.done())

    run(main())


def test_an_idle_connection_is_dropped_when_it_was_kept_long_enough() -> None:
    async def main() -> None:
        for keep_s, connections in ((60, 1), (0.05, 2)):
            transport = Transport(limits(keep_s=keep_s), ssl.create_default_context())
            async with serving(answering(ANSWER)) as served, client(transport) as asking:
                await asking.get(served.url)
                await asyncio.sleep(0.1)
                await asking.get(served.url)
                assert served.connections == connections

    run(main())


def test_a_compressed_answer_is_decoded_and_its_body_as_it_came_is_at_hand() -> None:
    packed = gzip.compress(b"hi" * 100)
    answer = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed) + packed

    async def main() -> None:
        async with serving(answering(answer)) as served, client() as asking:
            assert (await asking.get(served.url)).content == b"hi" * 100
            async with asking.stream("GET", served.url) as streamed:
                body = streamed.extensions[WHOLE_BODY]
                assert b"".join([piece async for piece in body]) == packed

    run(main())


def test_an_address_that_does_not_answer_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name with two addresses, the first of which leads nowhere: the second is tried a moment later."""

    async def main() -> None:
        async with serving(answering(ANSWER)) as served, client() as asking:
            real, tried = pool._connected, []

            async def connected(made: Any, family: int, kind: int, protocol: int, name: str, address: Any) -> Any:
                tried.append(address[0])
                if address[0] == "203.0.113.1":  # for documentation only: nobody is there (RFC 5737)
                    await asyncio.Event().wait()
                return await real(made, family, kind, protocol, name, address)

            async def found(_host: str, port: int) -> list[Any]:
                each = socket.AF_INET, socket.SOCK_STREAM, 6, ""
                return [(*each, ("203.0.113.1", port)), (*each, ("127.0.0.1", port))]

            monkeypatch.setattr(pool, "_connected", connected)
            monkeypatch.setattr(pool, "_found", found)
            assert (await asking.post(served.url, json={"a": 1})).text == "hi"
            assert tried == ["203.0.113.1", "127.0.0.1"]

    run(main())


def test_a_socket_that_connects_when_nobody_waits_any_more_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with serving(answering(ANSWER)) as served:
            connected: list[socket.socket] = []

            async def too_late(tries: list[Callable[[], Awaitable[socket.socket]]], _: float) -> None:
                connected.append(await tries[0]())
                raise asyncio.CancelledError

            monkeypatch.setattr(pool, "staggered_race", too_late)
            address = httpx2.URL(served.url)
            with pytest.raises(asyncio.CancelledError):
                await pool._reach(pool.Origin(False, address.host, address.port or 0, address.host))
            assert [one.fileno() for one in connected] == [-1]

    run(main())


def test_where_no_address_answers_it_cannot_be_reached() -> None:
    async def main() -> None:
        async with client() as asking:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
            with pytest.raises(httpx2.ConnectError):
                await asking.post(f"http://127.0.0.1:{port}/")

    run(main())
