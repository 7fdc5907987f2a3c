"""The strict front: each limit on both sides, what is noted, and what is passed on untouched."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from localstack.front import calls, url
from localstack.strict import deployed, dynamodb, gateway, page, rules
from localstack.strict.emf import Metrics
from localstack.strict.front import Front
from localstack.strict.functions import Functions
from localstack.strict.lineage import Lineage
from localstack.strict.report import Refused, Report
from localstack.strict.rules import RULES
from localstack.strict.sqs import Queues
from localstack.strict.starts import POLLERS_S

TRACE = "Root=1-5759e988-bd862e3fe1be46a994272793"


class Emulator(SimpleNamespace):
    """What the front wraps of MiniStack's Lambda, with a function that a test gives."""

    def __init__(self, run: Callable[[Any], Any] = lambda _event: {"statusCode": 200, "body": "ok"}) -> None:
        self.records: dict[str, dict[str, Any]] = {}
        self._functions = SimpleNamespace(all_items=lambda: list(self.records.items()))
        super().__init__()
        self.run = run

    def _execute_function(self, func: dict[str, Any], event: Any) -> dict[str, Any]:
        return {"body": self.run(event), "log": ""}

    def _xray_trace_id_for_invocation(self, config: dict[str, Any], inbound: str | None = None) -> str | None:
        return inbound

    def lambda_execute_result_to_api_proxy_response(self, answer: dict[str, Any]) -> tuple[Any, str | None]:
        return answer["body"], None

    def _throttle_response(self, *, reason_code: str, msg: str) -> dict[str, Any]:
        return {"throttle": True, "body": {"Reason": reason_code, "message": msg}, "error": True}


class Runtime(SimpleNamespace):
    """What the front uses of MiniStack's environments; these functions have no code, so none starts."""

    _workers: dict[str, list[Any]] = {}  # noqa: RUF012

    def _worker_key(self, name: str, config: dict[str, Any], version: str) -> str:
        return f"{name}:{version}"

    _lock = _worker_class_for = ensure_spawned = release_worker = None


class World:
    """A front before an application that answers what a test says."""

    def __init__(self, run: Callable[[Any], Any] | None = None, *, quota: int = 200) -> None:
        self.emulator = Emulator(run) if run else Emulator()
        self.report, self.queues = Report(), Queues()
        self.functions = Functions(self.emulator, Runtime(), self.report, self.queues, quota=quota)
        self.status, self.answer = 200, b"{}"
        self.asked: list[dict[str, Any]] = []
        self.front = Front(self.app, self.report, self.queues, self.functions)

    async def app(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        self.asked.append(scope | {"body": body})
        await gateway.respond(send, self.status, self.answer)

    def request(
        self, path: str = "/", body: bytes | Any = b"", *, method: str = "POST", **headers: str
    ) -> tuple[int, dict[str, Any] | str]:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent: list[dict[str, Any]] = []
        given = {name.replace("_", "-"): value for name, value in headers.items()} | {"content-length": str(len(raw))}
        path, _, query = path.partition("?")
        scope = {
            "type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in given.items()],
        }  # fmt: skip

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": raw, "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        asyncio.run(self.front(scope, receive, send))
        text = b"".join(message.get("body", b"") for message in sent).decode()
        return sent[0]["status"], json.loads(text) if text.startswith("{") else text

    def sqs(self, operation: str, **body: Any) -> tuple[int, Any]:
        return self.request("/", {"QueueUrl": "q"} | body, x_amz_target=f"AmazonSQS.{operation}")

    def invoke(self, event: Any, **record: Any) -> dict[str, Any]:
        found: dict[str, Any] = self.emulator._execute_function({"config": {"FunctionName": "f"}} | record, event)
        return found

    @property
    def noted(self) -> list[str]:
        return [one["rule"] for one in self.report.read()["violations"]]


# ---- SQS

MESSAGE = {"MessageBody": "x"}


def trace(text: str) -> dict[str, Any]:
    return {"MessageSystemAttributes": {"AWSTraceHeader": {"DataType": "String", "StringValue": text}}}


SQS = [
    ("sqs-delay", "SendMessage", MESSAGE | {"DelaySeconds": 900}, MESSAGE | {"DelaySeconds": 901}),
    ("sqs-delay", "SendMessageBatch", {"Entries": [{"Id": "1", "DelaySeconds": 900}]},
     {"Entries": [{"Id": "0"}, {"Id": "1", "DelaySeconds": 901}]}),
    ("sqs-group", "SendMessage", MESSAGE | {"MessageGroupId": "g" * 128}, MESSAGE | {"MessageGroupId": "g" * 129}),
    ("sqs-group", "SendMessage", MESSAGE | {"MessageGroupId": "a-b"}, MESSAGE | {"MessageGroupId": "a b"}),
    ("sqs-attributes", "SendMessage", MESSAGE | {"MessageAttributes": dict.fromkeys(map(str, range(10)))},
     MESSAGE | {"MessageAttributes": dict.fromkeys(map(str, range(11)))}),
    ("sqs-trace", "SendMessage", MESSAGE | trace(TRACE), MESSAGE | trace("hello")),
    ("sqs-wait", "ReceiveMessage", {"WaitTimeSeconds": 20}, {"WaitTimeSeconds": 21}),
    ("sqs-visibility", "ReceiveMessage", {"VisibilityTimeout": 43_200}, {"VisibilityTimeout": 43_201}),
    ("sqs-visibility", "ChangeMessageVisibility", {"ReceiptHandle": "r", "VisibilityTimeout": 43_200},
     {"ReceiptHandle": "r", "VisibilityTimeout": 43_201}),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "operation", "passes", "breaks"), SQS)
