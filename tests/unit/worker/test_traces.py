"""An ended run as a trace: what ran on a real worker, exported by the webhook function to a real receiver."""

import json
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from functions.webhook.handler import handler
from functions.webhook.traces import encode, export, names, tree
from functions.webhook.traces.spans import Span
from functions.worker import agents
from functions.worker.environment import clients
from localstack.collector import Collector
from localstack.collector import Span as Got
from shared import aws, clock, traceparent, webhooks
from shared.settings import settings
from shared.tasks import family, owed, store
from shared.tasks.events import Event
from shared.tasks.model import Status, Task
from sluice import AgentResult, Context
from tests.unit.tables import client
from tests.unit.worker.conftest import OneAgent, World

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
UNSAMPLED = PARENT[:-2] + "00"


class Traced:
    """A worker, the webhook function behind its queue, and a collector."""

    def __init__(self, world: World, collector: Collector, queue: str, patch: pytest.MonkeyPatch) -> None:
        self.world, self.collector, self.queue = world, collector, queue
        self.runs: dict[str, Any] = {}
        patch.setattr(agents, "load", lambda name: OneAgent(self.runs[name]))
        patch.setattr(agents, "names", lambda: tuple(self.runs))

    def messages(self) -> list[dict[str, Any]]:
        """Take what is in the webhook function's queue."""
        got: Any = aws.sqs().receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10)
        for message in got.get("Messages", []):
            aws.sqs().delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])
        return [{"messageId": one["MessageId"], "body": one["Body"]} for one in got.get("Messages", [])]

    def deliver(self) -> list[dict[str, Any]]:
        """Run the webhook function on what is there; returns the bodies that it was given."""
        taken: list[dict[str, Any]] = []
        while records := self.messages():
            assert handler({"Records": records}, None) == {"batchItemFailures": []}
            taken += [json.loads(one["body"]) for one in records]
        return taken

    def run(self, agent: Any, **changes: Any) -> tuple[Task, list[Got]]:
        """Run an agent to its end; returns its task and all spans that came of it."""
        self.runs["boss"] = agent
        task = self.world.submit("go", agent="boss", **changes)
        until = time.monotonic() + 30
        while not store.get(task.task_id).status.terminal and time.monotonic() < until:
            self.world.work_until_quiet()
        self.deliver()
        return store.get(task.task_id), self.collector.spans


@pytest.fixture
def traced(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Traced]:
    queue = client("sqs").create_queue(QueueName="sluice-webhook")["QueueUrl"]
    with Collector() as collector:
        for name, value in {
            "QUEUE_URL_WEBHOOK": queue,
            "OTLP_ENDPOINT": collector.url,
            "OTLP_HEADERS": "authorization=Bearer%20x1, x-team = a=b ,,nonsense",
            "ALLOW_PRIVATE_ADDRESSES": "true",
        }.items():
            monkeypatch.setenv(name, value)
        settings.cache_clear()
        export.away.note(failed=False)
        yield Traced(world, collector, queue, monkeypatch)
        export.away.note(failed=False)
        export._client().close()
        export._client.cache_clear()


def by_name(spans: list[Got], start: str) -> list[Got]:
    return [one for one in spans if one.name.startswith(start)]


async def nothing() -> str:
    return "done"


async def busy(ctx: Context) -> AgentResult:
    """Two children of one call each, a tool, and a call of its own: three calls in all."""
    found = await ctx.map("child", ["a", "b"])
    await ctx.tool("lookup", nothing, {"q": 1})
    reply = await ctx.model([{"role": "user", "content": " ".join(one.response or "" for one in found)}])
    return AgentResult(reply.content)


async def child(ctx: Context) -> AgentResult:
    return AgentResult((await ctx.model([{"role": "user", "content": ctx.message}], last=True)).content)


