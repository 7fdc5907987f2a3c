"""A provider that sends exactly the bytes that a test gives it, on a socket of its own."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, NamedTuple

import pytest

from functions.worker.environment import clients
from functions.worker.model import profile
from shared.settings import settings
from tests.unit.worker.conftest import World


class Answer(NamedTuple):
    """What it answers to one request; pieces of a body are sent one by one."""

    body: bytes | Iterable[bytes] = b""
    status: int = 200
    headers: dict[str, str] = {}  # noqa: RUF012 - nobody changes it


def delta(text: str | None = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    """Return a chunk; what else is named stands in its delta."""
    made = {"content": text} if text is not None else {}
    return {"choices": [{"index": 0, "delta": {**made, **more}, "finish_reason": finish}]}


def sse(*chunks: Any, done: bool = True) -> Answer:
    """Return a stream of chunks."""
    lines = [f"data: {one if isinstance(one, str) else json.dumps(one)}\n\n" for one in chunks]
    return Answer("".join([*lines, *(["data: [DONE]\n\n"] if done else [])]).encode())


def refused(status: int, body: Any, **headers: str) -> Answer:
    """Return a refusal with a JSON body."""
    return Answer(json.dumps(body).encode(), status, {"content-type": "application/json", **headers})


class RawProvider:
    """Answers each request with the next of its answers, the last one for ever."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.asked: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.keys: list[str] = []
        self.sent = 0
        """Pieces of the newest answer that were sent."""
        provider = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                answer = provider.answers[min(len(provider.asked), len(provider.answers) - 1)]
                provider.asked.append(body)
                provider.keys.append(self.headers.get("authorization", ""))
                provider.paths.append(self.path)
                self.send_response(answer.status)
                for name, value in {"content-type": "text/event-stream", **answer.headers}.items():
                    self.send_header(name, value)
                if isinstance(answer.body, bytes):
                    self.send_header("content-length", str(len(answer.body)))
                    self.end_headers()
                    self.wfile.write(answer.body)
                    return
                self.send_header("connection", "close")
                self.end_headers()
                self.close_connection = True
                provider.sent = 0
                try:
                    for piece in answer.body:
                        self.wfile.write(piece)
                        provider.sent += 1
                except OSError:
                    return  # the worker has hung up, which is what such tests are about

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    @property
    def url(self) -> str:
        """Its base address."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def raw_provider() -> Iterator[RawProvider]:
    """Start one."""
    made = RawProvider()
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def provider(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[RawProvider]:
    """Have the worker's calls go to one, of which it knows nothing yet."""
    assert world
    with raw_provider() as made:
        monkeypatch.setenv("OPENAI_BASE_URL", made.url)
        settings.cache_clear()
        clients.model.cache_clear()
        profile.forget()
        yield made
