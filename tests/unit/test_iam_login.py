"""A managed Valkey on the internet lets in who shows a token that IAM signed."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from shared import iam_login, valkey
from shared.iam_login import Login, login_of
from shared.settings import settings

ADDRESS = "rediss://acme-functions@cache.example.com:6379?cluster=true&iam=acme-public"


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    import boto3

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "session")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)


def test_an_address_without_a_cache_asks_for_no_token() -> None:
    for url in ("redis://127.0.0.1:6379/0", "rediss://sluice@host:6379?cluster=true", "unix:///tmp/s"):
        assert login_of(url) == (url, None)


def test_the_log_in_is_taken_out_of_the_address() -> None:
    url, login = login_of(ADDRESS)
    assert url == "rediss://cache.example.com:6379?cluster=true"
    assert login is not None
    assert (login.user, login.cache) == ("acme-functions", "acme-public")


def test_a_token_is_a_signed_request_without_its_scheme() -> None:
    user, token = Login("Acme-Public", "Acme-Functions").get_credentials()
    assert user == "acme-functions"
    parts = urlsplit(f"https://{token}")
    asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
    assert parts.netloc == "acme-public"
    assert (asked["Action"], asked["User"], asked["ResourceType"]) == ("connect", "acme-functions", "ServerlessCache")
    assert asked["X-Amz-Expires"] == "900"
    assert asked["X-Amz-Credential"].endswith("/eu-central-1/elasticache/aws4_request")
    assert asked["X-Amz-Security-Token"] == "session"
    assert len(asked["X-Amz-Signature"]) == 64


def test_a_token_is_made_anew_before_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    at, made = [1000.0], []
    login = Login("c", "u", clock=lambda: at[0])
    monkeypatch.setattr(Login, "_sign", lambda _: made.append(at[0]) or f"token {len(made)}")
    assert login.get_credentials()[1] == "token 1"
    at[0] += iam_login.RENEW_SECONDS - 1
    assert login.get_credentials()[1] == "token 1"
    at[0] += 1
    assert login.get_credentials()[1] == "token 2"
    assert iam_login.RENEW_SECONDS < iam_login.TOKEN_SECONDS


def test_a_connection_logs_in_as_that_user(redis_settings: str) -> None:
    admin = valkey.connect(redis_settings)
    admin.execute_command("ACL", "SETUSER", "acme-functions", "on", "nopass", "~*", "+@all")
    try:
        place = redis_settings.removeprefix("redis://")
        server = valkey.connect(f"redis://acme-functions@{place}?iam=acme-public")
        assert server.execute_command("ACL", "WHOAMI") == "acme-functions"
    finally:
        admin.execute_command("ACL", "DELUSER", "acme-functions")


def test_connections_are_given_up_before_the_server_ends_them(
    redis_settings: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = [1_000_000.0]
    monkeypatch.setattr(valkey.time, "time", lambda: at[0])
    valkey.reset()
    first: Any = valkey.client()
    at[0] += iam_login.CONNECTION_SECONDS - 1
    assert valkey.client() is first
    at[0] += 2
    second = valkey.client()
    assert second is not first
    assert second.ping()
    assert first.ping(), "who holds the old one goes on"
    assert iam_login.CONNECTION_SECONDS < 12 * 3600
    assert settings().redis_url
    valkey.reset()
