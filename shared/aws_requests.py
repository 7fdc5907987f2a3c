"""A call on its way from `botocore` to DynamoDB or SQS: made and signed without what only other services need.

`botocore` prepares each request for any protocol: it copies the headers five times into case-blind maps, resolves the
endpoint's rules anew, derives the day's signing key anew, and reads the answer's headers as an e-mail's. Of a PutItem's
1.0 ms of processor time 0.65 went there. These two services take one kind of request: a POST of JSON to ``/``.
`shared.aws_session` sends it.

What fails stays `botocore`'s: its retries, its errors, its events but ``request-created``. A request of another kind
(another signature, a query, a body that is no bytes) is handed to `botocore` whole.
"""

from __future__ import annotations

import hmac
import time
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from botocore.auth import SIGNED_HEADERS_BLACKLIST
from botocore.awsrequest import AWSPreparedRequest
from botocore.exceptions import NoCredentialsError

from shared.aws_session import Session, place

if TYPE_CHECKING:
    from collections.abc import Callable

_UNSIGNED = frozenset(SIGNED_HEADERS_BLACKLIST)


def quicken(client: Any) -> None:
    """Have a client's requests made and sent in this way.

    All is set where `botocore` keeps its own; should it look elsewhere one day, it is only slower again.
    """
    endpoint = client._endpoint
    if client.meta.config.signature_version == "v4":
        endpoint.create_request = Requests(client, endpoint.create_request)
    endpoint.http_session = Session(endpoint.http_session)
    rules = client._ruleset_resolver
    if rules is not None:
        rules.construct_endpoint = _once(rules.construct_endpoint)


def _once(resolve: Callable[..., Any]) -> Callable[..., Any]:
    """Resolve each operation's endpoint once: tables and queues are named, not given by ARNs of other accounts."""
    known: dict[str, Any] = {}

    def endpoint(operation_model: Any, call_args: Any, request_context: Any) -> Any:
        found = known.get(operation_model.name)
        if found is None:
            found = known[operation_model.name] = resolve(operation_model, call_args, request_context)
        return found

    return endpoint


class Requests:
    """Makes signed requests, as `botocore.endpoint.Endpoint.create_request` does."""

    def __init__(self, client: Any, theirs: Callable[..., Any]) -> None:
        self._signer = client._request_signer
        self._attempts = (client.meta.config.retries or {}).get("total_max_attempts")
        self._theirs = theirs

    def __call__(self, params: dict[str, Any], operation_model: Any = None) -> Any:
        """Return a request that is ready to be sent.

        Raises:
            NoCredentialsError: there are none to sign with.
        """
        context, url, body = params["context"], params["url"], params["body"]
        path, host = place(url)
        plain = context.get("auth_type") in (None, "v4") and params["method"] == "POST"
        if not plain or path != "/" or not isinstance(body, bytes) or operation_model is None:
            return self._theirs(params, operation_model)
        if self._signer._credentials is None:
            raise NoCredentialsError
        own = self._signer._credentials.get_frozen_credentials()
        signing = context.get("signing") or {}
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        headers: Any = dict(params["headers"].items())
        headers["X-Amz-Date"] = stamp
        if own.token:
            headers["X-Amz-Security-Token"] = own.token
        region = signing.get("region") or self._signer.region_name
        service = signing.get("signing_name") or self._signer.signing_name
        headers["Authorization"] = authorization(own, region, service, stamp, headers | {"Host": host}, body)
        retries = context.get("retries")
        if retries:  # what botocore adds after the signature
            if self._attempts:
                retries["max"] = self._attempts
            headers["amz-sdk-invocation-id"] = retries["invocation-id"]
            told = (f"{name}={retries[name]}" for name in ("ttl", "attempt", "max") if name in retries)
            headers["amz-sdk-request"] = "; ".join(told)
        headers["Content-Length"] = str(len(body))
        return AWSPreparedRequest("POST", url, headers, body, False)


def authorization(own: Any, region: str, service: str, stamp: str, headers: dict[str, str], body: bytes) -> str:
    """Sign a POST of ``/`` with AWS's Signature Version 4; returns the header ``Authorization``.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
    """
    signed = {low: value for name, value in headers.items() if (low := name.lower()) not in _UNSIGNED}
    names = sorted(signed)
    lines = "".join([f"{name}:{' '.join(signed[name].split())}\n" for name in names])
    listed = ";".join(names)
    canonical = f"POST\n/\n\n{lines}\n{listed}\n{sha256(body).hexdigest()}"
    date = stamp[:8]
    scope = f"{date}/{region}/{service}/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{sha256(canonical.encode()).hexdigest()}"
    signature = hmac.digest(_key(own.secret_key, date, region, service), text.encode(), "sha256").hex()
    return f"AWS4-HMAC-SHA256 Credential={own.access_key}/{scope}, SignedHeaders={listed}, Signature={signature}"


@lru_cache(maxsize=8)
def _key(secret: str, date: str, region: str, service: str) -> bytes:
    """Derive a day's signing key."""
    key = f"AWS4{secret}".encode()
    for part in (date, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key
