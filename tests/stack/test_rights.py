"""The local AWS enforces the functions' policies: each function did its job in the other tests, and can do no more.

That none was refused what it asked for is seen when the system ends (`tests.stack_fixture`). What a function needs and
has is compared in `tests/unit/test_rights.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.stack_fixture import Stack, high_lane

pytestmark = high_lane  # a role takes a message there, if there is one

Call = Callable[[boto3.Session, dict[str, Any]], Any]
KEY = {"pk": {"S": "TASK#no-such"}, "sk": {"S": "TASK"}}
ITEM = {"pk": {"S": "RIGHTS"}, "sk": {"S": "RIGHTS"}}


def dynamodb(method: str, **arguments: Any) -> Call:
    return lambda session, found: getattr(session.client("dynamodb"), method)(TableName=found["table"], **arguments)


def sqs(method: str, queue: str, **arguments: Any) -> Call:
    return lambda session, found: getattr(session.client("sqs"), method)(QueueUrl=found["queues"][queue], **arguments)


def s3(method: str, **arguments: Any) -> Call:
    return lambda session, found: getattr(session.client("s3"), method)(
        Bucket=found["bucket"], Key="tasks/rights", **arguments
    )


def mapping(lane: str) -> Call:
    return lambda session, found: session.client("lambda").get_event_source_mapping(UUID=found["mappings"][lane])


def invoke(function: str) -> Call:
    return lambda session, found: session.client("lambda").invoke(
        FunctionName=found["functions"][function], InvocationType="DryRun"
    )


def send(queue: str) -> Call:
    return sqs("send_message", queue, MessageBody="x")


EVERYBODY: dict[str, Call] = {
    "read the whole table": dynamodb("scan"),
    "delete the table": dynamodb("delete_table"),
    "list objects": lambda session, found: session.client("s3").list_objects_v2(Bucket=found["bucket"]),
    "empty a queue": sqs("purge_queue", "normal"),
    "put into a dead-letter queue": send("normal_dlq"),
    "list users": lambda session, _: session.client("iam").list_users(),
    "list secrets": lambda session, _: session.client("secretsmanager").list_secrets(),
    "invoke another function": invoke("worker"),
    "read the dead webhooks": sqs("receive_message", "webhook_dlq"),
    "see the quarantine lane's concurrency": mapping("quarantine"),
}
"""What no function may do."""

_API = {"api", "streaming"}
"""The two functions of one bundle."""

MAY: dict[str, tuple[Call, set[str]]] = {
    "read an item": (
        dynamodb("get_item", Key=KEY),
        {*_API, "worker", "dead_letter", "sweeper", "stream", "webhook"},
    ),
    "put an item": (
        dynamodb("put_item", Item=ITEM),
        {*_API, "worker", "dead_letter", "sweeper", "stream"},
    ),
    "put in a transaction": (
        lambda session, found: session.client("dynamodb").transact_write_items(
            TransactItems=[{"Put": {"TableName": found["table"], "Item": ITEM}}]
        ),
        {*_API, "worker", "dead_letter", "sweeper", "stream"},
    ),
    "delete an item": (dynamodb("delete_item", Key=ITEM), {*_API, "stream"}),
    "change items by statements": (
        lambda session, _: session.client("dynamodb").batch_execute_statement(Statements=[{"Statement": "UPDATE"}]),
        {"worker"},
    ),
    "send to a lane": (sqs("get_queue_attributes", "high"), {*_API, "worker", "sweeper", "scaler"}),
    "take a lane's message": (sqs("receive_message", "quarantine"), {"worker"}),
    "take a dead message": (sqs("receive_message", "high_dlq"), {"dead_letter"}),
    "take a webhook": (sqs("receive_message", "webhook", VisibilityTimeout=0), {"webhook"}),
    "write a blob": (s3("put_object", Body=b""), {*_API, "worker", "dead_letter", "sweeper"}),
    "read a blob": (s3("get_object"), {*_API, "worker", "dead_letter", "sweeper", "stream", "webhook"}),
    "delete a blob": (s3("delete_object"), _API),
    "see a lane's concurrency": (mapping("normal"), {"scaler"}),
}
"""What some functions may do, and who they are."""


@pytest.fixture(scope="module")
def roles(stack: Stack) -> Iterator[dict[str, boto3.Session]]:
    """Yield a session with the credentials of each function's role."""
    stack.use()
    sessions = {}
    for name, function in stack.outputs["functions"].items():
        role = boto3.client("lambda").get_function_configuration(FunctionName=function)["Role"]
        given = boto3.client("sts").assume_role(RoleArn=role, RoleSessionName="tests")["Credentials"]
        session: Any = boto3.Session(
            given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"], region_name="us-east-1"
        )
        session.client = cache(session.client)  # else each of two hundred calls makes one
        sessions[name] = session
    yield sessions
    boto3.client("s3").delete_object(Bucket=stack.outputs["bucket"], Key="tasks/rights")


def is_allowed(call: Call, session: boto3.Session, found: dict[str, Any]) -> bool:
    try:
        call(session, found)
    except ClientError as error:
        return "AccessDenied" not in error.response["Error"]["Code"]
    return True


def test_no_function_may_do_what_none_needs(stack: Stack, roles: dict[str, boto3.Session]) -> None:
    stack.use()
    allowed = [
        f"{role}: {what}"
        for role, session in roles.items()
        for what, call in EVERYBODY.items()
        if is_allowed(call, session, stack.outputs)
    ]
    assert allowed == []


def test_only_those_may_who_must(stack: Stack, roles: dict[str, boto3.Session]) -> None:
    stack.use()
    for what, (call, who) in MAY.items():
        assert {role for role, session in roles.items() if is_allowed(call, session, stack.outputs)} == who, what
