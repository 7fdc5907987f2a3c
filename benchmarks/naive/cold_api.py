"""The least that takes a run: the same calls as `POST /agent` (key, limit, row, message), hardly a check."""

import logging
import os
import sys
import uuid
from typing import Any

import boto3
import redis
from fastapi import FastAPI, Header, HTTPException
from mangum import Mangum
from pydantic import BaseModel

logging.basicConfig(stream=sys.stdout, level="WARNING", force=True)
dynamodb: Any = boto3.client("dynamodb")
sqs: Any = boto3.client("sqs")
valkey = redis.Redis.from_url(os.environ["REDIS_URL"])
app = FastAPI(openapi_url=None)


class Body(BaseModel):
    """What a client sends."""

    message: str
    session_id: str = "default"
    agent: str = "chat"


@app.post("/agent", status_code=202)
def submit(body: Body, authorization: str = Header()) -> dict[str, str]:
    """Look the key up, count the request, write the row, send the message."""
    key = {"pk": {"S": f"KEY#{authorization[-43:]}"}, "sk": {"S": "KEY"}}
    dynamodb.get_item(TableName=os.environ["TABLE_NAME"], Key=key)
    if valkey.eval("return redis.call('INCR', KEYS[1])", 1, "cold:requests") < 1:
        raise HTTPException(429)
    task_id = f"task_{uuid.uuid4().hex}"
    row = {"pk": {"S": f"BARE#{task_id}"}, "sk": {"S": "TASK"}, "message": {"S": body.message}}
    dynamodb.put_item(TableName=os.environ["TABLE_NAME"], Item=row, ConditionExpression="attribute_not_exists(pk)")
    sqs.send_message(QueueUrl=os.environ["BARE_QUEUE_URL"], MessageBody=task_id)
    return {"task_id": task_id, "status": "queued"}


handler = Mangum(app, lifespan="off")