def test_sqs(rule: str, operation: str, passes: dict[str, Any], breaks: dict[str, Any]) -> None:
    world = World()
    assert world.sqs(operation, **passes)[0] == 200
    assert json.loads(world.asked[0]["body"]) == {"QueueUrl": "q"} | passes
    assert world.noted == []
    status, answer = world.sqs(operation, **breaks)
    assert (status, answer["__type"]) == (400, "InvalidParameterValue")
    assert world.noted == [rule]
    assert len(world.asked) == 1


def test_visibility_counts_from_the_receive() -> None:
    at = [1000.0]
    queues = Queues(lambda: at[0])
    queues.received("q", ["r"], 60)
    at[0] += 40_000
    queues.check("ChangeMessageVisibility", {"ReceiptHandle": "r", "VisibilityTimeout": 3200})
    queues.check("ChangeMessageVisibilityBatch", {"Entries": [{"ReceiptHandle": "r", "VisibilityTimeout": 0}]})
    with pytest.raises(Refused, match="beyond the limit"):
        queues.check("ChangeMessageVisibilityBatch", {"Entries": [{"ReceiptHandle": "r", "VisibilityTimeout": 3201}]})


def test_messages_in_flight_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RULES, "sqs-in-flight", replace(RULES["sqs-in-flight"], most=2))
    at = [0.0]
    queues = Queues(lambda: at[0])
    queues.received("q", ["a", "b"], 30)
    with pytest.raises(Refused):
        queues.check("ReceiveMessage", {"QueueUrl": "q"})
    queues.deleted("q", ["a"])
    queues.check("ReceiveMessage", {"QueueUrl": "q"})
    queues.received("q", ["c"], 30)
    at[0] = 31
    queues.check("ReceiveMessage", {"QueueUrl": "q"})


# ---- DynamoDB

INDEXES = dynamodb.indexes_of(
    {
        "GlobalSecondaryIndexes": [
            {"KeySchema": [{"AttributeName": "user", "KeyType": "HASH"}, {"AttributeName": "at", "KeyType": "RANGE"}]}
        ]
    }
)


def item(**attributes: str) -> dict[str, Any]:
    return {"TableName": "t", "Item": {name: {"S": value} for name, value in attributes.items()}}


