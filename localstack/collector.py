"""A collector of traces for trying out and for tests: takes OTLP over HTTP on loopback, as its own messages read it."""

from __future__ import annotations

import gzip
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from localstack.posted import Posted

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


class Collector(Posted):
    """Collects spans. ``rejected`` spans are named in every answer, which comes after ``hangs_s`` seconds."""

    content_type = "application/x-protobuf"

    def __init__(self, *, answer: int = 200, rejected: int = 0, hangs_s: float = 0.0) -> None:
        """Take a free port on loopback; its ``url`` is what `OtlpEndpoint` is to be."""
        super().__init__(answer=answer)
        self.rejected = rejected
        self.hangs_s = hangs_s
        self.asked: list[dict[str, str]] = []
        """Headers of each request."""
        self.paths: list[str] = []
        self.resources: list[dict[str, Any]] = []
        self.received: list[Span] = []
        """All spans, those that came twice too."""

    @property
    def spans(self) -> list[Span]:
        """The spans there are, each once, in the order of their start."""
        with self._arrived:
            found = {(one.trace_id, one.span_id): one for one in self.received}
        return sorted(found.values(), key=lambda one: one.start)

    def take(self, path: str, headers: dict[str, str], body: bytes) -> bytes:
        """Note a request."""
        time.sleep(self.hangs_s)
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
        said = ExportTraceServiceResponse()
        if self.rejected:
            said.partial_success.rejected_spans = self.rejected
        return bytes(said.SerializeToString())

    def wait_for(self, n: int, *, timeout_s: float) -> list[Span]:
        """Wait until there are ``n`` spans, or for so long; returns all there are."""
        self._wait_until(lambda: len({one.span_id for one in self.received}) >= n, timeout_s)
        return self.spans


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