def test_a_run_with_children_calls_and_a_tool_is_one_tree(traced: Traced) -> None:
    traced.runs["child"] = child
    task, spans = traced.run(busy, session_id="s1", params={"metadata": {"order": "7"}})
    assert task.status is Status.COMPLETE
    ids = {one.span_id for one in spans}
    (root,) = [one for one in spans if one.parent not in ids]
    assert (root.name, root.parent, root.error) == ("invoke_agent boss", "", None)
    assert {one.trace_id for one in spans} == {root.trace_id}
    (group,) = by_name(spans, "children map")
    (tool,) = by_name(spans, "execute_tool lookup")
    runs = by_name(spans, "invoke_agent child")
    calls = by_name(spans, "chat gpt-4o-mini")
    assert len(spans) == 8
    assert {group.parent, tool.parent} == {root.span_id}
    assert [one.parent for one in runs] == [group.span_id] * 2
    assert sorted(one.parent for one in calls) == sorted([root.span_id, *(one.span_id for one in runs)])
    # Each lies within what it belongs to.
    at = {one.span_id: one for one in spans}
    for one in spans:
        if one.parent:
            assert at[one.parent].start <= one.start <= one.end <= at[one.parent].end, one.name
    assert tool.start >= group.end
    tasks = [task, *(store.get(family.child_id(task.task_id, "map#1", n)) for n in range(2))]
    assert sum(one.attributes[names.INPUT_TOKENS] for one in calls) == sum(one.input_tokens for one in tasks)
    assert sum(one.attributes[names.OUTPUT_TOKENS] for one in calls) == sum(one.output_tokens for one in tasks)
    assert round(sum(one.attributes[names.COST] for one in calls) * 1e6) == sum(one.micro_usd for one in tasks) > 0
    # Receivers add these up, and would count a run's own beside its calls'.
    for one in spans:
        assert (names.INPUT_TOKENS in one.attributes) == (one in calls)
    assert {
        name: root.attributes[name]
        for name in (names.OPERATION, names.AGENT, names.CONVERSATION, names.TASK, names.STATUS, names.USER)
    } == {
        names.OPERATION: "invoke_agent",
        names.AGENT: "boss",
        names.CONVERSATION: "s1",
        names.TASK: task.task_id,
        names.STATUS: "complete",
        names.USER: "ann",
    }
    assert root.attributes["sluice.metadata.order"] == "7"
    assert calls[0].attributes[names.FINISH_REASONS] == ["stop"]
    assert (tool.attributes[names.OPERATION], tool.attributes[names.TOOL]) == ("execute_tool", "lookup")
    assert "started" in root.notes


def test_the_collector_is_asked_as_the_operator_says(traced: Traced) -> None:
    traced.run(child)
    (asked,) = traced.collector.asked
    assert traced.collector.paths == ["/v1/traces"]
    assert (asked["authorization"], asked["x-team"]) == ("Bearer x1", "a=b")
    assert (asked["content-type"], asked["content-encoding"]) == ("application/x-protobuf", "gzip")
    assert traced.collector.resources[0]["service.name"] == "sluice"


def test_a_second_export_tells_of_the_same_spans(traced: Traced) -> None:
    task, spans = traced.run(child)
    before = list(traced.collector.received)
    assert export.export(task.task_id).exported
    assert traced.collector.received[len(before) :] == before
    assert traced.collector.spans == spans


def test_no_message_text_leaves_the_system(traced: Traced) -> None:
    async def run(ctx: Context) -> AgentResult:
        secret = "the patient's name"
        await ctx.tool("look", nothing, {"q": secret})
        await ctx.model([{"role": "user", "content": secret}])
        return AgentResult(secret)

    _, spans = traced.run(run)
    assert len(spans) == 3
    assert "patient" not in str(spans)


def test_a_callers_trace_is_joined_and_goes_on_to_children_and_webhooks(traced: Traced) -> None:
    traced.runs["child"] = child
    task, spans = traced.run(busy, params={"traceparent": PARENT})
    given = traceparent.parse(PARENT)
    assert given is not None
    assert {one.trace_id for one in spans} == {given.trace_id}
    (root,) = by_name(spans, "invoke_agent boss")
    assert root.parent == given.parent
    assert traceparent.outgoing(task) == f"00-{given.trace_id}-{root.span_id}-01"


def test_a_trace_that_its_caller_does_not_record_is_not_exported(traced: Traced) -> None:
    traced.runs["child"] = child
    task, spans = traced.run(busy, params={"traceparent": UNSAMPLED})
    assert (task.status, spans, traced.messages()) == (Status.COMPLETE, [], [])
    outgoing = traceparent.outgoing(task)
    assert outgoing is not None
    assert outgoing.endswith("-00")


