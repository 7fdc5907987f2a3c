"""Fixture: an AWS account in moto, with Sluice's table, lanes and bucket, and the settings that name them."""

from collections.abc import Iterator

import pytest

from sluice.testing.account import account, keep_clients, lend_clients

__all__ = ["fake_aws", "keep_clients", "lend_clients"]


@pytest.fixture
def fake_aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """Yield the lanes' URLs of a fresh account; everything is reset afterwards."""
    with account(monkeypatch) as lanes:
        yield lanes
