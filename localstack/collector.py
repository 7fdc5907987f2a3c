"""A collector of traces for trying out and for tests: takes OTLP over HTTP on loopback, as its own messages read it."""

from __future__ import annotations

import gzip
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

if TYPE_CHECKING:
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue
    from opentelemetry.proto.trace.v1.trace_pb2 import Span as Message

ERROR = 2
"""`STATUS_CODE_ERROR`."""


@dataclass(frozen=True, slots=True)
class Span:
    """A span that arrived. Ids are hexadecimal; times are epoch nanoseconds."""

    trace_id: str
    span_id: str
    parent: str
    name: str
    start: int
    end: int
    attributes: dict[str, Any]
    error: str | None
    notes: list[str] = field(default_factory=list)
    links: list[tuple[str, str]] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """How long it took."""
        return (self.end - self.start) / 1e9


class Collector:
    """Collects spans, as a context manager. ``answer`` is the status of every answer; ``rejected`` spans are named."""

    def __init__(self, *, answer: int = 200, rejected: int = 0, hangs_s: float = 0.0) -> None:
        """Take a free port on loopback."""
        self.answer = answer
        self.rejected = rejected
        self.hangs_s = hangs_s
        self.headers: dict[str, str] = {}
        """Of every answer."""
        self.asked: list[dict[str, str]] = []
        """Headers of each request."""
        self.paths: list[str] = []
        self.resources: list[dict[str, Any]] = []
        self.received: list[Span] = []
        """All spans, those that came twice too."""
        self._arrived = threading.Condition()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            timeout = 30

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                time.sleep(collector.hangs_s)
                collector.take(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
                said = ExportTraceServiceResponse()
                if collector.rejected:
                    said.partial_success.rejected_spans = collector.rejected
                answer = said.SerializeToString()
                self.send_response(collector.answer)
                for name, value in collector.headers.items():
                    self.send_header(name, value)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        """What `OtlpEndpoint` is to be."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def spans(self) -> list[Span]:
        """The spans there are, each once, in the order of their start."""
        with self._arrived:
            found = {(one.trace_id, one.span_id): one for one in self.received}
        return sorted(found.values(), key=lambda one: one.start)

    def take(self, path: str, headers: dict[str, str], body: bytes) -> None:
        """Note a request."""
        if headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        request = ExportTraceServiceRequest.FromString(body)
        with self._arrived:
            self.paths.append(path)
            self.asked.append(headers)
            if self.answer == 200:
                for resource in request.resource_spans:
                    self.resources.append({one.key: _plain(one.value) for one in resource.resource.attributes})
                    self.received += [_span(one) for scope in resource.scope_spans for one in scope.spans]
            self._arrived.notify_all()

    def wait_for(self, n: int, *, timeout_s: float) -> list[Span]:
        """Wait until there are ``n`` spans, or for so long; returns all there are."""
        give_up = time.monotonic() + timeout_s
        with self._arrived:
            while len({one.span_id for one in self.received}) < n and (left := give_up - time.monotonic()) > 0:
                self._arrived.wait(left)
        return self.spans

    def __enter__(self) -> Self:
        """Start to listen."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _plain(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_plain(one) for one in value.array_value.values]
    return None if kind is None else getattr(value, kind)


def _span(span: Message) -> Span:
    return Span(
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.name,
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        {one.key: _plain(one.value) for one in span.attributes},
        span.status.message if span.status.code == ERROR else None,
        [one.name for one in span.events],
        [(one.trace_id.hex(), one.span_id.hex()) for one in span.links],
    )