class _Seen:
    """A server that notes the headers of each request."""

    def __init__(self) -> None:
        self.headers: list[dict[str, str]] = []
        seen = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                seen.headers.append({name.lower(): value for name, value in self.headers.items()})
                self.send_response(200)
                self.send_header("content-length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            do_POST = do_GET

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/"
        self.thread = Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> "_Seen":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.mark.parametrize(("endpoint", "given"), [(True, None), (True, PARENT), (False, PARENT), (False, None)])
def test_requests_of_tools_name_the_tools_span(
    traced: Traced, monkeypatch: pytest.MonkeyPatch, endpoint: bool, given: str | None
) -> None:
    if not endpoint:
        monkeypatch.setenv("OTLP_ENDPOINT", "")
        settings.cache_clear()
    told: list[str | None] = []

    with _Seen() as server:

        async def run(ctx: Context) -> AgentResult:
            async def fetch() -> str:
                told.append(ctx.traceparent)
                return (await ctx.http.get(server.url)).text

            return AgentResult(await ctx.tool("fetch", fetch, {}))

        task, spans = traced.run(run, params={"traceparent": given} if given else {})
        headers = server.headers[0]
    assert headers.get("traceparent") == told[0]
    if endpoint:
        (tool,) = by_name(spans, "execute_tool fetch")
        assert told[0] == f"00-{tool.trace_id}-{tool.span_id}-01"
    else:  # it is no part of the trace, and passes on what it was given
        assert (told[0], spans) == (given, [])
    assert task.status is Status.COMPLETE


def test_a_webhook_names_its_runs_span(traced: Traced, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBHOOK_SECRET", "s")
    settings.cache_clear()
    with _Seen() as server:
        _, spans = traced.run(child, params={"webhook_url": server.url})
    (root,) = by_name(spans, "invoke_agent boss")
    assert [one["traceparent"] for one in server.headers] == [f"00-{root.trace_id}-{root.span_id}-01"]


def test_waits_are_spans_from_their_beginning(traced: Traced) -> None:
    async def run(ctx: Context) -> AgentResult:
        await ctx.sleep(3)
        return AgentResult("up")

    task, spans = traced.run(run)
    (wait,) = by_name(spans, "sleep")
    assert wait.attributes[names.KIND] == "sleep"
    (root,) = by_name(spans, "invoke_agent")
    assert 2.9 <= wait.seconds <= root.seconds
    assert root.attributes[names.WAITED_S] > 0
    assert task.status is Status.COMPLETE


def test_a_failed_runs_spans_say_so(traced: Traced, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_RETRIES", "0")
    settings.cache_clear()

    async def run(ctx: Context) -> AgentResult:
        async def breaks() -> str:
            raise RuntimeError("no")

        return AgentResult(await ctx.tool("breaks", breaks, {}))

    task, spans = traced.run(run)
    assert task.status is Status.FAILED
    root, tool = spans
    assert (root.name, root.error, root.attributes[names.ERROR_TYPE]) == (
        "invoke_agent boss",
        "RuntimeError: no",
        "agent_error",
    )
    assert tool.name == "execute_tool breaks"
    assert tool.error
    assert tool.end == root.end


def test_calls_that_brought_no_reply_are_paid_for_on_a_span_of_their_own(
    traced: Traced, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAX_RETRIES", "0")
    settings.cache_clear()

    async def run(ctx: Context) -> AgentResult:
        await ctx.model([{"role": "user", "content": "fine"}])
        await ctx.model([{"role": "user", "content": "[[sim fail=drop words=40]] long"}])
        return AgentResult("")

    task, spans = traced.run(run)
    calls = by_name(spans, "chat")
    unrecorded = [one for one in calls if one.attributes.get(names.UNRECORDED)]
    assert (task.status, len(calls), len(unrecorded)) == (Status.FAILED, 2, 1)
    assert round(sum(one.attributes[names.COST] for one in calls) * 1e6) == task.micro_usd
    assert sum(one.attributes[names.INPUT_TOKENS] for one in calls) == task.input_tokens
    assert unrecorded[0].error


def test_a_collector_that_is_away_is_tried_again_and_loses_nothing(traced: Traced) -> None:
    traced.collector.answer = 503
    traced.collector.headers = {"retry-after": "30"}
    task, spans = traced.run(child)
    assert spans == []
    with_retry: Any = aws.sqs().get_queue_attributes(
        QueueUrl=traced.queue, AttributeNames=["ApproximateNumberOfMessagesDelayed"]
    )
    assert with_retry["Attributes"]["ApproximateNumberOfMessagesDelayed"] == "1"
    traced.collector.answer = 200
    at = time.time()
    message = {"v": 1, "task_id": task.task_id, "type": "trace", "url": "", "owner": "#traces"}
    body = json.dumps(message | {"attempt": 2, "first": at, "due": at})
    export.away.note(failed=False)
    handler({"Records": [{"messageId": "m", "body": body}]}, None)
    assert len(traced.collector.spans) == 2


def test_while_the_collector_has_just_failed_others_do_not_wait_for_it(traced: Traced) -> None:
    task, _ = traced.run(child)
    asked = len(traced.collector.asked)
    traced.collector.answer = 500 + 4
    assert export.export(task.task_id).error == "the collector answered 504"
    assert export.export(task.task_id).error == "the collector has just failed"
    assert len(traced.collector.asked) == asked + 1
    clock.set_ahead(export.AWAY_SECONDS + 1)
    try:
        traced.collector.answer = 200
        assert export.export(task.task_id).exported
    finally:
        clock.set_ahead(0)


@pytest.mark.parametrize(
    ("status", "final"), [(400, True), (401, True), (404, True), (429, False), (500, True), (502, False), (503, False)]
)
def test_what_is_refused_for_good_is_not_sent_again(traced: Traced, status: int, final: bool) -> None:
    task, _ = traced.run(child)
    traced.collector.answer = status
    answer = export.export(task.task_id)
    assert (answer.exported, answer.final) == (False, final)


def test_a_collector_that_cannot_be_reached_is_no_error_of_the_function(
    traced: Traced, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTLP_ENDPOINT", "http://127.0.0.1:9")
    settings.cache_clear()
    task, _ = traced.run(child)
    assert task.status is Status.COMPLETE
    answer = export.export(task.task_id)
    assert (answer.exported, answer.final) == (False, False)


def test_an_export_is_given_up_after_a_day(traced: Traced) -> None:
    traced.collector.answer = 503
    task, _ = traced.run(child)
    traced.messages()
    at = time.time() - 86_500
    message = {"v": 1, "task_id": task.task_id, "type": "trace", "url": "", "owner": "#traces"}
    body = json.dumps(message | {"attempt": 18, "first": at, "due": at})
    assert handler({"Records": [{"messageId": "m", "body": body}]}, None) == {"batchItemFailures": []}
    attributes: Any = aws.sqs().get_queue_attributes(
        QueueUrl=traced.queue, AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesDelayed"]
    )["Attributes"]
    delayed = int(attributes["ApproximateNumberOfMessagesDelayed"])
    assert (attributes["ApproximateNumberOfMessages"], delayed) == ("0", 1)  # the first run's own


def test_a_task_that_ended_while_sqs_was_away_is_exported_by_the_sweeper(
    traced: Traced, monkeypatch: pytest.MonkeyPatch
) -> None:
    from functions.sweeper import sweep
    from shared.errors import DependencyDown

    def away(*_: Any, **__: Any) -> None:
        raise DependencyDown("sqs")

    with monkeypatch.context() as patch:
        patch.setattr(webhooks, "send", away)
        traced.runs["boss"] = child
        task = traced.world.submit("go", agent="boss")
        traced.world.work()
    assert (store.get(task.task_id).status, traced.messages()) == (Status.COMPLETE, [])
    clock.set_ahead(owed.GRACE_SECONDS + 1)
    try:
        sweep.sweep(clock.now() + 60)
        traced.deliver()
    finally:
        clock.set_ahead(0)
    assert len(traced.collector.spans) == 2


def test_without_a_collector_nothing_is_sent_or_left_to_be_looked_after(
    traced: Traced, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTLP_ENDPOINT", "")
    settings.cache_clear()
    task, spans = traced.run(child)
    assert (task.status, spans, traced.messages()) == (Status.COMPLETE, [], [])


def test_a_run_once_more_is_linked_to_the_first(traced: Traced) -> None:
    first, _ = traced.run(child)
    again, spans = traced.run(child, params={"retry_of": first.task_id})
    (span,) = [one for one in spans if one.attributes.get(names.TASK) == again.task_id]
    place = traceparent.of_task(first)
    assert span.links == [(place.trace_id, traceparent.span_id(first.task_id, traceparent.RUN))]
    assert span.trace_id != place.trace_id


def test_spans_that_the_collector_rejects_are_told_of_and_not_sent_again(
    traced: Traced, capsys: pytest.CaptureFixture[str]
) -> None:
    traced.collector.rejected = 2
    task, _ = traced.run(child)
    assert '"SpansRejected":2' in capsys.readouterr().out
    assert export.export(task.task_id).exported


def _task(**values: Any) -> Task:
    known: dict[str, Any] = {"task_id": "task_1", "user": "u", "lane": "normal", "agent": "a", "model": "m"}
    return Task(
        **(known | {"created": 100.0, "day": "2026-01-01", "ended_at": 200.0, "status": Status.COMPLETE} | values)
    )


@pytest.mark.parametrize("steps", [tree.MOST_SPANS - 1, tree.MOST_SPANS, tree.MOST_SPANS + 7])
def test_a_run_of_very_many_steps_is_cut_and_says_so(steps: int) -> None:
    log = [Event("step", 100.0 + n / 1000, {"step": "s", "n": n, "ms": 1}) for n in range(1, steps + 1)]
    spans = tree.Tree(_task(), lambda *_: None).spans(log)
    dropped = max(0, steps - tree.MOST_SPANS + 1)
    assert len(spans) == min(steps + 1, tree.MOST_SPANS)
    assert spans[0].attributes.get(names.DROPPED, 0) == dropped
    assert len(list(encode.requests(spans))) == -(-len(spans) // encode.SPANS_AT_ONCE)


def test_a_step_that_failed_is_an_error_until_it_is_done_after_all() -> None:
    failed = Event("step", 150.0, {"step": "s", "n": 1, "ms": 50, "kind": "tool", "error": {"code": "agent_error"}})
    other = Event("step", 151.0, {"step": "m", "n": 1, "ms": 50, "kind": "model", "error": {"code": "cancelled"}})
    spans = tree.Tree(_task(), lambda *_: None).spans([failed, other])
    assert [one.name for one in spans] == ["invoke_agent a", "execute_tool s", "step m"]
    assert [one.error for one in spans] == [None, "agent_error", "cancelled"]
    assert spans[1].attributes[names.ERROR_TYPE] == "agent_error"
    done = Event("step", 160.0, {"step": "s", "n": 1, "ms": 50, "kind": "tool"})
    spans = tree.Tree(_task(), lambda *_: None).spans([failed, other, done])
    assert [(one.name, one.error) for one in spans[1:]] == [("step m", "cancelled"), ("execute_tool s", None)]
    assert len({one.span_id for one in spans}) == 3


def test_events_of_an_older_version_make_spans_too() -> None:
    log = [Event("step", 150.0, {"step": "model", "n": 1, "call": "model-1.1", "model": "m", "tokens": 30, "ms": 50})]
    spans = tree.Tree(_task(input_tokens=10, output_tokens=20), lambda *_: None).spans(log)
    assert [one.name for one in spans] == ["invoke_agent a", "chat m"]
    assert spans[1].attributes[names.INPUT_TOKENS] == 30


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"step": ["x"]},
        {"step": "s", "n": 1, "ms": 1e12},
        {"step": "\ud800", "n": 2},
        {"step": "s", "n": "x"},
        {"step": "s", "call": []},
        {"step": "s", "error": []},
    ],
)
def test_odd_events_of_agents_do_not_break_an_export(data: dict[str, Any]) -> None:
    log = [Event("step", 150.0, data), Event("tool_call", 150.0, {}), Event("waiting", 150.0, {"for": []})]
    spans = tree.Tree(_task(), lambda *_: None).spans(log)
    for span in spans:
        assert span.start <= span.end
    assert list(encode.requests(spans))


def test_what_an_attribute_holds_is_bounded() -> None:
    long = Span(
        trace_id="0" * 31 + "1", span_id="0" * 15 + "1", name="n", start=1, end=2, attributes={"a": "x" * 9_999}
    )
    message = encode.message([long])
    value = message.resource_spans[0].scope_spans[0].spans[0].attributes[0].value.string_value
    assert len(value) == encode.TEXT_CHARACTERS


@pytest.mark.parametrize(
    ("text", "good"),
    [
        (PARENT, True),
        (UNSAMPLED, True),
        (" " + PARENT, True),
        ("01" + PARENT[2:] + "-more", True),
        (PARENT + "-more", False),
        ("ff" + PARENT[2:], False),
        (PARENT.upper(), False),
        ("00-" + "0" * 32 + PARENT[35:], False),
        (PARENT[:36] + "0" * 16 + "-01", False),
        (PARENT[:-1], False),
        ("", False),
        (None, False),
        ("x" * 10_000, False),
    ],
)
def test_a_header_is_read_as_the_standard_says(text: str | None, good: bool) -> None:
    assert (traceparent.parse(text) is not None) == good


@pytest.mark.parametrize(
    ("endpoint", "address"),
    [
        ("http://c:4318", "http://c:4318/v1/traces"),
        ("http://c:4318/", "http://c:4318/v1/traces"),
        ("https://c/otlp", "https://c/otlp/v1/traces"),
        ("https://c/otlp/v1/traces", "https://c/otlp/v1/traces"),
    ],
)
def test_the_address_is_completed(monkeypatch: pytest.MonkeyPatch, endpoint: str, address: str) -> None:
    monkeypatch.setenv("OTLP_ENDPOINT", endpoint)
    settings.cache_clear()
    assert export.address() == address
    settings.cache_clear()


def test_cancelled_while_it_waits_the_wait_ends_with_the_run() -> None:
    waits = [{"kind": "signal", "name": "go", "since": clock.iso(120.0), "until": clock.iso(500.0)}]
    log = [Event("waiting", 121.0, {"for": waits})]
    spans = tree.Tree(_task(status=Status.CANCELLED), lambda *_: None).spans(log)
    assert [(one.name, one.start, one.end) for one in spans[1:]] == [("signal go", 120.0, 200.0)]


def test_the_owner_of_exports_is_one_for_all_runs(traced: Traced) -> None:
    traced.runs["boss"] = child
    for user in ("ann", "bob"):
        traced.world.submit("go", agent="boss", user=user)
    traced.world.work_until_quiet()
    assert {one["owner"] for one in traced.deliver()} == {"#traces"}


def test_a_model_call_names_its_span(traced: Traced, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_RETRIES", "0")
    with _Seen() as provider:
        monkeypatch.setenv("OPENAI_BASE_URL", provider.url)
        settings.cache_clear()
        clients.model.cache_clear()
        task, _ = traced.run(child)
        clients.model.cache_clear()
        headers = provider.headers[0]
    place = traceparent.of_task(task)
    step = traceparent.span_id(task.task_id, traceparent.STEP, "model", 1)
    assert headers["traceparent"] == f"00-{place.trace_id}-{step}-01"


@pytest.mark.parametrize("requests", [1, 2])
def test_a_slow_collector_does_not_use_up_the_functions_time(
    traced: Traced, monkeypatch: pytest.MonkeyPatch, requests: int
) -> None:
    monkeypatch.setattr(encode, "SPANS_AT_ONCE", 1)
    monkeypatch.setattr(export, "ALL_SECONDS", 0.1)
    traced.collector.hangs_s = 0.2
    spans = [
        Span(trace_id="0" * 31 + "1", span_id=f"{n + 1:016x}", name="n", start=1.0, end=2.0) for n in range(requests)
    ]
    assert export.send(spans).exported == (requests == 1)
    assert len(traced.collector.asked) == 1


def test_exports_that_come_at_once_share_one_client(traced: Traced, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    client = export.httpx2.Client

    def slowly(**options: Any) -> Any:
        time.sleep(0.05)
        made.append(1)
        return client(**options)

    monkeypatch.setattr(export.httpx2, "Client", slowly)
    spans = [Span(trace_id="0" * 31 + "1", span_id="0" * 15 + "1", name="n", start=1.0, end=2.0)]
    threads = [Thread(target=export.send, args=(spans,)) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(traced.collector.asked) == 4
    assert made == [1]
