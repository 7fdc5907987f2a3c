"""Least privilege, held against the code: a function may do what its code can reach, and nothing else.

`tests/stack/test_rights.py` lets the local AWS enforce the same policies.
"""

from __future__ import annotations

from typing import Any

import pytest

from deploy.bundle import FUNCTIONS
from deploy.stack import read_template
from localstack.environ import ROOT
from tests.unit import sources
from tests.unit.reachable import aws_calls, reachable

pytestmark = sources.together

RESOURCES: dict[str, Any] = read_template(ROOT / "template.yaml")["Resources"]

ACTIONS = {
    "get_item": "dynamodb:GetItem", "batch_get_item": "dynamodb:BatchGetItem",
    "query": "dynamodb:Query", "update_item": "dynamodb:UpdateItem",
    "put_item": "dynamodb:PutItem", "delete_item": "dynamodb:DeleteItem",
    "batch_write_item": "dynamodb:BatchWriteItem", "batch_execute_statement": "dynamodb:PartiQLUpdate",
    "send_message": "sqs:SendMessage",
    "receive_message": "sqs:ReceiveMessage", "delete_message_batch": "sqs:DeleteMessage",
    "change_message_visibility_batch": "sqs:ChangeMessageVisibility",
    "get_queue_attributes": "sqs:GetQueueAttributes", "put_object": "s3:PutObject", "get_object": "s3:GetObject",
    "head_object": "s3:GetObject", "create_multipart_upload": "s3:PutObject", "upload_part": "s3:PutObject",
    "complete_multipart_upload": "s3:PutObject",
    "generate_presigned_url": "s3:GetObject",  # whoever signs must have the right that the URL gives
    "delete_object": "s3:DeleteObject", "get_secret_value": "secretsmanager:GetSecretValue",
    "post_to_connection": "execute-api:ManageConnections", "delete_connection": "execute-api:ManageConnections",
    "get_event_source_mapping": "lambda:GetEventSourceMapping",
    "update_event_source_mapping": "lambda:UpdateEventSourceMapping",
    "get_function_concurrency": "lambda:GetFunctionConcurrency",
}  # fmt: skip
"""The right that each call needs; a batch call needs that of the single one."""

TRANSACTION = {"put_op": "dynamodb:PutItem", "update_op": "dynamodb:UpdateItem"}
"""What a transaction's operations need, by the function of `shared.tasks.table` that makes them."""

POLLER = {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"}
"""What Lambda's poller needs of a function's role, for each queue that the function is fed from."""

KINDS = {
    "Table": "table", "Blobs": "blobs", "WsApi": "connections", "WebhookQueue": "webhooks", "FiringQueue": "firings",
    "BulkQueue": "bulk",
    **{f"{lane}Queue": "lanes" for lane in ("High", "Normal", "Quarantine")},
    **{f"{lane}Dlq": "dead letters" for lane in ("High", "Normal", "Quarantine")},
    **{f"{lane}Mapping": "mappings" for lane in ("High", "Normal")},
    "OpenaiSecretArn": "secrets", "WebhookSecretArn": "secrets", "OtlpHeadersArn": "secrets",
    "RedisSecretArn": "secrets", "ValkeyPassword": "secrets", "PricesObject": "prices", "AWS::StackName": "functions",
}  # fmt: skip
OF_SERVICE = {
    "dynamodb": "table", "s3": "blobs", "s3_signer": "blobs", "connections": "connections",
    "secrets_manager": "secrets", "lambda_client": "mappings",
}  # fmt: skip
OF_METHOD = {"get_function_concurrency": "functions"}
OF_MODULE = {
    "shared.webhooks": "webhooks",
    "shared.schedules.timers": "firings",
    "shared.bulk.pokes": "bulk",
    "shared.limits.operators": "prices",
}

Right = tuple[str, str]
"""An action and the kind of thing that it is done to."""


def names_in(resource: Any) -> set[str]:
    """Return the logical names and parameters that a policy's resource is made of."""
    if isinstance(resource, dict):
        (key, value), *_ = resource.items()
        if key == "Ref":
            return {str(value)}
        if key == "Fn::GetAtt":
            return {str(value[0])}
        if key == "Fn::Sub":
            return {part.split("}")[0].split(".")[0] for part in str(value).split("${")[1:]}
        return set().union(*(names_in(each) for each in (value if isinstance(value, list) else [value])))
    return set().union(*(names_in(each) for each in resource)) if isinstance(resource, list) else set()


def statements(function: str) -> list[dict[str, Any]]:
    """Return a function's Allow statements, those under conditions too."""
    found = []
    for policy in RESOURCES[function]["Properties"]["Policies"]:
        for statement in policy["Statement"]:
            while "Fn::If" in statement:
                statement = next(each for each in statement["Fn::If"][1:] if each != {"Ref": "AWS::NoValue"})
            if statement["Effect"] == "Allow":
                found.append(statement)
    return found


def allowed(function: str) -> set[Right]:
    rights: set[Right] = set()
    for statement in statements(function):
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        names = names_in(statement["Resource"])
        if names in ({"KmsKeyArn"}, {"PublicValkey", "PublicUser"}):
            continue
        kinds = {KINDS[name] for name in names if name in KINDS}
        assert kinds, f"{function}: a statement names nothing of ours: {statement}"
        rights |= {(action, kind) for action in actions for kind in kinds}
    return rights


def fed_from(function: str) -> set[str]:
    """Return the kinds of queues that feed a function."""
    mappings = [
        resource["Properties"]
        for resource in RESOURCES.values()
        if resource["Type"] == "AWS::Lambda::EventSourceMapping"
        and resource["Properties"]["FunctionName"] == {"Ref": function}
    ]
    return {KINDS[name] for mapping in mappings for name in names_in(mapping["EventSourceArn"])}


def needed(function: str) -> set[Right]:
    package = FUNCTIONS[function][0]
    entry = "app" if package == "api" else "handler"
    roots = [f"functions.{package}.{entry}"]
    if package == "worker":  # loaded by name
        agents = (ROOT / "functions/worker/agents").glob("*.py")
        roots += [f"functions.worker.agents.{path.stem}" for path in agents if path.stem != "__init__"]
    places = reachable(roots)
    rights: set[Right] = set()
    for service, method, module in aws_calls(places):
        if method == "transact_write_items":
            made = {name for where, name in places if where == "shared.tasks.table"}
            rights |= {(action, "table") for name, action in TRANSACTION.items() if name in made}
        else:
            kind = OF_METHOD.get(method) or OF_MODULE.get(module) or OF_SERVICE.get(service, "lanes")
            rights.add((ACTIONS[method], kind))
    return rights | {(action, kind) for kind in fed_from(function) for action in POLLER}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_may_do_what_its_code_does_and_nothing_else(function: str) -> None:
    has, wants = allowed(function), needed(function)
    assert wants - has == set(), "rights that are missing"
    assert has - wants == set(), "rights that nothing needs"


@pytest.mark.parametrize("function", FUNCTIONS)
def test_no_right_holds_for_everything(function: str) -> None:
    for statement in statements(function):
        assert "*" not in str(statement["Action"]), statement
        assert statement["Resource"] != "*", statement


def test_only_functions_have_roles() -> None:
    assert [name for name, r in RESOURCES.items() if r["Type"].startswith("AWS::IAM::")] == []