DYNAMODB = [
    ("dynamodb-index-key", item(user="u" * 2048), item(user="u" * 2049)),
    ("dynamodb-index-key", item(at="é" * 512), item(at="é" * 513)),
    ("dynamodb-index-key", {"TransactItems": [{"Put": item(user="u")}]},
     {"TransactItems": [{"Put": item(user="u" * 2049)}]}),
    ("dynamodb-index-key", {"RequestItems": {"t": [{"PutRequest": item(user="u")}]}},
     {"RequestItems": {"t": [{"PutRequest": item(user="u" * 2049)}]}}),
    ("dynamodb-values", {"TableName": "t", "ExpressionAttributeValues": {":v": {"S": "x" * 2_000_000}}},
     {"TableName": "t", "ExpressionAttributeValues": {":v": {"S": "x" * 2_097_153}}}),
    ("dynamodb-in", {"TableName": "t", "ConditionExpression": f"a IN ({','.join([':v'] * 100)})"},
     {"TableName": "t", "ConditionExpression": f"a IN ({','.join([':v'] * 101)})"}),
    ("dynamodb-statement", {"Statements": [{"Statement": "s" * 8192}]}, {"Statements": [{"Statement": "s" * 8193}]}),
    ("dynamodb-statement", {"Statement": "s" * 8192}, {"Statement": "s" * 8193}),
    ("dynamodb-operators", {"TableName": "t", "ConditionExpression": " AND ".join(["a=b"] * 150)},
     {"TableName": "t", "ConditionExpression": " AND ".join(["a=b"] * 151)}),
    ("dynamodb-operators", {"TransactItems": [{"Update": {"TableName": "t", "UpdateExpression": "a=b," * 300}}]},
     {"TransactItems": [{"Update": {"TableName": "t", "UpdateExpression": "a=b," * 300 + "c=d+e"}}]}),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "passes", "breaks"), DYNAMODB)
def test_dynamodb(rule: str, passes: dict[str, Any], breaks: dict[str, Any]) -> None:
    dynamodb.check(passes, {"t": INDEXES})
    with pytest.raises(Refused) as refused:
        dynamodb.check(breaks, {"t": INDEXES})
    assert refused.value.rule == rule


def test_a_tables_indexes_are_asked_for_once() -> None:
    world = World()
    schema = [{"AttributeName": "user", "KeyType": "HASH"}]
    world.answer = json.dumps({"Table": {"GlobalSecondaryIndexes": [{"KeySchema": schema}]}}).encode()
    for _ in range(2):
        status, answer = world.request("/", item(user="u" * 2049), x_amz_target="DynamoDB_20120810.PutItem")
        assert (status, answer["__type"]) == (400, "ValidationException")  # type: ignore[index]
    assert len(world.asked) == 1
    assert world.noted == ["dynamodb-index-key"] * 2


# ---- Lambda


def test_what_a_function_gets_and_gives_is_bounded() -> None:
    world = World(lambda event: "x" * event["size"])
    assert world.invoke({"size": 6_291_554})["body"] == "x" * 6_291_554
    assert world.noted == []
    assert world.invoke({"size": 6_291_555})["error"]
    assert world.invoke({"size": 1, "x": "x" * 6_291_556})["error"]
    assert world.noted == ["lambda-response", "lambda-request"]


def test_an_answers_escapes_count() -> None:
    world = World(lambda _: {"statusCode": 200, "body": '"' * 3_200_000})
    assert world.invoke({})["body"]["errorType"] == "Function.ResponseSizeTooLarge"


