"""A server on loopback that keeps what is posted to it: what receivers of webhooks and of traces have in common."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable

BODY_BYTES = 4_194_304
"""A longer request is answered 413."""


class Posted(ABC):
    """The server, as a context manager. ``answer`` and ``headers`` are those of every answer, changed at any time."""

    content_type = ""
    """Of what is answered, where there is anything."""

    def __init__(self, *, answer: int) -> None:
        """Take a free port on loopback."""
        self.answer = answer
        self.headers: dict[str, str] = {}
        self._arrived = threading.Condition()
        posted = self

        class Handler(BaseHTTPRequestHandler):
            timeout = 30

            def do_POST(self) -> None:
                length = int(self.headers.get("content-length", 0))
                fits, said = length <= BODY_BYTES, b""
                if fits:
                    headers = {name.lower(): value for name, value in self.headers.items()}
                    said = posted.take(self.path, headers, self.rfile.read(length))
                self.send_response(posted.answer if fits else 413)
                for name, value in posted.headers.items():
                    self.send_header(name, value)
                if posted.content_type:
                    self.send_header("content-type", posted.content_type)
                self.send_header("content-length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @abstractmethod
    def take(self, path: str, headers: dict[str, str], body: bytes) -> bytes:
        """Note a request, with `_arrived` held; returns what is answered."""

    def _wait_until(self, enough: Callable[[], bool], timeout_s: float) -> None:
        give_up = time.monotonic() + timeout_s
        with self._arrived:
            while not enough() and (left := give_up - time.monotonic()) > 0:
                self._arrived.wait(left)

    def __enter__(self) -> Self:
        """Start to listen."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
