"""``AUTH=true`` has the local AWS enforce the functions' policies; by default it lets every call through."""

from __future__ import annotations

import json
import os
from typing import Any

LOCAL_NAMES = {
    "sqs:SendMessage": "sqs:SendMessageBatch",
    "sqs:DeleteMessage": "sqs:DeleteMessageBatch",
    "sqs:ChangeMessageVisibility": "sqs:ChangeMessageVisibilityBatch",
    "lambda:GetEventSourceMapping": "lambda:ListEventSourceMappings",
    "dynamodb:PartiQLUpdate": "dynamodb:BatchExecuteStatement",
}
"""Right on AWS -> what MiniStack asks for besides. On AWS a batch needs the right of the single call
(https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-api-permissions-reference.html), and a
mapping is read with its own; a batch of statements needs that of each statement
(https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ql-iam.html)."""
ON_EVERYTHING = {"dynamodb:BatchExecuteStatement"}
"""What MiniStack asks for without seeing the table: the statements name it."""


def enforced() -> bool:
    """Whether policies are to be enforced."""
    return os.environ.get("AUTH", "").lower() == "true"


def grant_local_names(found: dict[str, Any]) -> None:
    """Let each function do under the local AWS's names what its policy allows, to the same resources."""
    import boto3

    iam: Any = boto3.client("iam")
    functions: Any = boto3.client("lambda")
    for function in found["functions"].values():
        role = functions.get_function_configuration(FunctionName=function)["Role"].rsplit("/", 1)[-1]
        statements = [
            {"Effect": "Allow", "Action": name, "Resource": "*" if name in ON_EVERYTHING else statement["Resource"]}
            for policy in iam.list_role_policies(RoleName=role)["PolicyNames"]
            for statement in _statements(iam.get_role_policy(RoleName=role, PolicyName=policy))
            for name in [LOCAL_NAMES[action] for action in _actions(statement) if action in LOCAL_NAMES]
        ]
        if statements:
            policy = {"Version": "2012-10-17", "Statement": statements}
            iam.put_role_policy(RoleName=role, PolicyName="local-names", PolicyDocument=json.dumps(policy))


def _statements(answer: dict[str, Any]) -> list[dict[str, Any]]:
    document = answer["PolicyDocument"]
    found: list[dict[str, Any]] = (json.loads(document) if isinstance(document, str) else document)["Statement"]
    return [statement for statement in found if statement["Effect"] == "Allow"]


def _actions(statement: dict[str, Any]) -> list[str]:
    actions: Any = statement["Action"]
    return actions if isinstance(actions, list) else [actions]
