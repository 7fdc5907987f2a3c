"""The documented limits: what AWS refuses or does, where it says so, where Sluice meets it, which test shows it.

`docs/aws-limits.md` is made from this table (`make limits-page`).
"""

from __future__ import annotations

from localstack.strict.deployed import DEPLOYED
from localstack.strict.rule import CHECKED as CHECKED
from localstack.strict.rule import Rule

_SQS = "https://docs.aws.amazon.com/AWSSimpleQueueService/latest"
_DYNAMODB = "https://docs.aws.amazon.com/amazondynamodb/latest/developerguide"
_LAMBDA = "https://docs.aws.amazon.com/lambda/latest"
_GATEWAY = "https://docs.aws.amazon.com/apigateway/latest/developerguide"
_CLOUDWATCH = "https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring"
_STRICT = "tests/unit/localstack/test_strict.py"
_STACK = "tests/stack/test_strict.py"
_URL = "tests/unit/localstack/test_strict.py"


_TABLE = [
    # ---- SQS
    Rule("sqs-delay", "SQS", "`DelaySeconds` at most 900", f"{_SQS}/APIReference/API_SendMessage.html",
         "`shared/tasks/lanes.py`: longer waits are sent on", _STRICT, 900),
    Rule("sqs-visibility", "SQS", "a visibility timeout of at most 12 hours, counted from the receive",
         f"{_SQS}/APIReference/API_ChangeMessageVisibility.html", "`shared/tasks/lanes.py` hides for a lease", _STRICT,
         43_200),
    Rule("sqs-wait", "SQS", "`WaitTimeSeconds` at most 20", f"{_SQS}/APIReference/API_ReceiveMessage.html",
         "`shared/tasks/lanes.py` never waits", _STRICT, 20),
    Rule("sqs-group", "SQS", "`MessageGroupId` of 1 to 128 letters, digits or punctuation",
         f"{_SQS}/APIReference/API_SendMessage.html", "`lanes.group`: a digest", _STRICT, 128),
    Rule("sqs-attributes", "SQS", "at most 10 attributes a message", f"{_SQS}/SQSDeveloperGuide/quotas-messages.html",
         "none are sent", _STRICT, 10),
    Rule("sqs-trace", "SQS", "`AWSTraceHeader` must be an X-Ray trace header",
         f"{_SQS}/APIReference/API_SendMessage.html", "`functions/api/door/envelope.py` passes no other text on",
         _STRICT),
    Rule("sqs-in-flight", "SQS", "at most 120,000 messages of a queue in flight",
         f"{_SQS}/SQSDeveloperGuide/quotas-queues.html", "replicas × runs per environment", _STRICT, 120_000),
    Rule("sqs-message", "SQS", "a message, and a batch, of at most 1 MiB",
         f"{_SQS}/SQSDeveloperGuide/quotas-messages.html", "messages name a task only", _STACK, 1_048_576, "MiniStack"),
    Rule("sqs-batch", "SQS", "1 to 10 entries a batch, with distinct ids",
         f"{_SQS}/SQSDeveloperGuide/quotas-messages.html", "`shared/tasks/lanes.py` cuts into tens", _STACK, 10,
         "MiniStack"),
    # ---- DynamoDB
    Rule("dynamodb-index-key", "DynamoDB", "keys of indexes: 2,048 bytes (partition), 1,024 bytes (sort)",
         f"{_DYNAMODB}/Constraints.html", "user names and ids are bounded (`functions/api/contract/requests.py`)",
         _STRICT, 2048),
    Rule("dynamodb-values", "DynamoDB", "expression attribute values of at most 2 MB together",
         f"{_DYNAMODB}/Constraints.html", "values over 340 KB go to S3 (`shared/tasks/blobs.py`)", _STRICT, 2_097_152),
    Rule("dynamodb-in", "DynamoDB", "at most 100 operands of `IN`", f"{_DYNAMODB}/Constraints.html", "not used",
         _STRICT, 100),
    Rule("dynamodb-item", "DynamoDB", "an item of at most 400 KB", f"{_DYNAMODB}/Constraints.html",
         "`shared/tasks/blobs.py`", _STACK, 409_600, "MiniStack"),
    Rule("dynamodb-key", "DynamoDB", "keys of the table: 2,048 bytes (partition), 1,024 bytes (sort)",
         f"{_DYNAMODB}/Constraints.html", "`lanes.TASK_ID_BYTES`", _STACK, 2048, "MiniStack"),
    Rule("dynamodb-transaction", "DynamoDB", "a transaction of at most 100 items, 4 MB, no item twice",
         f"{_DYNAMODB}/transaction-apis.html", "`shared/tasks/group_commit.py`", _STACK, 100, "MiniStack"),
    Rule("dynamodb-statements", "DynamoDB", "at most 25 statements a batch",
         "https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchExecuteStatement.html",
         "`table.STATEMENTS_AT_ONCE`", _STACK, 25, "MiniStack"),
    Rule("dynamodb-expression", "DynamoDB", "an expression of at most 4 KB", f"{_DYNAMODB}/Constraints.html",
         "`table.update_op`", _STACK, 4096, "MiniStack"),
    Rule("dynamodb-overlap", "DynamoDB", "paths of one expression must not overlap",
         f"{_DYNAMODB}/Expressions.UpdateExpressions.html", "`table.update_op`", _STACK, 0, "MiniStack"),
    Rule("dynamodb-batches", "DynamoDB", "25 writes or 100 reads a batch, no key twice",
         f"{_DYNAMODB}/Constraints.html", "`functions/api/control/erase.py`, `functions/sweeper/recount.py`", _STACK,
         25, "MiniStack"),
    Rule("dynamodb-statement", "DynamoDB", "a statement of at most 8,192 characters",
         "https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchStatementRequest.html",
         "`shared/tasks/statements.py`: a few attributes each", _STRICT, 8192),
    Rule("dynamodb-operators", "DynamoDB", "at most 300 operators in an expression", f"{_DYNAMODB}/Constraints.html",
         "`table.update_op`", _STRICT, 300),
    Rule("dynamodb-empty-key", "DynamoDB", "a key, of the table or of an index, is no empty text",
         f"{_DYNAMODB}/Constraints.html", "`items.task_row` leaves empty attributes out", _STACK, 0, "MiniStack"),
    Rule("dynamodb-page", "DynamoDB", "a page of a query of at most 1 MB, read before anything is left out: it may be "
         "short, or empty, and have a next one", f"{_DYNAMODB}/Query.Pagination.html",
         "`table.query` asks on; `table.query_page` returns where to go on", _STACK, 1_048_576, "MiniStack"),
    Rule("dynamodb-token", "DynamoDB", "a transaction's token, of at most 36 characters, makes a repeat safe for 10 "
         "minutes; another transaction with it is refused", f"{_DYNAMODB}/transaction-apis.html",
         "boto3 gives each call one, and its repeats the same", _STACK, 36, "MiniStack"),
    Rule("dynamodb-number", "DynamoDB", "a number of at most 38 digits", f"{_DYNAMODB}/Constraints.html",
         "`body.MAX_INTEGER`; floats have 17", _STACK, 38, "MiniStack"),
    Rule("dynamodb-nesting", "DynamoDB", "values in values at most 32 deep", f"{_DYNAMODB}/Constraints.html",
         "what is nested is stored as JSON text", _STACK, 32, "MiniStack"),
    # ---- Lambda
    Rule("lambda-request", "Lambda", "an event of at most 6 MB", f"{_LAMBDA}/dg/gettingstarted-limits.html",
         "API Gateway's own limit is met first by `functions/api/door/body.py`", _STRICT, 6_291_556),
    Rule("lambda-response", "Lambda", "an answer of at most 6 MB, its JSON and base64 counted",
         f"{_LAMBDA}/dg/gettingstarted-limits.html", "pages by bytes, presigned URLs (`shared/wire.py`)",
         _STRICT, 6_291_556),
    Rule("lambda-async", "Lambda", "an asynchronous event of at most 1 MB", f"{_LAMBDA}/dg/gettingstarted-limits.html",
         "only schedules invoke so", _STRICT, 1_048_576),
    Rule("lambda-environment", "Lambda", "environment variables of 4 KB together",
         f"{_LAMBDA}/dg/configuration-envvars.html", "`tests/unit/localstack/test_template.py`", _STRICT, 4096),
    Rule("lambda-timeout", "Lambda", "a timeout of at most 1,800 s", f"{_LAMBDA}/dg/gettingstarted-limits.html",
         "`WorkerTimeoutSeconds`", _STRICT, 1800),
    Rule("lambda-reserve", "Lambda", "100 executions of the account stay unreserved by all reservations together",
         f"{_LAMBDA}/dg/configuration-concurrency.html", "`deploy/preflight.py`", _STRICT, 100),
    Rule("lambda-pool", "Lambda", "functions without a reservation share what the account has left of its concurrency",
         f"{_LAMBDA}/dg/lambda-concurrency.html", "`ReserveConcurrency`, `ApiReservedConcurrency`", _STRICT),
    Rule("lambda-loop", "Lambda", "a chain that comes to one function more than 16 times is stopped, unless it says "
         "`RecursiveLoop: Allow`", f"{_LAMBDA}/dg/invocation-recursion.html",
         "`template.yaml`; `tests/unit/localstack/test_loops.py` derives who must say so", _STRICT, 16),
    Rule("lambda-mapping-batch", "Lambda", "an SQS batch over 10 wants a batching window",
         f"{_LAMBDA}/dg/services-sqs-configure.html", "`BatchSize` is at most 10", _STRICT, 10),
    Rule("lambda-mapping-concurrency", "Lambda", "a mapping's `MaximumConcurrency` is 2 to 1,000",
         f"{_LAMBDA}/dg/services-sqs-scaling.html", "the parameters' ranges; the scaler", _STACK, 1000, "MiniStack"),
    Rule("lambda-stream", "Lambda", "a streamed answer of at most 200 MB; what is over 6 MB of it comes at 2 MB/s",
         f"{_LAMBDA}/dg/configuration-response-streaming.html",
         "a stream lives `StreamSeconds` at most, and its client goes on from the last event", _URL, 209_715_200),
    # ---- API Gateway
    Rule("gateway-time", "API Gateway", "an HTTP API waits 30 s for its function", f"{_GATEWAY}/http-api-quotas.html",
         "`ResultMaxWait` is at most 25 s", _STRICT, 30),
    Rule("gateway-body", "API Gateway", "a request's body of at most 10 MB", f"{_GATEWAY}/http-api-quotas.html",
         "`functions/api/door/body.py` takes 1 MiB", _STRICT, 10_485_760),
    Rule("gateway-headers", "API Gateway", "request line and headers of at most 10,240 bytes",
         f"{_GATEWAY}/http-api-quotas.html", "keys and ids are short", _STRICT, 10_240),
    Rule("socket-frame", "API Gateway", "a frame from a client of at most 32 KB, or the connection is closed with 1009",
         f"{_GATEWAY}/apigateway-execution-service-websocket-limits-table.html", "clients send only subscriptions",
         _STRICT, 32_768),
    Rule("socket-message", "API Gateway", "a message to a client of at most 128 KB",
         f"{_GATEWAY}/apigateway-execution-service-websocket-limits-table.html", "`events.EVENT_BYTES`", _STRICT,
         131_072),
    Rule("socket-idle", "API Gateway", "a connection that is idle for 10 minutes is closed",
         f"{_GATEWAY}/apigateway-execution-service-websocket-limits-table.html",
         "clients come back and read from where they were", _STRICT, 600),
    Rule("socket-life", "API Gateway", "a connection lives for at most 2 hours",
         f"{_GATEWAY}/apigateway-execution-service-websocket-limits-table.html",
         "clients come back and read from where they were", _STRICT, 7200),
    # ---- S3
    Rule("s3-missing", "S3", "an object that is not there is 403 to who may not list the bucket",
         "https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html", "`blobs.MISSING`", _STRICT),
    Rule("s3-key", "S3", "a key of at most 1,024 bytes",
         "https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html", "ids and step names are bounded",
         _STRICT, 1024),
    Rule("s3-owner", "S3", "`ExpectedBucketOwner` that does not fit is 403",
         "https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-owner-condition.html", "`blobs.owner`", _STRICT),
    Rule("s3-part", "S3", "a part of a multipart upload of at least 5 MiB, but the last; at most 10,000 parts",
         "https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html", "`assembly.PART_BYTES`", _STRICT, 10_000),
    Rule("s3-presigned", "S3", "a presigned URL is good for at most 7 days, and for no longer than the credentials "
         "that signed it",
         "https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-presigned-url.html",
         "`ResultUrlSeconds` is at most 12 hours", _STRICT, 604_800),
    # ---- CloudWatch
    Rule("emf-dimensions", "CloudWatch", "at most 30 dimensions a metric",
         f"{_CLOUDWATCH}/CloudWatch_Embedded_Metric_Format_Specification.html", "`shared/metrics.py`: one", _STRICT,
         30),
    Rule("emf-metrics", "CloudWatch", "at most 100 metrics a log line",
         f"{_CLOUDWATCH}/CloudWatch_Embedded_Metric_Format_Specification.html", "`shared/metrics.py`", _STRICT, 100),
    Rule("emf-value", "CloudWatch", "a dimension's value of 1 to 1,024 characters of ASCII, not blank",
         "https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_Dimension.html",
         "values are words of Sluice's own", _STRICT, 1024),
    Rule("emf-line", "CloudWatch", "a line of a log of at most 1 MB",
         "https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/cloudwatch_limits_cwl.html",
         "causes are cut before they are logged", _STRICT, 1_048_576),
    Rule("emf-series", "CloudWatch", "no limit of AWS, but each series costs USD 0.30 a month: at most 100 values of a "
         "dimension", "https://aws.amazon.com/cloudwatch/pricing/", "no tenant or provider can word a dimension",
         _STRICT, 100),
]  # fmt: skip

