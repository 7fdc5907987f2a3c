#!/usr/bin/env bash
# localemu 1.3.2 (PyPI): DynamoDB's transactions, several at once.
#
# Seen: of 200 `TransactWriteItems` on items of their own, sent by 40 threads, some are answered 500 `InternalError`; its
# log says "dictionary changed size during iteration". One after the other all are carried out.
# Why one would not expect it: the requests share no item, so nothing of one concerns another, and an emulator of AWS is
# there to be called by several clients at once. To a client a 500 is an outage of DynamoDB: it retries, and gives up.
# `make second-opinion` leaves out the one test of Sluice's that writes so (docs/local.md).
set -eu
folder=$(mktemp -d)
server=
trap 'if [ -n "$server" ]; then kill "$server" 2>/dev/null || true; fi; rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check localemu==1.3.2 boto3==1.44.8 2>/dev/null
port=$("$folder/env/bin/python" -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$folder/env/bin/localemu" start --host 127.0.0.1 --port "$port" >"$folder/log" 2>&1 &
server=$!
AWS_ACCESS_KEY_ID=000000000000 AWS_SECRET_ACCESS_KEY=x AWS_DEFAULT_REGION=us-east-1 PORT=$port \
  "$folder/env/bin/python" - <<'PY'
import os
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

config = Config(retries={"total_max_attempts": 1}, max_pool_connections=40)
db = boto3.client("dynamodb", endpoint_url=f"http://127.0.0.1:{os.environ['PORT']}", config=config)
key = {"AttributeName": "pk"}
for _ in range(120):
    try:
        db.create_table(TableName="t", KeySchema=[key | {"KeyType": "HASH"}], BillingMode="PAY_PER_REQUEST",
                        AttributeDefinitions=[key | {"AttributeType": "S"}])
        break
    except BotoCoreError:
        time.sleep(0.5)


def write(n):
    puts = [{"Put": {"TableName": "t", "Item": {"pk": {"S": f"{n}.{m}"}}}} for m in range(3)]
    try:
        db.transact_write_items(TransactItems=puts)
    except ClientError as error:
        return error.response["Error"]["Code"]
    return "done"


one_by_one = Counter(write(n) for n in range(50))
with ThreadPoolExecutor(40) as pool:
    at_once = Counter(pool.map(write, range(100, 300)))
print("one after the other:", dict(one_by_one), "- at once:", dict(at_once))
assert one_by_one == {"done": 50}
assert at_once["InternalError"] > 0
print("as described")
PY
