"""What everything around a submit costs: `POST /agent` against a bare FastAPI + Mangum route on the same gateway.

The bare function has the same bundle, memory and log line, and answers 202 without looking at anything. Sluice's side
includes authentication, quota (one Valkey round trip), the DynamoDB write and the SQS send. A second bare function does
no more than any submit has to that loses nothing: it puts a row, then sends a message, with plain boto3 clients. It is
the floor that the services set. Requests alternate, so all meet the same machine.

    python -m benchmarks.submit_overhead [--requests 300]
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import time
import zipfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import boto3
import httpx2

from deploy.stack import BUILT
from localstack.environ import outputs, use

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "sluice-bench-bare"
HANDLER = """
import logging, sys
from fastapi import FastAPI
from mangum import Mangum
logging.basicConfig(stream=sys.stdout, level="INFO", force=True)
app = FastAPI(openapi_url=None)
@app.post("/agent", status_code=202)
def submit(body: dict) -> dict:
    logging.getLogger("bare").info("request")
    return {"task_id": "task_0", "status": "queued"}
handler = Mangum(app, lifespan="off")
"""
STORING = "sluice-bench-storing"
STORING_HANDLER = """
import json, logging, os, sys, uuid
import boto3
from fastapi import FastAPI
from mangum import Mangum
logging.basicConfig(stream=sys.stdout, level="INFO", force=True)
table, queue = boto3.client("dynamodb"), boto3.client("sqs")
app = FastAPI(openapi_url=None)
@app.post("/agent", status_code=202)
def submit(body: dict) -> dict:
    task_id = f"task_{uuid.uuid4().hex}"
    row = {"id": {"S": task_id}, "message": {"S": body["message"]}, "status": {"S": "queued"}}
    table.put_item(TableName=os.environ["TABLE"], Item=row)
    queue.send_message(QueueUrl=os.environ["QUEUE"], MessageBody=json.dumps({"task_id": task_id}))
    logging.getLogger("bare").info("request")
    return {"task_id": task_id, "status": "queued"}
handler = Mangum(app, lifespan="off")
"""
_TRUST = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}


def deploy_bare(role: str, handler: str = HANDLER, name: str = NAME, **variables: str) -> str:
    """Put a bare function behind an HTTP API of its own; returns the API's id."""
    functions: Any = boto3.client("lambda")
    gateway: Any = boto3.client("apigatewayv2")
    remove_bare(name)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path in sorted((BUILT / "ApiFunction").rglob("*")):
            relative = path.relative_to(BUILT / "ApiFunction")
            if path.is_file() and relative.parts[0] not in ("functions", "shared"):
                archive.write(path, str(relative))
        archive.writestr("bare.py", handler)
    arn = functions.create_function(
        FunctionName=name, Runtime="python3.13", Role=role, Handler="bare.handler", MemorySize=1024, Timeout=29,
        Code={"ZipFile": packed.getvalue()}, Environment={"Variables": variables},
    )["FunctionArn"]  # fmt: skip
    api = gateway.create_api(Name=name, ProtocolType="HTTP", Target=arn)["ApiId"]
    integration = gateway.create_integration(
        ApiId=api, IntegrationType="AWS_PROXY", IntegrationUri=arn, PayloadFormatVersion="2.0"
    )["IntegrationId"]
    gateway.create_route(ApiId=api, RouteKey="POST /agent", Target=f"integrations/{integration}")
    return str(api)


def remove_bare(name: str = NAME) -> None:
    """Take the bare function and its API away."""
    functions: Any = boto3.client("lambda")
    gateway: Any = boto3.client("apigatewayv2")
    for api in gateway.get_apis()["Items"]:
        if api["Name"] == name:
            gateway.delete_api(ApiId=api["ApiId"])
    for function in functions.list_functions()["Functions"]:
        if function["FunctionName"] == name:
            functions.delete_function(FunctionName=name)


@contextmanager
def storing() -> Iterator[str]:
    """Have a function that stores what it is sent, with a table, a queue and a role of its own; yields its API's id."""
    dynamodb: Any = boto3.client("dynamodb")
    sqs: Any = boto3.client("sqs")
    iam: Any = boto3.client("iam")
    queue = sqs.create_queue(QueueName=STORING)["QueueUrl"]
    dynamodb.create_table(
        TableName=STORING, BillingMode="PAY_PER_REQUEST", KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
    )  # fmt: skip
    allow = [{"Effect": "Allow", "Action": ["dynamodb:PutItem", "sqs:SendMessage"], "Resource": "*"}]
    role = iam.create_role(RoleName=STORING, AssumeRolePolicyDocument=_policy([_TRUST]))["Role"]["Arn"]
    iam.put_role_policy(RoleName=STORING, PolicyName="stores", PolicyDocument=_policy(allow))
    try:
        yield deploy_bare(role, STORING_HANDLER, STORING, TABLE=STORING, QUEUE=queue)
    finally:
        remove_bare(STORING)
        iam.delete_role_policy(RoleName=STORING, PolicyName="stores")
        iam.delete_role(RoleName=STORING)
        dynamodb.delete_table(TableName=STORING)
        sqs.delete_queue(QueueUrl=queue)


def _policy(statements: list[dict[str, Any]]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def measure(requests: int) -> dict[str, Any]:
    """Alternate requests to all three; returns percentiles in milliseconds and their ratios."""
    found = outputs()
    use(found)
    functions: Any = boto3.client("lambda")
    role = functions.get_function(FunctionName=found["functions"]["api"])["Configuration"]["Role"]
    gateway = f"{found['aws_endpoint_url']}/_aws/execute-api"
    headers = {"Authorization": f"Bearer {found['api_keys']['load']}"}
    body = {"message": "[[sim latency=0 words=1]] hi", "stream": True}
    with httpx2.Client(headers=headers, timeout=60) as client, storing() as storing_api:
        urls = {
            "bare": f"{gateway}/{deploy_bare(role)}/$default/agent",
            "storing": f"{gateway}/{storing_api}/$default/agent",
            "sluice": f"{found['api_url']}/agent",
        }
        times: dict[str, list[float]] = {name: [] for name in urls}
        for n in range(requests + 20):
            for name, url in urls.items():
                began = time.perf_counter()
                answer = client.post(url, json=body)
                took = (time.perf_counter() - began) * 1000
                if answer.status_code != 202:
                    raise SystemExit(f"{name} answered {answer.status_code}: {answer.text}")
                if n >= 20:  # the first ones warm them up
                    times[name].append(took)
            time.sleep(0.02)  # the runs that were submitted also need the machine
    remove_bare()
    quantiles = {name: statistics.quantiles(values, n=100) for name, values in times.items()}
    p50 = {name: values[49] for name, values in quantiles.items()}
    p95 = {name: values[94] for name, values in quantiles.items()}
    return {
        "requests": requests,
        "p50_ms": p50,
        "p95_ms": p95,
        "submit_overhead_ratio": p50["sluice"] / p50["bare"],
        "submit_overhead_p95_ratio": p95["sluice"] / p95["bare"],
        "storing_ratio": p50["storing"] / p50["bare"],
        "submit_to_storing_ratio": p50["sluice"] / p50["storing"],
    }


def main() -> None:
    """Print the result as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=300)
    print(json.dumps(measure(parser.parse_args().requests), indent=2))


if __name__ == "__main__":
    main()
