"""Copies items of a restored table into the stack's table: those that it lacks, never over one that is there.

``python -m deploy.restore --from restored --to table [--prefix TASK#]``. DynamoDB restores into a new table only.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError


def copy(source: str, target: str, prefix: str = "") -> tuple[int, int]:
    """Copy items whose ``pk`` begins with ``prefix``; returns how many were copied and how many were there already."""
    client: Any = boto3.client("dynamodb")
    asked: dict[str, Any] = {"TableName": source, "ConsistentRead": True}
    if prefix:
        asked |= {
            "FilterExpression": "begins_with(pk, :prefix)",
            "ExpressionAttributeValues": {":prefix": {"S": prefix}},
        }
    copied = there = 0
    for page in client.get_paginator("scan").paginate(**asked):
        for item in page["Items"]:
            try:
                client.put_item(TableName=target, Item=item, ConditionExpression="attribute_not_exists(pk)")
                copied += 1
            except client.exceptions.ConditionalCheckFailedException:
                there += 1
    return copied, there


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m deploy.restore", description=__doc__)
    parser.add_argument("--from", dest="source", required=True, help="the restored table")
    parser.add_argument("--to", dest="target", required=True, help="the stack's table (output TableName)")
    parser.add_argument("--prefix", default="", help="only keys that begin so: TASK#task_…, SESSION#user#, KEY# …")
    asked = parser.parse_args(arguments)
    try:
        copied, there = copy(asked.source, asked.target, asked.prefix)
    except (ClientError, BotoCoreError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{copied} items copied, {there} were there already")
    return 0


if __name__ == "__main__":
    sys.exit(main())
