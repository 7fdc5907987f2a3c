"""Secrets come from Secrets Manager where a setting names one there: read once, and only then."""

from __future__ import annotations

from collections.abc import Iterator

import boto3
import pytest

from shared import aws, secrets, valkey
from shared.errors import SettingError
from shared.settings import settings


@pytest.fixture
def stored(fake_aws: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The ARN of a stored secret, whose text ends in the line break that an editor left."""
    made = boto3.client("secretsmanager").create_secret(Name="key", SecretString="sk-stored\n")
    secrets.forget()
    yield made["ARN"]
    secrets.forget()
    settings.cache_clear()


def use(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()


def test_a_stored_secret_wins_and_is_read_once(stored: str, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, OPENAI_API_KEY="sk-plain")
    assert secrets.openai_api_key() == "sk-plain"
    use(monkeypatch, OPENAI_SECRET_ARN=stored)
    assert secrets.openai_api_key() == "sk-stored"
    boto3.client("secretsmanager").update_secret(SecretId=stored, SecretString="sk-rotated")
    assert secrets.openai_api_key() == "sk-stored"
    secrets.forget()  # a new environment
    assert secrets.openai_api_key() == "sk-rotated"


def test_without_one_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[None] = []
    monkeypatch.setattr(aws, "secrets_manager", lambda: asked.append(None))
    use(monkeypatch, OPENAI_API_KEY="", OPENAI_SECRET_ARN="")
    assert secrets.openai_api_key() == ""
    assert not asked


def test_a_wrong_name_is_told_by_its_variable(stored: str, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, WEBHOOK_SECRET_ARN=stored + "-other")
    with pytest.raises(SettingError, match="WEBHOOK_SECRET_ARN: Secrets Manager says ResourceNotFound"):
        secrets.webhook_secrets()


def test_valkey_counts_as_away_while_its_password_cannot_be_read(stored: str, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, REDIS_URL="redis://127.0.0.1:1", REDIS_SECRET_ARN=stored + "-other")
    valkey.reset()
    with pytest.raises(valkey.Away, match="REDIS_SECRET_ARN"):
        valkey.client()
    valkey.reset()
