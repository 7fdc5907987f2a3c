"""The transports, over real sockets: what is checked is what is connected to, by both kinds of client."""

import asyncio
import datetime
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from shared import netguard, tls
from shared.guarded_http import AsyncGuardedTransport, GuardedTransport, no_cookies, was_forbidden
from shared.settings import settings


class Server:
    """Counts what reaches it; speaks TLS if it is given a context."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.hosts: list[str] = []
        self.cookies: list[str | None] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.hosts.append(self.headers["host"])
                server.cookies.append(self.headers["cookie"])
                self.send_response(200)
                self.send_header("set-cookie", "a=b")
                self.send_header("content-length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if context:
            self.http.socket = context.wrap_socket(self.http.socket, server_side=True)
        self.port: int = self.http.server_address[1]
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.05,))
        self.thread.start()

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


def get_sync(*urls: str, timeout: float = 5) -> list[str]:
    with httpx2.Client(transport=GuardedTransport(), trust_env=False, cookies=no_cookies(), timeout=timeout) as client:
        return [client.get(url).text for url in urls]


def get_async(*urls: str, timeout: float = 5) -> list[str]:
    async def main() -> list[str]:
        transport = AsyncGuardedTransport(httpx2.Limits(max_keepalive_connections=0))
        async with httpx2.AsyncClient(
            transport=transport, trust_env=False, cookies=no_cookies(), timeout=timeout
        ) as client:
            return [(await client.get(url)).text for url in urls]

    return asyncio.run(main())


Get = Callable[..., list[str]]
both = pytest.mark.parametrize("get", [get_sync, get_async])


def answers(monkeypatch: pytest.MonkeyPatch, *found: list[str]) -> list[str]:
    """Have names resolve to these, one after another; returns the names asked for."""
    asked: list[str] = []
    rest = list(found)

    def resolve(host: str, _port: int) -> list[str]:
        asked.append(host)
        return rest.pop(0)

    monkeypatch.setattr(netguard, "resolve", resolve)
    return asked


def call_public(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """Let one address of this machine pass for a public one."""
    real = netguard.is_public
    monkeypatch.setattr(netguard, "is_public", lambda one: one == address or real(one))


@both
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "127.1"])
def test_this_machine_by_any_name(server: Server, get: Get, host: str) -> None:
    with pytest.raises(httpx2.ConnectError) as caught:
        get(f"http://{host}:{server.port}/")
    assert was_forbidden(caught.value) or "resolve" in str(caught.value)
    assert server.hosts == []


@both
@pytest.mark.parametrize(
    "addresses", [["127.0.0.1"], ["::ffff:127.0.0.1"], ["169.254.169.254"], ["8.8.8.8", "127.0.0.1"]]
)
def test_a_name_with_a_private_address(
    server: Server, get: Get, addresses: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(monkeypatch, addresses)
    with pytest.raises(httpx2.ConnectError) as caught:
        get(f"http://looks-public.example:{server.port}/")
    assert was_forbidden(caught.value)
    assert server.hosts == []


@both
def test_rebinding_gains_nothing(server: Server, get: Get, monkeypatch: pytest.MonkeyPatch) -> None:
    # The first answer passes; were the name looked up again to connect, it would be the metadata service's.
    call_public(monkeypatch, "127.0.0.1")
    asked = answers(monkeypatch, ["127.0.0.1"], ["169.254.169.254"])
    url = f"http://rebind.example:{server.port}/"
    with pytest.raises(httpx2.ConnectError) as caught:
        get(url, url)
    assert server.hosts == [f"rebind.example:{server.port}"]  # the first request, on the address that was checked
    assert asked == ["rebind.example"] * 2
    assert was_forbidden(caught.value)  # the second request has a connection, and a check, of its own


@both
def test_the_next_address_is_tried(server: Server, get: Get, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netguard, "allowed", lambda _: True)
    answers(monkeypatch, ["::1", "127.0.0.1"])  # nobody listens at the first
    assert get(f"http://two.example:{server.port}/") == ["ok"]


@both
def test_no_cookie_of_one_user_goes_out_with_anothers(
    server: Server, get: Get, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(netguard, "allowed", lambda _: True)
    url = f"http://127.0.0.1:{server.port}/"
    get(url, url)
    assert server.cookies == [None, None]


@both
def test_a_name_that_does_not_resolve(get: Get, monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(_host: str, _port: int) -> list[str]:
        raise socket.gaierror("no such name")

    monkeypatch.setattr(netguard, "resolve", resolve)
    with pytest.raises(httpx2.ConnectError) as caught:
        get("http://nowhere.example/")
    assert not was_forbidden(caught.value)


@both
def test_a_resolver_that_hangs(get: Get, monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    def resolve(_host: str, _port: int) -> list[str]:
        release.wait(20)
        return ["8.8.8.8"]

    monkeypatch.setattr(netguard, "resolve", resolve)
    try:
        with pytest.raises(httpx2.ConnectTimeout):
            get("http://slow.example/", timeout=0.3)
    finally:
        release.set()


def test_an_exchange_ends_in_time_however_slowly_the_peer_sends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netguard, "allowed", lambda _: True)
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def drip() -> None:
            connection, _ = listening.accept()
            with connection:
                while not stop.wait(0.02):
                    try:
                        connection.sendall(b"HTTP/1.1 200 OK\r\n" if not started else b"x: y\r\n")
                    except OSError:
                        return
                    started.append(time.monotonic())

        started: list[float] = []
        thread = threading.Thread(target=drip)
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
        with (
            httpx2.Client(transport=GuardedTransport(0.5), timeout=30, trust_env=False) as client,
            pytest.raises(httpx2.ReadTimeout),
        ):
            client.get(url)
        stop.set()
        thread.join()
    assert len(started) > 1


def _certificate(folder: Path, name: str) -> tuple[Path, ssl.SSLContext]:
    """Make a self-signed certificate for a name; returns its file and a server's context."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    at = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(at - datetime.timedelta(days=1))
        .not_valid_after(at + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    public, private = folder / "cert.pem", folder / "key.pem"
    public.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(public, private)
    return public, context


@both
def test_tls_is_held_against_the_name_and_not_the_address(
    get: Get, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trusted, context = _certificate(tmp_path, "hooks.example")
    indicated: list[Any] = []
    context.sni_callback = lambda _socket, name, _context: indicated.append(name)
    own = ssl.create_default_context(cafile=str(trusted))
    monkeypatch.setattr(tls, "context", lambda: own)  # the authorities are read once a process
    call_public(monkeypatch, "127.0.0.1")
    monkeypatch.setattr(netguard, "resolve", lambda _host, _port: ["127.0.0.1"])
    server = Server(context)
    try:
        assert get(f"https://hooks.example:{server.port}/") == ["ok"]
        assert (server.hosts, indicated) == ([f"hooks.example:{server.port}"], ["hooks.example"])
        with pytest.raises(httpx2.ConnectError, match=r"(?i)certificate"):
            get(f"https://other.example:{server.port}/")
        assert len(server.hosts) == 1
    finally:
        server.close()


@both
def test_a_proxy_of_the_environment_is_not_used(server: Server, get: Get, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{server.port}")
    with pytest.raises(httpx2.ConnectError) as caught:
        get("http://169.254.169.254/latest/meta-data")
    assert was_forbidden(caught.value)
    assert server.hosts == []


@both
def test_the_setting_for_tests_lifts_the_rule(server: Server, get: Get, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALLOW_PRIVATE_ADDRESSES", "true")
    settings.cache_clear()
    try:
        assert get(f"http://localhost:{server.port}/") == ["ok"]
    finally:
        monkeypatch.delenv("ALLOW_PRIVATE_ADDRESSES")
        settings.cache_clear()