@pytest.mark.parametrize(
    ("path", "passes", "breaks", "rule"),
    [
        ("functions/f/invocations", b"x" * 6_291_556, b"x" * 6_291_557, "lambda-request"),
        ("functions/f/configuration", {"Environment": {"Variables": {"A": "x" * 4095}}},
         {"Environment": {"Variables": {"A": "x" * 4096}}}, "lambda-environment"),
        ("functions/f/configuration", {"Timeout": 1800}, {"Timeout": 1801}, "lambda-timeout"),
        ("event-source-mappings/m", {"BatchSize": 10}, {"BatchSize": 11}, "lambda-mapping-batch"),
        ("event-source-mappings/m", {"BatchSize": 11, "MaximumBatchingWindowInSeconds": 1}, {"BatchSize": 11},
         "lambda-mapping-batch"),
        ("functions/f/concurrency", {"ReservedConcurrentExecutions": 100}, {"ReservedConcurrentExecutions": 101},
         "lambda-reserve"),
    ],
)  # fmt: skip
def test_lambda_calls(path: str, passes: Any, breaks: Any, rule: str) -> None:
    world = World()
    assert world.request(f"/2015-03-31/{path}", passes)[0] == 200
    assert world.noted == []
    assert world.request(f"/2015-03-31/{path}", breaks)[0] >= 400
    assert world.noted == [rule]


def test_an_asynchronous_event_is_smaller() -> None:
    world = World()
    path = "/2015-03-31/functions/f/invocations"
    assert world.request(path, b"x" * 1_048_576, x_amz_invocation_type="Event")[0] == 200
    assert world.request(path, b"x" * 1_048_577, x_amz_invocation_type="Event")[0] == 413
    assert world.noted == ["lambda-async"]


def test_a_function_whose_environment_is_too_large_is_never_invoked() -> None:
    world = World()
    config = {"FunctionName": "f", "Environment": {"Variables": {"A": "x" * 4096}}}
    assert world.invoke({}, config=config)["error"]
    assert world.noted == ["lambda-environment"]


def test_reserved_parts_are_taken_out_of_the_pool() -> None:
    answers: list[Any] = []
    world = World(quota=103)
    world.emulator.records["w"] = {"concurrency": 102, "config": {}}

    def run(_event: Any) -> str:
        if not answers:
            answers.append(None)
            answers.append(world.invoke({"second": 1}))  # beside the first: one is all there is
            answers.append(world.invoke({"third": 1}, concurrency=102))
        return "ok"

    world.emulator.run = run
    assert world.invoke({"first": 1})["body"] == "ok"
    assert answers[1]["throttle"]
    assert answers[2]["body"] == "ok"
    assert world.invoke({"after": 1})["body"] == "ok"
    assert world.noted == []  # AWS throttles, too: that is no mistake


def test_an_invocation_that_no_environment_could_be_started_for_is_throttled(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    assert world.invoke({})["body"]["statusCode"] == 200
    waits: list[float | None] = []
    monkeypatch.setattr(world.functions._starts, "begin", lambda _, longest_s: bool(waits.append(longest_s)))
    answer = world.invoke({})
    assert (answer["throttle"], answer["body"]["Reason"]) == (True, "ConcurrentInvocationLimitExceeded")
    for records in ([], [{"Sns": {}}], [{"receiptHandle": "r", "eventSourceARN": "q"}]):
        world.invoke({"Records": records})
    assert waits == [None, None, None, POLLERS_S], "a poller tries again"


@pytest.mark.parametrize(("quota", "status"), [(200, 200), (199, 400)])
def test_all_reservations_together_leave_a_hundred(quota: int, status: int) -> None:
    world = World(quota=quota)
    world.emulator.records["a"] = {"concurrency": 60, "config": {"FunctionName": "a"}}
    world.emulator.records["b"] = {"concurrency": 90, "config": {"FunctionName": "b"}}  # this one's own is not added
    body = {"ReservedConcurrentExecutions": 40}
    assert world.request("/2017-10-31/functions/b/concurrency", body, method="PUT")[0] == status
    assert world.noted == ["lambda-reserve"] * (status == 400)


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (
            {"throttle": True, "error": True, "body": {"Reason": "ReservedFunctionConcurrentInvocationLimitExceeded"}},
            500,
        ),
        ({"error": True, "body": {"errorMessage": "secret", "statusCode": 200}}, 502),
        ({"body": {"statusCode": 200, "body": "x"}}, 200),
    ],
)
def test_the_gateway_says_nothing_of_why_it_has_no_answer(answer: dict[str, Any], status: int) -> None:
    told, _ = World().emulator.lambda_execute_result_to_api_proxy_response(answer)
    assert told["statusCode"] == status
    assert told["body"] == ("x" if status == 200 else '{"message":"Internal server error"}')


