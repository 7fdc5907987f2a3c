"""Spans as OTLP's protobuf messages (https://opentelemetry.io/docs/specs/otlp/).

The messages are those of `opentelemetry-proto`; it is imported with the first export, not with the function.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from functions.webhook.traces import names
from sluice import __version__ as VERSION

if TYPE_CHECKING:
    from functions.webhook.traces.spans import Span, Value

SPANS_AT_ONCE = 500
"""Most spans of one request."""
TEXT_CHARACTERS = 2_000
"""Longest text of one attribute."""


def requests(spans: Sequence[Span]) -> Iterator[bytes]:
    """Yield the bodies of the requests that export the spans, compressed."""
    for start in range(0, len(spans), SPANS_AT_ONCE):
        yield gzip.compress(message(spans[start : start + SPANS_AT_ONCE]).SerializeToString(), 5, mtime=0)


def message(spans: Sequence[Span]) -> Any:
    """Return one request with the spans."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
    from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
    from opentelemetry.proto.resource.v1.resource_pb2 import Resource
    from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans

    about = {
        names.SERVICE_NAME: names.SERVICE,
        names.SERVICE_VERSION: VERSION,
        names.SDK_NAME: names.SERVICE,
        names.SDK_LANGUAGE: "python",
        names.SDK_VERSION: VERSION,
    }
    scope = ScopeSpans(
        scope=InstrumentationScope(name=names.SCOPE, version=VERSION), spans=[_span(one) for one in spans]
    )
    resource = Resource(attributes=_attributes(about))
    return ExportTraceServiceRequest(resource_spans=[ResourceSpans(resource=resource, scope_spans=[scope])])


def _span(span: Span) -> Any:
    from opentelemetry.proto.trace.v1 import trace_pb2 as pb

    trace_id = bytes.fromhex(span.trace_id)
    made = pb.Span(
        trace_id=trace_id,
        span_id=bytes.fromhex(span.span_id),
        parent_span_id=bytes.fromhex(span.parent),
        name=_text(span.name),
        kind=pb.Span.SPAN_KIND_CLIENT if span.client else pb.Span.SPAN_KIND_INTERNAL,
        start_time_unix_nano=_nano(span.start),
        end_time_unix_nano=_nano(span.end),
        attributes=_attributes(span.attributes),
        events=[
            pb.Span.Event(name=_text(note.name), time_unix_nano=_nano(note.at), attributes=_attributes(note.attributes))
            for note in span.notes
        ],
        links=[pb.Span.Link(trace_id=bytes.fromhex(trace), span_id=bytes.fromhex(one)) for trace, one in span.links],
    )
    if span.error is not None:
        made.status.code = pb.Status.STATUS_CODE_ERROR
        made.status.message = _text(span.error)
    return made


def _attributes(values: Mapping[str, Value]) -> list[Any]:
    from opentelemetry.proto.common.v1.common_pb2 import KeyValue

    return [KeyValue(key=_text(name), value=_value(value)) for name, value in values.items()]


def _value(value: Value) -> Any:
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue

    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    if isinstance(value, float):
        return AnyValue(double_value=value)
    if isinstance(value, str):
        return AnyValue(string_value=_text(value))
    return AnyValue(array_value=ArrayValue(values=[_value(one) for one in value]))


def _text(text: str) -> str:
    """Return what protobuf takes: half a surrogate pair is no text there."""
    return text[:TEXT_CHARACTERS].encode("utf-8", "replace").decode()


def _nano(at: float) -> int:
    return max(0, round(at * 1_000_000)) * 1_000
