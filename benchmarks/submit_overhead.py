"""What everything around a submit costs: `POST /agent` against a bare FastAPI + Mangum route on the same gateway.

The bare function has the same bundle, memory and log line, and answers 202 without looking at anything. Sluice's side
includes authentication, quota (one Valkey round trip), the DynamoDB write and the SQS send. Requests alternate, so both
meet the same machine.

    python -m benchmarks.submit_overhead [--requests 300]
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import time
import zipfile
from typing import Any

import boto3
import httpx2

from deploy.stack import BUILT
from localstack.environ import outputs, use

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


def deploy_bare(role: str, handler: str = HANDLER, **variables: str) -> str:
    """Put a bare function behind an HTTP API of its own; returns the API's id."""
    functions: Any = boto3.client("lambda")
    gateway: Any = boto3.client("apigatewayv2")
    remove_bare()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path in sorted((BUILT / "ApiFunction").rglob("*")):
            relative = path.relative_to(BUILT / "ApiFunction")
            if path.is_file() and relative.parts[0] not in ("functions", "shared"):
                archive.write(path, str(relative))
        archive.writestr("bare.py", handler)
    arn = functions.create_function(
        FunctionName=NAME, Runtime="python3.13", Role=role, Handler="bare.handler", MemorySize=1024, Timeout=29,
        Code={"ZipFile": packed.getvalue()}, Environment={"Variables": variables},
    )["FunctionArn"]  # fmt: skip
    api = gateway.create_api(Name=NAME, ProtocolType="HTTP", Target=arn)["ApiId"]
    integration = gateway.create_integration(
        ApiId=api, IntegrationType="AWS_PROXY", IntegrationUri=arn, PayloadFormatVersion="2.0"
    )["IntegrationId"]
    gateway.create_route(ApiId=api, RouteKey="POST /agent", Target=f"integrations/{integration}")
    return str(api)


def remove_bare() -> None:
    """Take the bare function and its API away."""
    functions: Any = boto3.client("lambda")
    gateway: Any = boto3.client("apigatewayv2")
    for api in gateway.get_apis()["Items"]:
        if api["Name"] == NAME:
            gateway.delete_api(ApiId=api["ApiId"])
    for function in functions.list_functions()["Functions"]:
        if function["FunctionName"] == NAME:
            functions.delete_function(FunctionName=NAME)


def measure(requests: int) -> dict[str, Any]:
    """Alternate requests to both; returns percentiles in milliseconds and their ratios."""
    found = outputs()
    use(found)
    functions: Any = boto3.client("lambda")
    role = functions.get_function(FunctionName=found["functions"]["api"])["Configuration"]["Role"]
    api = deploy_bare(role)
    bare_url = f"{found['aws_endpoint_url']}/_aws/execute-api/{api}/$default/agent"
    headers = {"Authorization": f"Bearer {found['api_keys']['load']}"}
    body = {"message": "[[sim latency=0 words=1]] hi", "stream": True}
    times: dict[str, list[float]] = {"bare": [], "sluice": []}
    with httpx2.Client(headers=headers, timeout=60) as client:
        for n in range(requests + 20):
            for name, url in (("bare", bare_url), ("sluice", f"{found['api_url']}/agent")):
                began = time.perf_counter()
                answer = client.post(url, json=body)
                took = (time.perf_counter() - began) * 1000
                if answer.status_code != 202:
                    raise SystemExit(f"{name} answered {answer.status_code}: {answer.text}")
                if n >= 20:  # the first ones warm both up
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
    }


def main() -> None:
    """Print the result as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=300)
    print(json.dumps(measure(parser.parse_args().requests), indent=2))


if __name__ == "__main__":
    main()
