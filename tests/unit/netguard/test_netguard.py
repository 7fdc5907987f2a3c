"""Which addresses and URLs pass: the rules, held against the standard library's."""

import contextlib
import ipaddress
import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared import netguard
from shared.netguard import PORTS, URL_CHARACTERS, Forbidden, check_url, is_public
from shared.settings import settings

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "127.255.255.255", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254",
     "169.254.0.1", "100.64.0.1", "100.127.255.255", "0.0.0.0", "0.1.2.3", "224.0.0.1", "239.1.1.1", "240.0.0.1",
     "255.255.255.255", "192.0.0.1", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "192.88.99.1", "::1",
     "::", "::127.0.0.1", "fe80::1", "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1", "ff0e::1", "2001:db8::1",
     "3fff::1", "100::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1",
     "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:7f00:1::", "2002:a9fe:a9fe::", "2001:0:4136:e378:8000:63bf:3fff:fdd2",
     "5f00::1",
     "4000::1", "not an address", "", "fe80::1%eth0", "2606:4700::1111%eth0", "127.1", "0177.0.0.1", "2130706433"],
)  # fmt: skip
def test_refused(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "1.1.1.1", "172.15.255.255", "172.32.0.1", "100.63.255.255", "100.128.0.1", "223.255.255.255",
     "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"],
)  # fmt: skip
def test_allowed(address: str) -> None:
    assert is_public(address)


def _unicast_and_global(address: Address) -> bool:
    return address.is_global and not any(
        (address.is_private, address.is_loopback, address.is_link_local, address.is_multicast, address.is_unspecified)
    )


@given(st.ip_addresses())
@example(ipaddress.ip_address("::ffff:127.0.0.1"))
def test_nothing_passes_that_the_standard_library_calls_private(address: Address) -> None:
    if is_public(address):
        assert _unicast_and_global(address)
        assert is_public(str(address))


# Global by the registry, but of no use to a webhook or a page: anycast of services, 6to4's relays, IETF assignments.
_STRICTER = tuple(map(ipaddress.ip_network, ("192.0.0.0/24", "192.88.99.0/24")))


def test_every_public_ipv4_address_passes() -> None:
    chance = random.Random(1)
    edges = [
        edge + by for block in netguard._SPECIAL_V4 for edge in (int(block[0]), int(block[-1])) for by in (-1, 0, 1)
    ]
    for number in edges + [chance.randrange(2**32) for _ in range(20_000)]:
        address = ipaddress.IPv4Address(number % 2**32)
        if not any(address in block for block in _STRICTER):
            assert is_public(address) == _unicast_and_global(address), address


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_inside_an_ipv6_one_counts_as_what_it_is(inner: ipaddress.IPv4Address) -> None:
    for prefix in (0xFFFF << 32, 0x64FF9B << 96):
        assert is_public(ipaddress.IPv6Address(prefix | int(inner))) == is_public(inner)
    assert not is_public(ipaddress.IPv6Address((0x2002 << 112) | (int(inner) << 80)))
    assert not is_public(ipaddress.IPv6Address((0x20010000 << 96) | (int(inner) ^ 0xFFFFFFFF)))
    assert not is_public(ipaddress.IPv6Address(int(inner)))


@pytest.mark.parametrize(
    "url",
    ["http://example.com/", "ftp://example.com/", "file:///etc/passwd", "javascript:alert(1)", "//example.com/",
     "https:example.com", "https:///x", "https://", "", "https://user:pw@example.com/", "https://user@example.com/",
     "https://@example.com/", "https://example.com@127.0.0.1/", "https://example.com\\@127.0.0.1/",
     "https://127.0.0.1/", "https://[::1]/", "https://[::ffff:10.0.0.1]/", "https://[fe80::1%25eth0]/", "https://[::1",
     "https://169.254.169.254/latest/meta-data/", "https://[fd00:ec2::254]/",
     "https://2130706433/", "https://127.1/", "https://0x7f000001/", "https://0x7f.0.0.1/", "https://0177.0.0.1/",
     "https://127.0.0.1./", "https://8.8.8.8.9/", "https://example.1/", "https://0x/",
     "https://localhost/", "https://LOCALHOST./", "https://a.localhost/", "https://printer.local/", "https://intern/",
     "https://metadata.google.internal/", "https://ex%61mple.com/", "https://exa mple.com/", "https://-a.example/",
     "https://a..example/", "https://.example/", "https://" + "a" * 64 + ".example/",
     "https://example.com:99999/", "https://example.com:0/", "https://example.com:22/", "https://example.com:6379/",
     "https://example.com:x/", "https://example.com:-443/", "https://example.com/\r\nHost: x", "https://example.com/\t",
     "https://example.com/\x00", "https://example.com/{x}", "https://m\u00fcnchen.example/", "https://\uff11\uff12\uff17.0.0.1/",
     "https://example\u3002com/"],
)  # fmt: skip
def test_urls_refused_before_anything_is_resolved(url: str) -> None:
    with pytest.raises(Forbidden):
        check_url(url, https_only=True)


@pytest.mark.parametrize(
    "url",
    ["https://example.com", "https://example.com/hook?x=1&y=%20#z", "HTTPS://Example.COM/", "https://example.com./",
     "https://xn--mnchen-3ya.example/", "https://a_b.example.com/", "https://8.8.8.8/", "https://[2606:4700::1111]:443/",
     *(f"https://example.com:{port}/hook" for port in PORTS)],
)  # fmt: skip
def test_public_urls_pass(url: str) -> None:
    check_url(url, https_only=True)


def test_http_is_for_pages_only() -> None:
    check_url("http://example.com/", https_only=False)
    with pytest.raises(Forbidden, match="https"):
        check_url("http://example.com/", https_only=True)


def test_the_length_limit_has_two_sides() -> None:
    check_url("https://example.com/".ljust(URL_CHARACTERS, "x"), https_only=True)
    with pytest.raises(Forbidden, match="characters"):
        check_url("https://example.com/".ljust(URL_CHARACTERS + 1, "x"), https_only=True)


@given(st.text(max_size=80).map(lambda text: "https://" + text))
def test_any_text_passes_or_is_refused_clearly(url: str) -> None:
    with contextlib.suppress(Forbidden):
        check_url(url, https_only=True)
        assert url.isascii()


def test_the_setting_for_tests_lifts_the_address_rules_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALLOW_PRIVATE_ADDRESSES", "true")
    settings.cache_clear()
    try:
        for url in ("http://127.0.0.1:50123/", "http://localhost:50123/", "http://[::1]:50123/", "http://intern/"):
            check_url(url, https_only=False)
        for url in ("http://u@127.0.0.1/", "http://127.1/", "ftp://127.0.0.1/", "http://127.0.0.1 /"):
            with pytest.raises(Forbidden):
                check_url(url, https_only=False)
    finally:
        monkeypatch.delenv("ALLOW_PRIVATE_ADDRESSES")
        settings.cache_clear()
