"""One message per invocation, one run per message, clients made for each: no lease, no checkpoint, no meter."""

import json
import os
import time
from typing import Any

import boto3
import openai


def handler(event: dict[str, Any], _context: Any) -> None:
    """Ask the model for each message (there is one) and store the answer."""
    began = time.monotonic()
    for record in event["Records"]:
        body = json.loads(record["body"])
        client = openai.OpenAI()
        reply = client.chat.completions.create(
            model="gpt-4o-mini", messages=[{"role": "user", "content": body["message"]}]
        )
        answer = {"id": {"S": body["id"]}, "response": {"S": reply.choices[0].message.content or ""}}
        boto3.client("dynamodb").put_item(TableName=os.environ["TABLE"], Item=answer)
    print(json.dumps({"message": "done", "seconds": round(time.monotonic() - began, 3)}))
