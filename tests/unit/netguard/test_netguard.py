"""No address but a public one is ever connected to, however it is written or resolved."""

import ipaddress
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import netguard
from shared.guarded_http import GuardedTransport, was_forbidden
from shared.netguard import Forbidden, check_url, is_public
from shared.settings import settings


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
     "255.255.255.255", "::1", "::", "fe80::1", "fc00::1", "fd00:ec2::254", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
     "64:ff9b::7f00:1", "2002:7f00:1::", "ff02::1", "not an address", "fe80::1%eth0"],
)  # fmt: skip
def test_refused(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "::ffff:8.8.8.8"])
def test_allowed(address: str) -> None:
    assert is_public(address)


@given(st.ip_addresses())
def test_nothing_private_passes(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    if is_public(str(address)):
        assert not any((address.is_private, address.is_loopback, address.is_link_local, address.is_multicast))


@pytest.mark.parametrize(
    "url",
    ["http://example.com/", "ftp://example.com/", "https://user:pw@example.com/", "https://127.0.0.1/", "https://[::1]/",
     "https://169.254.169.254/latest/meta-data/", "https:///x", "https://exa mple.com/", "https://example.com:99999/",
     "https://" + "a" * 3000, "javascript:alert(1)", "https://example.com/\r\nHost: x"],
)  # fmt: skip
def test_urls_refused_before_anything_is_resolved(url: str) -> None:
    with pytest.raises(Forbidden):
        check_url(url, https_only=True)


def test_a_public_url_passes() -> None:
    check_url("https://example.com:8443/hook?x=1", https_only=True)


class _Server:
    def __init__(self) -> None:
        self.hits = 0
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.hits += 1
                self.send_response(200)
                self.send_header("content-length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.http.server_address[1]
        self.thread = Thread(target=self.http.serve_forever)
        self.thread.start()

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


@pytest.fixture
def private_server() -> Iterator[_Server]:
    server = _Server()
    yield server
    server.close()


def test_a_name_that_resolves_to_a_private_address_is_not_connected_to(
    private_server: _Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(netguard, "resolve", lambda _host, _port: ["127.0.0.1"])
    with httpx2.Client(transport=GuardedTransport()) as client, pytest.raises(httpx2.ConnectError) as caught:
        client.get(f"http://looks-public.example:{private_server.port}/")
    assert was_forbidden(caught.value)
    assert private_server.hits == 0


def test_one_private_address_among_several_is_enough_to_refuse(
    private_server: _Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(netguard, "resolve", lambda _host, _port: ["8.8.8.8", "127.0.0.1"])
    with httpx2.Client(transport=GuardedTransport()) as client, pytest.raises(httpx2.ConnectError):
        client.get(f"http://both.example:{private_server.port}/")
    assert private_server.hits == 0


def test_rebinding_gains_nothing_since_the_checked_address_is_the_one_connected_to(
    private_server: _Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([["127.0.0.1"], ["8.8.8.8"]])
    asked: list[str] = []

    def resolve(host: str, _port: int) -> list[str]:
        asked.append(host)
        return next(answers)

    monkeypatch.setattr(netguard, "resolve", resolve)
    with httpx2.Client(transport=GuardedTransport()) as client, pytest.raises(httpx2.ConnectError):
        client.get(f"http://rebind.example:{private_server.port}/")
    assert asked == ["rebind.example"]
    assert private_server.hits == 0


def test_the_setting_for_tests_lifts_the_rule(private_server: _Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALLOW_PRIVATE_ADDRESSES", "true")
    settings.cache_clear()
    with httpx2.Client(transport=GuardedTransport()) as client:
        assert client.get(f"http://127.0.0.1:{private_server.port}/").text == "ok"
    monkeypatch.delenv("ALLOW_PRIVATE_ADDRESSES")
    settings.cache_clear()
