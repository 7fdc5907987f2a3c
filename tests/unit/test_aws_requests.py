"""Requests to DynamoDB and SQS are signed as `botocore` signs them, and sent and read as it does, only sooner."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.auth import SigV4Auth, _host_from_url
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    EndpointConnectionError,
    NoCredentialsError,
    ReadTimeoutError,
    SSLError,
)

from shared import attribute_json, aws_requests
from shared.aws_session import Headers, place
from tests.unit.worker.test_wire import certificate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.0\r\n"
ROW = b'{"Item":{"pk":{"S":"p"}}}'
WHOLE = OK + b"Content-Length: %d\r\n\r\n" % len(ROW) + ROW
REFUSED = b'{"__type":"com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException","Item":{"pk":{"S":"other"}}}'


def _client(
    service: str, url: str | None = None, *, token: str | None = None, verify: str | None = None, **config: Any
) -> Any:
    made = boto3.client(
        service, region_name="eu-central-1", endpoint_url=url, config=Config(parameter_validation=False, **config),
        aws_access_key_id="AKID", aws_secret_access_key="secret/+", aws_session_token=token,
        verify=verify,
    )  # fmt: skip
    if service == "dynamodb":
        attribute_json.quicken(made)
    aws_requests.quicken(made)
    return made


@contextmanager
def _server(*answers: Sequence[bytes | None], tls: ssl.SSLContext | None = None) -> Iterator[tuple[str, list[bytes]]]:
    """Serve connections one after the other; each writes its answers, one a request, and ends at None or after them."""
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            for connection in answers:
                try:
                    accepted = listening.accept()[0]
                    with tls.wrap_socket(accepted, server_side=True) if tls else accepted as sock:
                        for answer in connection:
                            if (request := _request(sock)) is None:
                                break
                            asked.append(request)
                            if answer is None:
                                break
                            for part in answer.split(b"|"):  # as it comes over a network, in pieces
                                sock.sendall(part)
                except OSError:
                    return

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http{'s' if tls else ''}://127.0.0.1:{listening.getsockname()[1]}", asked
        listening.shutdown(socket.SHUT_RDWR)
    thread.join()


def _request(sock: socket.socket) -> bytes | None:
    found = b""
    while b"\r\n\r\n" not in found:
        if not (more := sock.recv(65536)):
            return None
        found += more
    head, _, body = found.partition(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")
    )
    while len(body) < length:
        body += sock.recv(65536)
    return head + b"\r\n\r\n" + body


def _get(client: Any) -> Any:
    return client.get_item(TableName="t", Key={"pk": {"S": "p"}})


@pytest.mark.parametrize("token", [None, "a/long=token"])
@pytest.mark.parametrize("service", ["dynamodb", "sqs"])
def test_a_request_has_the_signature_that_botocore_gives_it(service: str, token: str | None) -> None:
    with _server([WHOLE, WHOLE]) as (url, asked):
        client = _client(service, url, token=token)
        for _ in range(2):  # over a new connection, and over one that stands
            if service == "sqs":
                client.send_message(QueueUrl=f"{url}/1/q", MessageBody="Grüße", MessageGroupId="g")
            else:
                client.put_item(TableName="t", Item={"pk": {"S": "Grüße"}})
    assert len(asked) == 2
    for request in asked:
        head, _, body = request.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = Headers({name.lower(): value for name, value in (line.split(": ", 1) for line in lines)})
        assert first == "POST / HTTP/1.1"
        signed = headers["authorization"].split("SignedHeaders=")[1].split(",")[0].split(";")
        assert {"host", "x-amz-date", "x-amz-target"} <= set(signed)
        assert ("x-amz-security-token" in signed) == (token is not None)
        theirs = AWSRequest("POST", url + "/", {name: headers[name] for name in signed}, body)
        theirs.context["timestamp"] = headers["x-amz-date"]
        auth = SigV4Auth(Credentials("AKID", "secret/+", token), service, "eu-central-1")
        text = auth.string_to_sign(theirs, auth.canonical_request(theirs))
        assert headers["authorization"].endswith(f"Signature={auth.signature(text, theirs)}")
        assert (
            f"Credential=AKID/{headers['x-amz-date'][:8]}/eu-central-1/{service}/aws4_request,"
            in headers["authorization"]
        )
        assert headers["amz-sdk-request"].startswith("attempt=1")


@pytest.mark.parametrize(
    "answer",
    [
        WHOLE,
        OK + b"content-length: 25|\r\n|\r\n" + ROW[:5] + b"|" + ROW[5:],
        OK
        + b"Transfer-Encoding: chunked\r\n\r\n5\r\n"
        + ROW[:5]
        + b"\r|\n14;a=b\r\n"
        + ROW[5:]
        + b"\r\n0\r\nx: y\r\n|\r\n",
    ],
)
def test_an_answer_is_read_however_it_comes_and_the_connection_is_used_again(answer: bytes) -> None:
    with _server([answer] * 3) as (url, asked):
        client = _client("dynamodb", url)
        for _ in range(3):
            assert _get(client)["Item"] == {"pk": {"S": "p"}}
    assert len(asked) == 3


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"Connection: close\r\nContent-Length: 25\r\n\r\n" + ROW,
        OK + b"\r\n" + ROW,
        WHOLE.replace(b"HTTP/1.1", b"HTTP/1.0"),
        WHOLE + b"left over",
    ],
)
def test_a_connection_that_cannot_be_used_again_is_not(answer: bytes) -> None:
    with _server([WHOLE, answer], [WHOLE]) as (url, asked):
        client = _client("dynamodb", url)
        for _ in range(3):
            assert _get(client)["Item"] == {"pk": {"S": "p"}}
    assert len(asked) == 3


def test_a_connection_with_tls_is_used_again_and_its_certificate_is_looked_at(tmp_path: Path) -> None:
    pem = certificate(tmp_path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(pem)
    large = b'{"Item":{"a":{"S":"%s"}}}' % (b"x" * 500_000)
    with _server([WHOLE, OK + b"Content-Length: %d\r\n\r\n" % len(large) + large], [], tls=tls) as (url, asked):
        client = _client("dynamodb", url, verify=str(pem))
        assert _get(client)["Item"] == {"pk": {"S": "p"}}
        assert len(_get(client)["Item"]["a"]["S"]) == 500_000
        with pytest.raises(SSLError):
            _get(_client("dynamodb", url, retries={"mode": "standard", "total_max_attempts": 1}))
    assert len(asked) == 2


def test_what_goes_through_a_proxy_is_botocores() -> None:
    with _server([WHOLE, WHOLE]) as (proxy, asked):
        client = _client("dynamodb", "http://dynamodb.test", proxies={"http": proxy})
        for _ in range(2):
            assert _get(client)["Item"] == {"pk": {"S": "p"}}
    assert [request.split(b"\r\n")[0] for request in asked] == [b"POST http://dynamodb.test/ HTTP/1.1"] * 2


def test_a_large_answer_and_a_large_request_are_whole() -> None:
    text = "x" * 3_000_000
    body = b'{"Item":{"a":{"S":"%s"}}}' % text.encode()
    large = OK + b"Content-Length: %d\r\n\r\n" % len(body) + body
    with _server([WHOLE, large, WHOLE]) as (url, asked):
        client = _client("dynamodb", url)
        _get(client)
        assert _get(client)["Item"] == {"a": {"S": text}}
        client.put_item(TableName="t", Item={"a": {"S": text}})
    assert text.encode() in asked[2]


def test_a_refusal_is_the_error_that_botocore_makes_of_it() -> None:
    refused = b"HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\n\r\n" % len(REFUSED) + REFUSED
    with _server([WHOLE, refused]) as (url, _):
        client = _client("dynamodb", url)
        _get(client)
        with pytest.raises(ClientError) as caught:
            client.put_item(TableName="t", Item={"pk": {"S": "p"}})
    assert isinstance(caught.value, client.exceptions.ConditionalCheckFailedException)
    assert dict(caught.value.response)["Item"] == {"pk": {"S": "other"}}


@pytest.mark.parametrize("cut", [b"", b"HTTP/1.1 2", OK, WHOLE[:-3], b"nonsense\r\n\r\n", b"HTTP/1.1 2x0\r\n\r\n"])
def test_a_connection_that_ends_within_an_answer_is_tried_again_by_botocore(cut: bytes) -> None:
    tries = {"mode": "standard", "total_max_attempts": 2}
    with _server([WHOLE, cut], [WHOLE]) as (url, asked):
        client = _client("dynamodb", url, retries=tries)
        _get(client)
        answer = _get(client)
        assert answer["Item"] == {"pk": {"S": "p"}}
        assert answer["ResponseMetadata"]["RetryAttempts"] == 1
    assert len(asked) == 3
    assert b"attempt=2; max=2" in asked[2]


def test_a_connection_that_ended_while_it_rested_is_not_written_to() -> None:
    with _server([WHOLE], [WHOLE]) as (url, asked):
        client = _client("dynamodb", url)
        _get(client)
        pool, _ = client._endpoint.http_session._pools[url + "/"]
        connection = pool._get_conn()
        if not connection.is_closed:  # it has noticed the server's end, or waits for it here
            assert connection.sock.recv(1) == b""
        pool._put_conn(connection)
        assert _get(client)["ResponseMetadata"]["RetryAttempts"] == 0
    assert len(asked) == 2


def test_failures_are_of_the_kinds_that_botocore_raises() -> None:
    once = {"mode": "standard", "total_max_attempts": 1}
    with _server([WHOLE, None]) as (url, _):
        client = _client("dynamodb", url, retries=once)
        _get(client)
        with pytest.raises(ConnectionClosedError):
            _get(client)
    with pytest.raises(EndpointConnectionError):
        _get(client)
    with _server([WHOLE, b"", WHOLE]) as (url, _):
        client = _client("dynamodb", url, retries=once, read_timeout=0.2)
        _get(client)
        with pytest.raises(ReadTimeoutError):
            _get(client)


def test_a_client_without_credentials_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    client = _client("dynamodb", "http://127.0.0.1:9")
    monkeypatch.setattr(client._request_signer, "_credentials", None)
    with pytest.raises(NoCredentialsError):
        _get(client)


def test_a_header_cannot_hold_another() -> None:
    once = {"mode": "standard", "total_max_attempts": 1}
    with _server([WHOLE, WHOLE]) as (url, asked):
        client = _client("dynamodb", url, retries=once)
        _get(client)
        client.meta.events.register("before-call", lambda params, **_: params["headers"].update({"x": "a\r\nb: c"}))
        with pytest.raises(ConnectionClosedError) as caught:
            _get(client)
        assert "line break" in str(caught.value.kwargs["error"])
    assert len(asked) == 1


@pytest.mark.parametrize(
    "url",
    [
        "https://sqs.us-east-1.amazonaws.com",
        "http://HOST:80/",
        "https://h:443/a?b=c",
        "http://[::1]:8000/",
        "http://h:1",
    ],
)
def test_a_host_is_named_as_it_is_signed(url: str) -> None:
    assert place(url)[1] == _host_from_url(url)


def test_headers_are_found_whatever_their_case() -> None:
    found = Headers({"x-amz-crc32": "1"})
    assert found.get("X-Amz-Crc32") == found["X-AMZ-CRC32"] == "1"
    assert "X-amz-crc32" in found
    assert found.get("Date") is None
