"""AWS clients: one of each per execution environment, made on first use.

Low-level clients are thread-safe and keep a connection pool sized for twice ``RunsPerEnvironment`` threads. A socket
that died while the environment was frozen fails on first use; botocore's retries open a new one.
"""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any

from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
)
from botocore.exceptions import (
    ConnectionError as BotoConnectionError,
)
from botocore.session import Session, get_session

from shared.attribute_json import quicken
from shared.settings import settings

if TYPE_CHECKING:
    from types_boto3_dynamodb.client import DynamoDBClient
    from types_boto3_lambda.client import LambdaClient
    from types_boto3_s3.client import S3Client
    from types_boto3_sqs.client import SQSClient

_lock = threading.RLock()
_clients: dict[str, Any] = {}
_session: Session | None = None

THROTTLED = frozenset(
    {
        "ThrottlingException",
        "Throttling",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "KmsThrottled",
        "InternalServerError",
        "InternalFailure",
        "ServiceUnavailable",
        "SlowDown",
        "TransactionInProgressException",
    }
)
"""Codes after which the same call may work a moment later."""
UNSERVED = frozenset(
    {
        *("ExpiredTokenException", "ExpiredToken", "InvalidToken", "RequestExpired", "400"),  # a HEAD has no code
        *("UnrecognizedClientException", "InvalidClientTokenId", "InvalidAccessKeyId", "OptInRequired"),
        *("InvalidSignatureException", "SignatureDoesNotMatch", "IncompleteSignature", "RequestTimeTooSkewed"),
        *("MissingAuthenticationTokenException", "MissingAuthenticationToken", "NotAuthorized"),
        *("AccessDeniedException", "AccessDenied", "403", "ResourceNotFoundException", "NoSuchBucket"),
        *("RequestTimeout", "RequestTimeoutException", "RequestAbortedException", "OperationAborted"),
        *("ReplicatedWriteConflictException", "InaccessibleEncryptionDateException"),
    }
)
"""Codes that blame who asks, its clock or the deployment, and never what is asked: credentials that ended, a signature
that is too old, a right or a table that is missing for now. Whoever has something to write keeps it and tries again.
https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/CommonErrors.html and
https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html (2026-11)"""
OF_A_KEY = ("KMS", "Kms")
"""How the codes of S3, SQS and DynamoDB begin when the key is the trouble that encrypts what they keep."""


CONNECT_SECONDS, ANSWER_SECONDS, ATTEMPTS = 2, 10, 3
"""How long a call waits for a connection and for each piece of an answer, and how often it is tried.

Who has minutes gains nothing by asking a slow service again sooner: it would only be slower for that.
"""
HURRIED_SECONDS, HURRIED_OBJECT_SECONDS = 4, 6
"""How long a call of a hurried function waits for an answer (see ``hurry``), and one of S3, which may have 64 MB to
store before it: 12 s with all its tries. A submit that finds a service silent makes two such calls."""
_hurried = False


def hurry() -> None:
    """Give a silent service up sooner, from the next client on: a client waits, and the function ends after 29 s."""
    global _hurried  # noqa: PLW0603 - so is every function of this environment
    _hurried = True


def _config(*, read_timeout_s: float | None = None, attempts: int = ATTEMPTS) -> Config:
    return Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=read_timeout_s or (HURRIED_SECONDS if _hurried else ANSWER_SECONDS),
        retries={"mode": "standard", "total_max_attempts": attempts},
        max_pool_connections=max(16, 2 * settings().runs_per_environment + 8),
        parameter_validation=False,  # 24 to 31 % of a write's processor time; the service checks them too
        tcp_keepalive=True,
    )


def _make(name: str, **kwargs: Any) -> Any:
    """Make a client, as ``boto3.client`` does: of its default session, where somebody has set that up.

    ``boto3`` itself is not imported for that: its transfers to S3 and its resources are 5 % of a cold start.
    """
    global _session  # noqa: PLW0603 - one per environment is the point
    theirs: Any = getattr(sys.modules.get("boto3"), "DEFAULT_SESSION", None)
    if theirs is not None:
        return theirs.client(name, **kwargs)
    if _session is None:
        _session = get_session()
    return _session.create_client(name, **kwargs)


def _client(name: str, **kwargs: Any) -> Any:
    client = _clients.get(name)
    if client is None:
        with _lock:  # a session is not thread-safe while it makes a client
            client = _clients.get(name)
            if client is None:
                kwargs.setdefault("config", _config())
                client = _make(name, **kwargs)
                if name == "dynamodb":
                    quicken(client)
                _clients[name] = client
    return client


def dynamodb() -> DynamoDBClient:
    """Return the DynamoDB client of this environment."""
    return _client("dynamodb")  # type: ignore[no-any-return]


def sqs() -> SQSClient:
    """Return the SQS client of this environment."""
    return _client("sqs")  # type: ignore[no-any-return]


def s3() -> S3Client:
    """Return the S3 client of this environment."""
    return _client("s3", config=_config(read_timeout_s=HURRIED_OBJECT_SECONDS if _hurried else None))  # type: ignore[no-any-return]


def s3_signer() -> Any:
    """Return a client that makes presigned URLs: with the signature that every region and key takes."""
    client = _clients.get("s3 signer")
    if client is None:
        with _lock:
            config = _config().merge(Config(signature_version="s3v4"))
            client = _clients["s3 signer"] = _make("s3", config=config)
    return client


def lambda_client() -> LambdaClient:
    """Return the Lambda client of this environment."""
    return _client("lambda", config=_config(attempts=2))  # type: ignore[no-any-return]


def secrets_manager() -> Any:
    """Return the Secrets Manager client of this environment."""
    return _client("secretsmanager", config=_config(read_timeout_s=3, attempts=2))


def connections() -> Any:
    """Return the WebSocket management client; its endpoint is the stage's own (``WS_ENDPOINT_URL``)."""
    # A watcher that cannot be reached at once is not waited for.
    config = _config(read_timeout_s=2, attempts=1)
    return _client("apigatewaymanagementapi", endpoint_url=settings().ws_endpoint_url or None, config=config)


def reset() -> None:
    """Forget every client, so that the next use reconnects (after a SnapStart restore, between tests)."""
    global _session  # noqa: PLW0603
    with _lock:
        _clients.clear()
        _session = None


def error_code(error: Exception) -> str:
    """Return the AWS error code of a client error, or an empty string."""
    if isinstance(error, ClientError):
        return str(error.response.get("Error", {}).get("Code", ""))
    return ""


def is_outage(error: Exception) -> bool:
    """Tell whether the service is away, throttling or serves us nothing, as opposed to refusing this very request."""
    if isinstance(error, ClientError):
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        code = error_code(error)
        return code in THROTTLED or code in UNSERVED or code.startswith(OF_A_KEY) or status >= 500
    return isinstance(error, BotoConnectionError | HTTPClientError | BotoCoreError)
