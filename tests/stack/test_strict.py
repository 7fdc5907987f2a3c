"""Limits that the local AWS enforces itself, and that the front stands before it."""

from __future__ import annotations

import secrets
import subprocess
import time
import uuid
from pathlib import Path
from typing import Any

import boto3
import httpx2
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from localstack.deployment import LOCAL_DEFAULTS
from shared.clock import day
from shared.settings import settings
from shared.tasks.model import Status, Task
from tests.stack_fixture import Stack

KEY = {"pk": {"S": "limits"}, "sk": {"S": "s"}}
VALUE = {":v": {"S": "1"}}


def client(service: str) -> Any:
    config = Config(parameter_validation=False, retries={"total_max_attempts": 1})
    return boto3.client(service, config=config)  # type: ignore[call-overload]


def put(**more: Any) -> None:
    client("dynamodb").put_item(TableName=settings().table_name, Item=KEY | more)


def transact(ops: list[dict[str, Any]], token: str = "") -> None:
    more = {"ClientRequestToken": token} if token else {}
    client("dynamodb").transact_write_items(TransactItems=ops, **more)


def nested(depth: int) -> dict[str, Any]:
    return {"S": "x"} if depth == 1 else {"L": [nested(depth - 1)]}


def parts(*bodies: bytes) -> None:
    where = {"Bucket": settings().blob_bucket, "Key": "limits"}
    s3 = client("s3")
    upload = s3.create_multipart_upload(**where)["UploadId"]
    made = [
        {"PartNumber": n, "ETag": s3.upload_part(**where, UploadId=upload, PartNumber=n, Body=body)["ETag"]}
        for n, body in enumerate(bodies, 1)
    ]
    s3.complete_multipart_upload(**where, UploadId=upload, MultipartUpload={"Parts": made})


def op(n: int, **more: Any) -> dict[str, Any]:
    return {"Put": {"TableName": settings().table_name, "Item": {"pk": {"S": "limits"}, "sk": {"S": str(n)}} | more}}


def update(expression: str) -> None:
    client("dynamodb").update_item(
        TableName=settings().table_name, Key=KEY, UpdateExpression=expression, ExpressionAttributeValues=VALUE
    )


def statements(n: int) -> None:
    text = f"UPDATE \"{settings().table_name}\" SET x='1' WHERE pk='limits' AND sk="
    client("dynamodb").batch_execute_statement(Statements=[{"Statement": f"{text}'{one}'"} for one in range(n)])


def send(entries: list[dict[str, Any]]) -> None:
    client("sqs").send_message_batch(QueueUrl=settings().queue_urls["quarantine"], Entries=entries)


def write_batch(keys: list[int]) -> None:
    items = [{"PutRequest": {"Item": op(n)["Put"]["Item"]}} for n in keys]
    client("dynamodb").batch_write_item(RequestItems={settings().table_name: items})


def mapping(stack: Stack, most: int) -> None:
    uuid = stack.outputs["mappings"]["quarantine"]
    client("lambda").update_event_source_mapping(UUID=uuid, ScalingConfig={"MaximumConcurrency": most})


REFUSED: dict[str, Any] = {
    "an item of 400 KB": lambda _: put(x={"S": "x" * 409_600}),
    "a partition key of 2,049 bytes": lambda _: put(pk={"S": "p" * 2049}),
    "a sort key of 1,025 bytes": lambda _: put(sk={"S": "s" * 1025}),
    "a transaction of 101 items": lambda _: transact([op(n) for n in range(101)]),
    "a transaction with an item twice": lambda _: transact([op(1), op(1)]),
    "a transaction of 4 MB": lambda _: transact([op(n, x={"S": "x" * 390_000}) for n in range(12)]),
    "26 statements": lambda _: statements(26),
    "an expression of 4 KB": lambda _: update(f"SET {'a' * 4096} = :v"),
    "overlapping paths": lambda _: update("SET a.b = :v, a = :v"),
    "an empty key": lambda _: put(sk={"S": ""}),
    "an empty key of an index": lambda _: put(by_user={"S": ""}, created={"S": "1"}),
    "a number of 39 digits": lambda _: put(x={"N": "1" * 39}),
    "values 33 deep": lambda _: put(x=nested(33)),
    "another transaction with a token": lambda _: [transact([op(1, x={"S": x})], "t" * 36) for x in "ab"],
    "a token of 37 characters": lambda _: transact([op(1)], "t" * 37),
    "26 writes": lambda _: write_batch([*range(26)]),
    "a key twice in a batch": lambda _: write_batch([1, 1]),
    "11 messages": lambda _: send([{"Id": str(n), "MessageBody": "x"} for n in range(11)]),
    "an id twice": lambda _: send([{"Id": "1", "MessageBody": "x"}] * 2),
    "a batch of more than 1 MiB": lambda _: send([{"Id": str(n), "MessageBody": "x" * 300_000} for n in range(4)]),
    "a mapping's concurrency of 1": lambda stack: mapping(stack, 1),
    "a mapping's concurrency of 1,001": lambda stack: mapping(stack, 1001),
}


