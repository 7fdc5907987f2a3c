"""The API in front of moto and a real Valkey, with one key of each kind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from starlette.testclient import TestClient

from functions.api import options, probes, queue_hint, stats, submit
from functions.api.app import app
from shared import valkey
from shared.limits import keys
from shared.settings import settings
from tests.unit.valkey_fixture import redis_settings, valkey_url  # noqa: F401 - fixtures


@dataclass
class Api:
    """A client of the API and the keys that it may use."""

    client: TestClient
    keys: dict[str, str]
    lanes: dict[str, str]

    def head(self, who: str | None = "demo", **more: str) -> dict[str, str]:
        """Return the headers of a caller."""
        return ({} if who is None else {"Authorization": f"Bearer {self.keys[who]}"}) | more

    def submit(self, who: str | None = "demo", *, headers: dict[str, str] | None = None, **body: Any) -> Any:
        """POST /agent."""
        return self.client.post("/agent", json={"message": "hi"} | body, headers=self.head(who) | (headers or {}))

    def get(self, path: str, who: str | None = "demo", **params: Any) -> Any:
        """GET a path."""
        return self.client.get(path, params=params or None, headers=self.head(who))

    def post(self, path: str, who: str | None = "demo", **body: Any) -> Any:
        """POST JSON to a path."""
        return self.client.post(path, json=body, headers=self.head(who))

    def delete(self, path: str, who: str | None = "demo", **params: Any) -> Any:
        """DELETE a path."""
        return self.client.delete(path, params=params or None, headers=self.head(who))


def forget_everything() -> None:
    """Start as a fresh environment would."""
    submit.gate.cache_clear()
    options.agents.cache_clear()
    options.cors_origins.cache_clear()
    probes._breaker.cache_clear()
    stats._provider.cache_clear()
    keys.forget()
    probes.dependencies.forget()
    queue_hint.forget()
    stats.snapshot.forget()
    settings.cache_clear()


def make_keys() -> dict[str, str]:
    """Create a key of each kind."""
    made = {
        name: keys.create_key(user, tier)
        for name, user, tier in (
            ("demo", "demo", "standard"),
            ("other", "other", "standard"),
            ("vip", "vip", "vip"),
            ("free", "free", "free"),
            ("service", "service", "service"),
            ("load", "load", "load"),
            ("operator", "operator", "operator"),
        )
    }
    made["poor"] = keys.create_key("poor", "standard", limits={"tokens_per_day": 3000})
    made["narrow"] = keys.create_key("narrow", "standard", limits={"running": 1})
    return made


@pytest.fixture
def api(
    fake_aws: dict[str, str],
    redis_settings: str,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Api]:
    """Yield the API; ingress is unlimited, so that a test meets only the limit it is about."""
    monkeypatch.setenv("INGRESS_RATE", "0")
    forget_everything()
    with TestClient(app) as client:
        yield Api(client, make_keys(), fake_aws)
    monkeypatch.setenv("REDIS_URL", redis_settings)  # a test may have led elsewhere
    valkey.reset()
    forget_everything()