# ---- loops


def hop(lineage: Lineage, function: str, event: Any, message_id: str, trace: str | None = None) -> int:
    run = lineage.begin(function, event)
    lineage.sent(run.header, trace, message_id)
    return run.times


def brings(*message_ids: str) -> dict[str, Any]:
    return {"Records": [{"messageId": one, "attributes": {}} for one in message_ids]}


def test_a_chain_through_a_queue_is_counted() -> None:
    lineage = Lineage()
    assert hop(lineage, "f", {}, "m0") == 1
    assert [hop(lineage, "f", brings(f"m{n}"), f"m{n + 1}") for n in range(20)] == [*range(2, 22)]


def test_a_chain_over_two_functions_counts_each() -> None:
    lineage = Lineage()
    hop(lineage, "api", {}, "a0")
    for n in range(5):
        assert hop(lineage, "f", brings(f"a{n}"), f"b{n}") == n + 1
        assert hop(lineage, "g", brings(f"b{n}"), f"a{n + 1}") == n + 1


def test_fanning_out_is_no_loop_and_a_new_message_is_no_hop() -> None:
    lineage = Lineage()
    run = lineage.begin("f", {})
    for n in range(40):
        lineage.sent(run.header, None, f"m{n}")
    assert {lineage.begin("f", brings(f"m{n}")).times for n in range(40)} == {2}
    lineage.sent(None, None, "of an operator")
    assert lineage.begin("f", brings("of an operator")).times == 1


def test_a_batchs_messages_keep_the_chains_of_their_traces() -> None:
    lineage = Lineage()
    other = TRACE.replace("5759", "aaaa")
    for n in range(9):
        hop(lineage, "f", brings(f"m{n}"), f"m{n + 1}")
    event = brings("m9", "fresh")
    event["Records"][0]["attributes"]["AWSTraceHeader"] = TRACE
    event["Records"][1]["attributes"]["AWSTraceHeader"] = other
    run = lineage.begin("f", event)
    lineage.sent(run.header, other, "next of fresh")
    lineage.sent(run.header, TRACE, "next of m9")
    assert lineage.begin("f", brings("next of fresh")).times == 2
    assert lineage.begin("f", brings("next of m9")).times == 11


@pytest.mark.parametrize(("says", "stopped"), [({"recursive_loop": "Allow"}, []), ({}, ["lambda-loop"])])
def test_a_loop_is_stopped_at_its_seventeenth_time_unless_it_is_allowed(
    says: dict[str, str], stopped: list[str]
) -> None:
    world = World()
    sent = [0]

    def send_on(_event: Any) -> str:
        sent[0] += 1
        world.answer = json.dumps({"MessageId": f"m{sent[0]}"}).encode()
        caller = world.emulator._xray_trace_id_for_invocation({})
        assert caller is not None
        world.sqs("SendMessage", MessageBody="again")
        world.functions.lineage.sent(caller, None, f"m{sent[0]}")
        return "ok"

    world.emulator.run = send_on
    world.invoke({}, **says)
    for _ in range(30):
        last = world.invoke(brings(f"m{sent[0]}"), **says)
    assert world.noted[:1] == stopped
    assert (last.get("error"), sent[0]) == ((True, 16) if stopped else (None, 31))


