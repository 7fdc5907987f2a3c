"""One export of a run: read what is recorded, send it to the collector, see to the next try.

The address is the operator's own, so that it may be a private one: nothing of it comes from a user. A collector that is
away is tried for a day (`functions.webhook.schedule`), and holds up nobody: its exports have one owner's share of the
threads (`functions.webhook.desk`), and while it has just failed the others of this environment do not wait for it.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from urllib.parse import unquote, urlsplit

import httpx2

from functions.webhook.traces import encode
from functions.webhook.traces.spans import Span
from functions.webhook.traces.tree import Tree
from shared import asked_waits, metrics, secrets, traceparent
from shared.clock import now
from shared.errors import NewerVersion, NotFound
from shared.guarded_http import no_cookies
from shared.logs import get_logger
from shared.settings import settings
from shared.tasks import events, family, store
from shared.tasks.model import Task
from shared.traceparent import RUN

TIMEOUT_SECONDS = 10.0
"""For one request to the collector; OpenTelemetry's own exporters have the same."""
ALL_SECONDS = 40.0
"""For all requests of one run, before the last one; with that it stays below what a message is hidden for."""
AWAY_SECONDS = 5.0
"""For so long after a failure no other export of this environment waits for the collector."""
RETRYABLE = frozenset({429, 502, 503, 504})
"""By OTLP/HTTP: anything else above 399 is refused for good."""
PATH = "/v1/traces"

_log = get_logger("traces")


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a try; ``final`` means that another is pointless."""

    exported: bool = False
    error: str | None = None
    final: bool = False
    retry_after_s: float | None = None


class _Away:
    """When the collector failed last, in this environment."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._until = 0.0

    def __bool__(self) -> bool:
        with self._lock:
            return now() < self._until

    def note(self, *, failed: bool) -> None:
        with self._lock:
            self._until = now() + AWAY_SECONDS if failed else 0.0


away = _Away()
_making = threading.Lock()


def address() -> str:
    """Return where traces go: ``OTLP_ENDPOINT`` with the path of traces, unless it has that already."""
    base = settings().otlp_endpoint.rstrip("/")
    return base if urlsplit(base).path.endswith(PATH) else base + PATH


def headers() -> dict[str, str]:
    """Return the operator's headers, given as OpenTelemetry's exporters take them: ``name=value,name=value``."""
    found = {}
    for pair in secrets.otlp_headers().split(","):
        name, given, value = pair.partition("=")
        if given and name.strip():
            found[unquote(name).strip().lower()] = unquote(value).strip()
    return found


def export(task_id: str) -> Answer:
    """Send the spans of an ended run once.

    Raises:
        NotFound: it was erased.
        NewerVersion, DependencyDown: it cannot be read now.
    """
    page = events.read(task_id, 0)
    if not traceparent.exported(page.task):
        return Answer(error="no longer asked for", final=True)
    if away:
        return Answer(error="the collector has just failed")
    tree = Tree(page.task, lambda name, nth: family.begun(task_id, f"{name}#{nth}"))
    return send(tree.spans(page.events, _links(page.task)))


def send(spans: Sequence[Span]) -> Answer:
    """Send spans; a long run's in several requests, all of which are sent again if one fails."""
    until = now() + ALL_SECONDS
    for body in encode.requests(spans):
        answer = _post(body) if now() < until else Answer(error="the collector is too slow for a run of this size")
        away.note(failed=not answer.exported and not answer.final)
        if not answer.exported:
            return answer
    return Answer(exported=True)


def _post(body: bytes) -> Answer:
    about = headers() | {"content-type": "application/x-protobuf", "content-encoding": "gzip"}
    try:
        with _making:  # `cache` lets threads that come at once make one each
            client = _client()
        answer = client.post(address(), content=body, headers=about)
    except httpx2.HTTPError as error:
        return Answer(error=f"{type(error).__name__}: {error}"[:200])
    if 200 <= answer.status_code < 300:
        _tell_of_rejected(answer.content)
        return Answer(exported=True)
    final = answer.status_code not in RETRYABLE
    return Answer(
        error=f"the collector answered {answer.status_code}",
        final=final,
        retry_after_s=None if final else asked_waits.from_headers(answer.headers, now()),
    )


def _tell_of_rejected(body: bytes) -> None:
    """Log what the collector took in part only: by OTLP it must not be sent again."""
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

    try:
        said = ExportTraceServiceResponse.FromString(body).partial_success
    except DecodeError:  # some answer with JSON, or with a page
        return
    if said.rejected_spans:
        metrics.count("SpansRejected", said.rejected_spans)
        _log.error("spans rejected", extra={"spans": said.rejected_spans, "error": said.error_message[:200]})


@cache
def _client() -> httpx2.Client:
    return httpx2.Client(
        timeout=TIMEOUT_SECONDS,
        headers={"user-agent": "Sluice-Traces", "accept-encoding": "identity"},
        cookies=no_cookies(),
        follow_redirects=False,
        trust_env=False,
    )


def _links(task: Task) -> list[tuple[str, str]]:
    """Return the spans that the run has to do with and that are of other traces."""
    links = []
    given = traceparent.parse(task.params.get("trace_link"))
    if given is not None:
        links.append((given.trace_id, given.parent))
    for name in ("retry_of", "fork_of", "redriven_from"):
        if earlier := task.params.get(name):
            try:
                source = store.get(str(earlier))
            except (NotFound, NewerVersion):
                continue
            links.append((traceparent.of_task(source).trace_id, traceparent.span_id(source.task_id, RUN)))
    return links
