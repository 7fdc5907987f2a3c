"""A webhook receiver for the demo and the tests: takes deliveries on loopback and verifies their signatures."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from localstack.posted import Posted
from shared import webhooks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


@dataclass(frozen=True, slots=True)
class Delivery:
    """A webhook that arrived."""

    id: str
    type: str
    body: dict[str, Any]
    valid: bool


class Receiver(Posted):
    """Collects deliveries.

    ``secrets`` are those that a valid signature may be made with, or a function that looks them up for each delivery.
    """

    def __init__(self, secrets: Iterable[str] | Callable[[], Iterable[str]] = (), *, answer: int = 204) -> None:
        """Take a free port on loopback."""
        super().__init__(answer=answer)
        fixed = None if callable(secrets) else list(secrets)
        self.secrets: Callable[[], Iterable[str]] = secrets if callable(secrets) else lambda: fixed or ()
        self.deliveries: list[Delivery] = []

    @property
    def url(self) -> str:
        """Where to send webhooks."""
        return f"{super().url}/hook"

    def take(self, path: str, headers: dict[str, str], body: bytes) -> bytes:
        """Note a delivery, whatever the path."""
        try:
            found = json.loads(body)
        except ValueError:
            found = None
        found = found if isinstance(found, dict) else {}
        valid = any(webhooks.verify(secret, headers, body) for secret in self.secrets())
        with self._arrived:
            self.deliveries.append(Delivery(headers.get("webhook-id", ""), str(found.get("type", "")), found, valid))
            self._arrived.notify_all()
        return b""

    def wait_for(self, n: int, *, timeout_s: float) -> list[Delivery]:
        """Wait until ``n`` deliveries arrived, or for so long; returns all there are."""
        self._wait_until(lambda: len(self.deliveries) >= n, timeout_s)
        with self._arrived:
            return list(self.deliveries)