RULES: dict[str, Rule] = {rule.name: rule for rule in [*_TABLE, *DEPLOYED]}

STRICTER = [
    "`AWS::ElastiCache::ServerlessCache`, `AWS::EC2::NatGateway`, `AWS::EC2::EIP` and composite alarms are refused: "
    "the template guards them with conditions.",
    "A batching window is ignored, so that a mapping's batch never holds more than 10 messages.",
]
WRONG = [
    "CloudFormation leaves out `RecursiveLoop`: `localstack/left_out.py` sets it after each deployment.",
    "CloudFormation leaves out `ReservedConcurrentExecutions`, so that nothing bounds a function: "
    "`localstack/left_out.py` reserves after each deployment.",
    "HTTP APIs answer an invocation that Lambda refused with its 429, and a function's failure with its message: "
    "the front answers 500 and 502 without a word, as documented.",
    "CloudFormation keeps numbers of parameters as text in event source mappings: set again, too.",
    "CloudFormation keeps the capitals of an HTTP API's CORS, which its gateway does not read: set again, too.",
    "Messages carry no trace and functions have no `_X_AMZN_TRACE_ID`, so its own loop detection never sees a queue: "
    "the front gives both.",
    "`GetAccountSettings` does not take reservations out of `UnreservedConcurrentExecutions`.",
    "Malformed `batchItemFailures` delete messages, which AWS sends again; unit tests see to that.",
    "A batch with one entry over a limit is refused as a whole; SQS refuses the entry. It is reported all the same.",
    "Its scheduler reads every time zone as UTC.",
]