@pytest.mark.parametrize("what", REFUSED)
def test_the_local_aws_refuses(stack: Stack, what: str) -> None:
    with stack.used(), pytest.raises(ClientError) as refused:
        REFUSED[what](stack)
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_a_function_has_the_concurrency_that_the_template_reserves(stack: Stack) -> None:
    with stack.used():
        found = client("lambda").get_function_concurrency(FunctionName=stack.outputs["functions"]["api"])
    assert found["ReservedConcurrentExecutions"] == int(LOCAL_DEFAULTS["ApiReservedConcurrency"])


def test_an_invocation_over_the_reserved_concurrency_is_refused(stack: Stack) -> None:
    name = stack.outputs["functions"]["webhook"]
    with stack.used():
        functions = client("lambda")
        for most in (1, 0):
            functions.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=most)
            try:
                if most:
                    assert functions.invoke(FunctionName=name, Payload=b'{"Records": []}')["StatusCode"] == 200
                    continue
                with pytest.raises(functions.exceptions.TooManyRequestsException) as refused:
                    functions.invoke(FunctionName=name, Payload=b'{"Records": []}')
                assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 429
                assert refused.value.response["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
            finally:
                functions.delete_function_concurrency(FunctionName=name)


def test_a_transaction_is_safe_to_repeat_by_its_token(stack: Stack) -> None:
    with stack.used():
        for _ in range(2):
            transact([op(2, x={"S": "x"})], "s" * 36)


def test_parts_of_five_mebibytes_are_taken(stack: Stack) -> None:
    with stack.used():
        parts(b"x" * (5 * 1024 * 1024), b"x")


def test_a_page_of_a_query_holds_a_megabyte_and_what_is_left_out_counts(stack: Stack) -> None:
    with stack.used():
        keys = [{"pk": {"S": "pages"}, "sk": {"S": str(n)}} for n in range(4)]
        for key in keys:
            client("dynamodb").put_item(TableName=settings().table_name, Item=key | {"x": {"S": "x" * 390_000}})
        asked = {
            "TableName": settings().table_name,
            "KeyConditionExpression": "pk = :pk",
            "ExpressionAttributeValues": {":pk": {"S": "pages"}, ":none": {"S": "none"}},
            "FilterExpression": "x = :none",
        }
        page = client("dynamodb").query(**asked)
        assert (page["Count"], page["ScannedCount"]) == (0, 2)
        assert page["LastEvaluatedKey"] == keys[1]


def test_the_front_stands_before_it(stack: Stack) -> None:
    report = f"{stack.outputs['aws_endpoint_url']}/_strict/report"
    before = httpx2.get(report).json()["violations"]
    with stack.used(), pytest.raises(ClientError) as refused:
        send([{"Id": "1", "MessageBody": "x", "DelaySeconds": 901}])
    assert refused.value.response["Error"]["Code"] == "InvalidParameterValue"
    noted = httpx2.delete(report).json()["violations"]
    assert [one["rule"] for one in noted] == [*(one["rule"] for one in before), "sqs-delay"]
    assert before == [], "something before this test went over a limit"


def test_a_run_is_one_chain_of_invocations(stack: Stack) -> None:
    """The API's message is received by a worker that counts as the second link of the same trace."""
    task_id = stack.submit("[[sim words=1]] hello")
    assert stack.result(task_id)["status"] == "complete"
    with stack.used():
        from shared.tasks import store

        assert (store.get(task_id).trace or "").startswith("Root=1-")


def test_twenty_megabytes_are_fetched_by_plain_curl(stack: Stack, tmp_path: Path) -> None:
    from shared.tasks import claims, settle, store

    response = "All's well. " * 1_700_000
    at = time.time()
    with stack.used():
        task = Task(
            task_id=f"task_{uuid.uuid4().hex}", user="load", lane="normal", agent="chat", model="m", created=at,
            day=day(at), session_id="",
        )  # fmt: skip
        store.submit(task, "hello")
        held = claims.claim(task.task_id, 0)
        assert isinstance(held, Task)
        settle.settle(held, settle.Outcome(status=Status.COMPLETE, response=response), message="hello")
    result = stack.result(task.task_id)["result"]
    assert result["response_bytes"] == len(response) > 20_000_000
    command = ["curl", "--silent", "--show-error", "--fail", "--output", str(tmp_path / "r"), result["response_url"]]
    subprocess.run(command, check=True)
    assert (tmp_path / "r").read_text() == response


def test_an_object_that_is_gone_is_told_by_the_deployed_api(stack: Stack) -> None:
    from shared.tasks import claims, settle, store

    at = time.time()
    with stack.used():
        task = Task(
            task_id=f"task_{uuid.uuid4().hex}", user="load", lane="normal", agent="chat", model="m", created=at,
            day=day(at), session_id="",
        )  # fmt: skip
        store.submit(task, "hello")
        held = claims.claim(task.task_id, 0)
        assert isinstance(held, Task)
        noise = "".join(secrets.token_urlsafe(3) for _ in range(250_000))
        settle.settle(held, settle.Outcome(status=Status.COMPLETE, response=noise), message="hello")
        assert stack.result(task.task_id)["result"]["response"] == noise
        s3, bucket = client("s3"), stack.outputs["bucket"]
        for kept in s3.list_objects_v2(Bucket=bucket, Prefix=f"tasks/{task.task_id}/")["Contents"]:
            s3.delete_object(Bucket=bucket, Key=kept["Key"])
    answer = stack.client().get(f"/result/{task.task_id}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (410, "result_gone")
