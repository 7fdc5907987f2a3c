"""Each function may do what docs/security.md says and no more: exact actions, named resources."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.unit.localstack.test_template import FUNCTIONS

ROWS = {"dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:Query"}
BLOBS = {"s3:GetObject", "s3:PutObject"}
RECEIVE = {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"}
PUSH = {"execute-api:ManageConnections"}
SENDS = ROWS | BLOBS | PUSH | {"sqs:SendMessage", "sqs:GetQueueAttributes"}
SECRETS = {"secretsmanager:GetSecretValue", "kms:Decrypt", "kms:GenerateDataKey", "elasticache:Connect"}
"""Given only where a parameter names a secret or a key, or asks for a Valkey on the internet."""

API = (
    SENDS
    | {"dynamodb:BatchGetItem", "dynamodb:DeleteItem", "dynamodb:BatchWriteItem"}
    | {"lambda:GetFunctionConcurrency", "s3:DeleteObject"}
)

RIGHTS = {
    "ApiFunction": API | RECEIVE,
    "StreamingFunction": API,
    "WorkerFunction": SENDS
    | RECEIVE
    | {"sqs:ChangeMessageVisibility", "dynamodb:PartiQLUpdate", "dynamodb:BatchGetItem"},
    "DeadLetterFunction": SENDS | RECEIVE | {"dynamodb:BatchGetItem"},
    "SweeperFunction": SENDS | {"dynamodb:BatchGetItem"},
    "ScalerFunction": {"sqs:GetQueueAttributes", "lambda:GetEventSourceMapping", "lambda:UpdateEventSourceMapping"},
    "StreamFunction": ROWS | PUSH | {"dynamodb:DeleteItem", "s3:GetObject"},
    "WebhookFunction": {"dynamodb:GetItem", "dynamodb:Query", "dynamodb:UpdateItem", "s3:GetObject", "sqs:SendMessage"}
    | RECEIVE,
}


def statements(function: str) -> Iterator[dict[str, Any]]:
    for policy in FUNCTIONS[function]["Properties"]["Policies"]:
        for one in policy["Statement"]:
            yield from (each for each in one["Fn::If"][1:] if "Effect" in each) if "Fn::If" in one else (one,)


def actions(statement: dict[str, Any]) -> set[str]:
    found = statement["Action"]
    return {found} if isinstance(found, str) else set(found)


def test_every_function_is_looked_at() -> None:
    assert set(RIGHTS) == set(FUNCTIONS)


@pytest.mark.parametrize("function", RIGHTS)
def test_a_function_may_do_this_and_no_more(function: str) -> None:
    allowed = set().union(*(actions(one) for one in statements(function) if one["Effect"] == "Allow"))
    assert allowed - SECRETS == RIGHTS[function]


@pytest.mark.parametrize("function", RIGHTS)
def test_nothing_is_allowed_on_everything(function: str) -> None:
    for one in statements(function):
        if one["Effect"] == "Allow":
            assert one["Resource"] != "*"
            assert not any("*" in action for action in actions(one))


@pytest.mark.parametrize(
    ("parameter", "holders"),
    [
        ("OpenaiSecretArn", {"WorkerFunction"}),
        ("WebhookSecretArn", {"ApiFunction", "StreamingFunction", "WebhookFunction", "WorkerFunction"}),
        ("OtlpHeadersArn", {"WebhookFunction"}),
        ("RedisSecretArn", set(FUNCTIONS) - {"WebhookFunction"}),
    ],
)
def test_a_secret_is_read_by_who_needs_it(parameter: str, holders: set[str]) -> None:
    found = {
        function
        for function in FUNCTIONS
        for one in statements(function)
        if "secretsmanager:GetSecretValue" in actions(one) and f"'{parameter}'" in str(one["Resource"])
    }
    assert found == holders