def test_the_calls_header_leads_from_a_message_to_its_sender() -> None:
    world = World()
    run = world.functions.lineage.begin("f", {})
    world.answer = b'{"MessageId": "m"}'
    world.request("/", {"QueueUrl": "q"}, x_amz_target="AmazonSQS.SendMessage", x_amzn_trace_id=run.header)
    world.answer = b'{"Successful": [{"Id": "1", "MessageId": "n"}]}'
    batch = {"QueueUrl": "q", "Entries": [{"Id": "1"}]}
    world.request("/", batch, x_amz_target="AmazonSQS.SendMessageBatch", x_amzn_trace_id=run.header)
    assert world.functions.lineage.begin("f", brings("m")).times == 2
    assert world.functions.lineage.begin("f", brings("n")).times == 2


# ---- API Gateway

API = f"{gateway.PATH}51a1ce00/$default/agent"


def test_headers_and_bodies_of_the_gateway() -> None:
    world = World()
    assert world.request(API, x_long="x" * 10_000)[0] == 200
    assert world.request(API, x_long="x" * 10_240)[0] == 431
    assert world.noted == ["gateway-headers"]
    world.report.read(take=True)
    assert world.request(API, b"x" * 10_485_760)[0] == 200
    assert world.request(API, b"x" * 10_485_761)[0] == 413


def test_a_request_has_a_trace() -> None:
    world = World()
    world.request(API)
    world.request(API, x_amzn_trace_id=TRACE)
    traces = [dict(asked["headers"])[b"x-amzn-trace-id"] for asked in world.asked]
    assert traces[0].startswith(b"Root=1-")
    assert traces[1] == TRACE.encode()


