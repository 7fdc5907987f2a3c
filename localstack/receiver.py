"""A webhook receiver for the demo and the tests: takes deliveries on loopback and verifies their signatures."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

from shared import webhooks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

BODY_BYTES = 4_194_304
"""A longer delivery is answered 413."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A webhook that arrived."""

    id: str
    type: str
    body: dict[str, Any]
    valid: bool


class Receiver:
    """Collects deliveries, as a context manager.

    ``secrets`` are those that a valid signature may be made with, or a function that looks them up for each delivery.
    ``answer`` is the status of every answer; it and ``headers`` may be changed at any time.
    """

    def __init__(self, secrets: Iterable[str] | Callable[[], Iterable[str]] = (), *, answer: int = 204) -> None:
        """Take a free port on loopback."""
        fixed = None if callable(secrets) else list(secrets)
        self.secrets: Callable[[], Iterable[str]] = secrets if callable(secrets) else lambda: fixed or ()
        self.answer = answer
        self.headers: dict[str, str] = {}
        self.deliveries: list[Delivery] = []
        self._arrived = threading.Condition()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            timeout = 30

            def do_POST(self) -> None:
                length = int(self.headers.get("content-length", 0))
                if length <= BODY_BYTES:
                    receiver.take(
                        {name.lower(): value for name, value in self.headers.items()}, self.rfile.read(length)
                    )
                self.send_response(receiver.answer if length <= BODY_BYTES else 413)
                for name, value in receiver.headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        """Where to send webhooks."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/hook"

    def take(self, headers: dict[str, str], body: bytes) -> None:
        """Note a delivery."""
        try:
            found = json.loads(body)
        except ValueError:
            found = None
        found = found if isinstance(found, dict) else {}
        valid = any(webhooks.verify(secret, headers, body) for secret in self.secrets())
        with self._arrived:
            self.deliveries.append(Delivery(headers.get("webhook-id", ""), str(found.get("type", "")), found, valid))
            self._arrived.notify_all()

    def wait_for(self, n: int, *, timeout_s: float) -> list[Delivery]:
        """Wait until ``n`` deliveries arrived, or for so long; returns all there are."""
        give_up = time.monotonic() + timeout_s
        with self._arrived:
            while len(self.deliveries) < n and (left := give_up - time.monotonic()) > 0:
                self._arrived.wait(left)
            return list(self.deliveries)

    def __enter__(self) -> Self:
        """Start to listen."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
