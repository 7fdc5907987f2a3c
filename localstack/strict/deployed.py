"""The documented limits of what is deployed: a test holds the template against them, before AWS would."""

from __future__ import annotations

from localstack.strict.rule import Rule

_CLOUDFORMATION = "https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html"
_LAMBDA = "https://docs.aws.amazon.com/lambda/latest/dg"
_SQS = "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide"
_CLOUDWATCH = "https://docs.aws.amazon.com/AmazonCloudWatch/latest"
_TEST = "tests/unit/localstack/test_template_limits.py"
_TEMPLATE = "`template.yaml`"


def _rule(name: str, service: str, limit: str, source: str, where: str, most: float) -> Rule:
    return Rule(name, service, limit, source, where, _TEST, most, "the test")


DEPLOYED = [
    _rule("template-bytes", "CloudFormation", "a template of at most 1 MB, from S3 (51,200 bytes in a request)",
          _CLOUDFORMATION, "`deploy/change_set.py` and SAM put it to S3", 1_000_000),
    _rule("template-resources", "CloudFormation", "at most 500 resources, those that SAM adds, too", _CLOUDFORMATION,
          _TEMPLATE, 500),
    _rule("template-parameters", "CloudFormation", "at most 200 parameters", _CLOUDFORMATION, _TEMPLATE, 200),
    _rule("template-outputs", "CloudFormation", "at most 200 outputs", _CLOUDFORMATION, _TEMPLATE, 200),
    _rule("template-description", "CloudFormation", "a template's description of at most 1,024 bytes", _CLOUDFORMATION,
          _TEMPLATE, 1024),
    _rule("parameter-description", "CloudFormation", "a parameter's description of at most 4,000 characters",
          "https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/parameters-section-structure.html", _TEMPLATE,
          4000),
    _rule("parameter-value", "CloudFormation", "a parameter's value of at most 4,096 bytes", _CLOUDFORMATION,
          "`deploy/checks.py`; larger prices stand in an object (`PricesObject`)", 4096),
    _rule("template-references", "CloudFormation", "at most 60 dynamic references", _CLOUDFORMATION, _TEMPLATE, 60),
    _rule("stack-name", "CloudFormation", "names made from the stack's: of a cache 40 characters, of a function 64, of "
          "an API 128", "https://docs.aws.amazon.com/AmazonElastiCache/latest/APIReference/API_CreateReplicationGroup.html",
          "`deploy/stack_name.py` says how long the stack's may be", 40),
    _rule("role-policies", "IAM", "inline policies of a role of at most 10,240 characters together",
          "https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html", _TEMPLATE, 10_240),
    _rule("lambda-variables", "Lambda", "an environment variable's name has letters, digits and `_`, and is none of "
          "Lambda's own", f"{_LAMBDA}/configuration-envvars.html", _TEMPLATE, 0),
    _rule("lambda-memory", "Lambda", "128 to 10,240 MB of memory, 512 to 10,240 MB of `/tmp`",
          f"{_LAMBDA}/gettingstarted-limits.html", "the parameters' ranges", 10_240),
    _rule("lambda-async-age", "Lambda", "an asynchronous event is kept for 60 s to 6 hours, and tried twice more",
          f"{_LAMBDA}/invocation-async-error-handling.html", _TEMPLATE, 21_600),
    _rule("lambda-files", "Lambda", "at most 1,024 open files of an environment",
          f"{_LAMBDA}/gettingstarted-limits.html", "`settings.MOST_RUNS`, `pool_limits`", 1024),
    _rule("lambda-queue", "Lambda", "a queue hides a message for as long as its function may take, at least",
          f"{_LAMBDA}/services-sqs-configure.html", _TEMPLATE, 0),
    _rule("sqs-retention", "SQS", "messages are kept for 60 s to 14 days", f"{_SQS}/quotas-messages.html", _TEMPLATE,
          1_209_600),
    _rule("sqs-receives", "SQS", "`maxReceiveCount` of 1 to 1,000", f"{_SQS}/sqs-dead-letter-queues.html", _TEMPLATE,
          1000),
    _rule("dynamodb-indexes", "DynamoDB", "at most 20 global indexes, with at most 100 attributes that are not keys",
          "https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html", _TEMPLATE, 20),
    _rule("gateway-routes", "API Gateway", "at most 300 routes and 300 integrations of an API",
          "https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html", _TEMPLATE, 300),
    _rule("gateway-stream", "API Gateway", "a REST API streams for at most 15 minutes, of which 5 may be idle",
          "https://docs.aws.amazon.com/apigateway/latest/developerguide/response-transfer-mode.html",
          "`StreamSeconds`; a comment every few seconds", 900),
    _rule("alarm-description", "CloudWatch", "an alarm's description of at most 1,024 characters",
          f"{_CLOUDWATCH}/APIReference/API_PutMetricAlarm.html", _TEMPLATE, 1024),
    _rule("alarm-time", "CloudWatch", "an alarm looks at 7 days at most, at one day where its periods are shorter than "
          "an hour", f"{_CLOUDWATCH}/APIReference/API_PutMetricAlarm.html", _TEMPLATE, 86_400),
    _rule("alarm-metrics", "CloudWatch", "at most 10 metrics in an alarm's expression",
          f"{_CLOUDWATCH}/monitoring/cloudwatch_limits.html", _TEMPLATE, 10),
    _rule("dashboard", "CloudWatch", "at most 500 widgets and 2,500 metrics on a dashboard",
          f"{_CLOUDWATCH}/monitoring/cloudwatch_limits.html", _TEMPLATE, 500),
    _rule("secret-value", "Secrets Manager", "a secret of at most 65,536 bytes",
          "https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_limits.html",
          "keys and passwords, which Sluice only reads", 65_536),
]  # fmt: skip