def test_an_answer_that_does_not_come_in_time_is_503(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()

    quick = world.front._app

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        while not world.noted:  # noqa: ASYNC110 - a list of text
            await asyncio.sleep(0.01)
        await quick(scope, receive, send)

    assert world.request(API)[0] == 200
    monkeypatch.setitem(RULES, "gateway-time", replace(RULES["gateway-time"], most=0.05))
    monkeypatch.setattr(world.front, "_app", slow)
    assert world.request(API) == (503, {"message": "Service Unavailable"})
    assert world.noted == ["gateway-time"]


def test_what_is_pushed_to_a_client_is_bounded() -> None:
    world = World()
    path = f"{gateway.PATH}51a1ce01/live/@connections/c"
    assert world.request(path, b"x" * 131_072)[0] == 200
    assert world.request(path, b"x" * 131_073)[0] == 413
    assert world.noted == ["socket-message"]


def frames(messages: list[dict[str, Any]], *, stays: bool = False) -> list[dict[str, Any]]:
    """Serve a WebSocket that brings messages, then ends or stays until it is closed; returns what its client gets."""
    waiting, got, closed = list(messages), [], asyncio.Event()

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        while (message := await receive())["type"] != "websocket.disconnect":
            await send({"type": "websocket.send", "text": f"got {len(message.get('text', ''))}"})

    async def receive() -> dict[str, Any]:
        if waiting:
            return waiting.pop(0)
        if stays:
            await closed.wait()
        return {"type": "websocket.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        got.append(message)
        if message["type"] == "websocket.close":
            closed.set()

    asyncio.run(gateway.socket(app, {"type": "websocket"}, receive, send))
    return got


def test_a_clients_frame_is_bounded() -> None:
    assert frames([{"type": "websocket.receive", "text": "x" * 32_768}])[0]["text"] == "got 32768"
    assert frames([{"type": "websocket.receive", "text": "x" * 32_769}]) == [{"type": "websocket.close", "code": 1009}]


def test_an_idle_connection_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert frames([]) == []
    monkeypatch.setitem(RULES, "socket-idle", replace(RULES["socket-idle"], most=0.05))
    assert frames([], stays=True) == [{"type": "websocket.close", "code": 1001}]


def test_a_connection_ends_however_much_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RULES, "socket-life", replace(RULES["socket-life"], most=1))
    said = frames([{"type": "websocket.receive", "text": "x"}], stays=True)
    assert said[-1] == {"type": "websocket.close", "code": 1001}
    assert said[0]["text"] == "got 1"


# ---- S3

FUNCTION = "AWS4-HMAC-SHA256 Credential=000000000000/20261128/us-east-1/s3/aws4_request, Signature=x"
OPERATOR = FUNCTION.replace("000000000000", "test")


@pytest.mark.parametrize(("who", "status"), [(FUNCTION, 403), (OPERATOR, 404)])
def test_a_missing_object_is_403_to_who_may_not_list(who: str, status: int) -> None:
    world = World()
    world.status, world.answer = 404, b"<Error><Code>NoSuchKey</Code></Error>"
    assert world.request("/b/key", method="GET", authorization=who)[0] == status
    world.status = 200
    assert world.request("/b/key", method="GET", authorization=who)[0] == 200
    assert world.noted == []


def test_a_bucket_of_another_account_is_refused() -> None:
    world = World()
    assert world.request("/b/key", method="PUT", authorization=FUNCTION, x_amz_expected_bucket_owner="0" * 12)[0] == 200
    assert world.request("/b/key", method="PUT", authorization=FUNCTION, x_amz_expected_bucket_owner="9" * 12)[0] == 403


def test_a_key_is_bounded() -> None:
    world = World()
    assert world.request("/b/" + "k" * 1024, method="PUT", authorization=FUNCTION)[0] == 200
    assert world.request("/b/" + "k" * 1025, method="PUT", authorization=FUNCTION)[0] == 400
    assert world.noted == ["s3-key"]


MIB = 1024 * 1024


def s3_request(world: World, method: str, query: str, body: bytes = b"", **headers: str) -> int:
    return world.request(f"/bucket/key?{query}", body, method=method, authorization=FUNCTION, **headers)[0]


@pytest.mark.parametrize(
    ("sizes", "status"), [((5 * MIB, 1), 200), ((5 * MIB - 1, 1), 400), ((1,), 200), ((5 * MIB, 5 * MIB - 1), 200)]
)
def test_parts_but_the_last_have_five_mebibytes(sizes: tuple[int, ...], status: int) -> None:
    world = World()
    for n, size in enumerate(sizes, 1):
        assert s3_request(world, "PUT", f"uploadId=u&partNumber={n}", x_amz_decoded_content_length=str(size)) == 200
    listed = "".join(f"<Part><PartNumber>{n}</PartNumber></Part>" for n in range(1, len(sizes) + 1))
    assert s3_request(world, "POST", "uploadId=u", listed.encode()) == status
    assert world.noted == ["s3-part"] * (status == 400)


@pytest.mark.parametrize(("number", "status"), [(10_000, 200), (10_001, 400)])
def test_an_upload_has_so_many_parts(number: int, status: int) -> None:
    assert s3_request(World(), "PUT", f"uploadId=u&partNumber={number}") == status


@pytest.mark.parametrize(("seconds", "status"), [(604_800, 200), (604_801, 400)])
def test_a_presigned_url_is_good_for_a_week_at_most(seconds: int, status: int) -> None:
    world = World()
    assert world.request(f"/bucket/key?X-Amz-Expires={seconds}", method="GET")[0] == status
    assert world.noted == ["s3-presigned"] * (status == 400)


# ---- CloudWatch


def line(dimensions: list[str], metrics: int = 1, **values: Any) -> str:
    named = [{"Name": f"m{n}"} for n in range(metrics)]
    directive = {"Namespace": "N", "Metrics": named, "Dimensions": [dimensions]}
    return json.dumps({"_aws": {"CloudWatchMetrics": [directive]}, **values})


NAMES = {f"d{n}": "v" for n in range(31)}


@pytest.mark.parametrize(
    ("passes", "breaks", "rule"),
    [
        (line([*NAMES][:30], **NAMES), line([*NAMES], **NAMES), "emf-dimensions"),
        (line([], 100), line([], 101), "emf-metrics"),
        ("\n".join(line(["user"], user=f"u{n}") for n in range(100)), line(["user"], user="u100"), "emf-series"),
    ],
)
def test_metrics(passes: str, breaks: str, rule: str) -> None:
    report = Report()
    metrics = Metrics(report)
    metrics.read(f"START\n{passes}\nnot json _aws")
    assert report.read()["violations"] == []
    metrics.read(breaks)
    assert [one["rule"] for one in report.read()["violations"]] == [rule]


@pytest.mark.parametrize(
    ("value", "noted"), [("high", 0), ("x" * 1024, 0), ("x" * 1025, 1), ("", 1), (" ", 1), ("é", 1), ("a\n", 1)]
)
def test_a_dimensions_value_is_a_word_of_ascii(value: str, noted: int) -> None:
    report = Report()
    Metrics(report).read(line(["lane"], lane=value))
    assert [one["rule"] for one in report.read()["violations"]] == ["emf-value"] * noted


def test_a_line_of_a_log_is_bounded() -> None:
    report = Report()
    Metrics(report).read("x" * 1_048_576 + "\nshort")
    assert report.read()["violations"] == []
    Metrics(report).read("short\n" + "x" * 1_048_577)
    assert [one["rule"] for one in report.read()["violations"]] == ["emf-line"]


def test_a_streamed_answer_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert RULES["lambda-stream"].most == url.STREAM_BYTES
    monkeypatch.setattr(url, "STREAM_BYTES", 10)

    async def relayed(*chunks: bytes) -> bytes:
        call, sent = calls.Call({}, 5), list[bytes]()

        async def send(message: dict[str, Any]) -> None:
            sent.append(message.get("body", b""))

        call.data(b'{"statusCode": 200}' + calls.NULS)
        for one in chunks:
            call.data(one)
        call.end()
        await url._relay(call, send)
        return b"".join(sent)

    assert asyncio.run(relayed(b"12345", b"67890")) == b"1234567890"
    with pytest.raises(calls.Broken, match="more than 10 bytes"):
        asyncio.run(relayed(b"12345", b"678901"))


# ---- the report, the page


def test_the_report_can_be_read_and_taken() -> None:
    world = World()
    world.sqs("SendMessage", DelaySeconds=901)
    for method, left in (("GET", 1), ("DELETE", 1), ("GET", 0)):
        status, found = world.request("/_strict/report", method=method)
        assert status == 200
        assert len(found["violations"]) == left  # type: ignore[index]


def test_the_report_tells_what_is_under_way() -> None:
    states: list[list[tuple[str, str]]] = []

    def look(event: Any) -> dict[str, Any]:
        states.append([(one["function"], one["state"]) for one in world.report.read()["invocations"]])
        return {"body": "{}"}

    world = World(look)
    with world.report.invocation("other"):
        world.functions.execute({"config": {"FunctionName": "f"}}, {})
    assert states == [[("other", "waits for an environment"), ("f", "runs")]]
    assert world.report.read()["invocations"] == []


def test_another_version_of_the_emulator_is_not_started() -> None:
    emulator = Emulator()
    del emulator._functions
    with pytest.raises(RuntimeError, match="_functions"):
        Functions(emulator, Runtime(), Report(), Queues(), quota=1)
    with pytest.raises(RuntimeError, match="ensure_spawned"):
        Functions(Emulator(), SimpleNamespace(), Report(), Queues(), quota=1)


def test_what_no_rule_concerns_is_passed_on() -> None:
    world = World()
    assert world.request("/_ministack/health", method="GET")[0] == 200
    assert world.request("/", b"not json", x_amz_target="AmazonSQS.SendMessage")[0] == 200
    assert world.asked[1]["body"] == b"not json"


def test_the_page_is_of_today() -> None:
    assert page.PAGE.read_text() == page.page(), "run `make limits-page`"


def test_every_rule_has_a_source_of_its_vendor_and_a_test_that_is_there() -> None:
    for rule in RULES.values():
        assert rule.source.startswith(("https://docs.aws.amazon.com/", "https://aws.amazon.com/"))
        assert (page.PAGE.parent.parent / rule.test).exists(), rule.test
        assert time.strptime(rule.checked, "%Y-%m-%d")
    assert len(RULES) == len(rules._TABLE) + len(deployed.DEPLOYED)
