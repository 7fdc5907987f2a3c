"""The least that runs a task: the same calls as the worker makes up to its first model call, in the same order."""

import asyncio
import json
import os
from typing import Any

import boto3
import redis

runner = asyncio.Runner()
dynamodb: Any = boto3.client("dynamodb")
sqs: Any = boto3.client("sqs")
valkey = redis.Redis.from_url(os.environ["REDIS_URL"])


def before(record: dict[str, Any]) -> None:
    """Hide the message, claim the task, look at the session, ask whether the provider may be called."""
    task_id = json.loads(record["body"])["task_id"]
    sqs.change_message_visibility(
        QueueUrl=os.environ["QUEUE_URL_QUARANTINE"], ReceiptHandle=record["receiptHandle"], VisibilityTimeout=60
    )
    table = os.environ["TABLE_NAME"]
    dynamodb.update_item(
        TableName=table, Key={"pk": {"S": f"BARE#{task_id}"}, "sk": {"S": "TASK"}},
        UpdateExpression="ADD lease_no :one", ExpressionAttributeValues={":one": {"N": "1"}},
    )  # fmt: skip
    dynamodb.query(
        TableName=table, KeyConditionExpression="pk = :pk", ExpressionAttributeValues={":pk": {"S": "SESSION#none"}}
    )
    valkey.eval("return redis.call('GET', KEYS[1])", 1, "cold:breaker")


async def work(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Ask the model for each message."""
    import openai

    client = openai.AsyncOpenAI()
    for record in records:
        await asyncio.to_thread(before, record)
        stream = await client.chat.completions.create(
            model="gpt-4o-mini", messages=[{"role": "user", "content": "hi"}], stream=True
        )
        async for _ in stream:
            pass
    return {"batchItemFailures": []}


def handler(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    """Run one batch."""
    return runner.run(work(event["Records"]))
