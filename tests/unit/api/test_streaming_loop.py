"""The runtime loop of the streaming address: against the emulator's real runtime API, and behind the local front."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest

from functions.api.streaming import runtime_api
from functions.api.streaming.exchange import _request
from localstack.emulator import binary
from localstack.environ import ROOT, LocalError
from localstack.processes import answers, minimal_environment
from tests.stack_fixture import free_ports

SECONDS = 4
"""Timeout of the function that the front plays."""


def url_event(path: str, **more: Any) -> dict[str, Any]:
    http = {"method": "GET", "path": path, "sourceIp": "127.0.0.1", "protocol": "HTTP/1.1", "userAgent": "t"}
    domain = "x.lambda-url.us-east-1.on.aws"
    return {
        "version": "2.0",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {"host": domain},
        "requestContext": {"http": http, "stage": "$default", "domainName": domain, "apiId": "x", "requestId": "r1"},
        "isBase64Encoded": False,
    } | more


@pytest.fixture(scope="module")
def emulated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Run the real application under the emulator, started by the wrapper; yields how it is called."""
    try:
        emulator = binary()
    except LocalError as error:
        pytest.skip(str(error))
    front, runtime = free_ports(2)
    environment = minimal_environment(
        LAMBDA_TASK_ROOT=str(ROOT), AWS_LAMBDA_FUNCTION_NAME="streaming", AWS_LAMBDA_FUNCTION_TIMEOUT="120",
        AWS_DEFAULT_REGION="us-east-1", AWS_ACCESS_KEY_ID="x", AWS_SECRET_ACCESS_KEY="x", TABLE_NAME="none",
    )  # fmt: skip
    command = [
        str(emulator), "--runtime-interface-emulator-address", f"127.0.0.1:{front}",
        "--runtime-api-address", f"127.0.0.1:{runtime}", "--log-level", "error",
        str(ROOT / "functions/api/streaming/start"), sys.executable, "-m", "awslambdaric", "functions.api.app.handler",
    ]  # fmt: skip
    log = tmp_path_factory.mktemp("emulator") / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)

    def invoke(event: Any) -> bytes:
        asked = urllib.request.Request(
            f"http://127.0.0.1:{front}/2015-03-31/functions/function/invocations", json.dumps(event).encode()
        )
        for _ in range(100):
            try:
                with urllib.request.urlopen(asked, timeout=130) as answer:
                    return bytes(answer.read())
            except ConnectionRefusedError:
                time.sleep(0.1)
            except OSError as error:
                if "refused" not in str(error):
                    raise
                time.sleep(0.1)
        raise AssertionError(log.read_text())

    yield invoke
    process.terminate()
    process.wait()


def test_the_emulator_takes_the_answer_with_its_prelude(emulated: Any) -> None:
    head, _, body = emulated(url_event("/openapi.json")).partition(b"\0" * 8)
    prelude = json.loads(head)
    assert prelude.get("statusCode") == 200, prelude
    assert prelude["headers"]["x-request-id"] == "r1"
    assert json.loads(body)["info"]["title"] == "Sluice"


def test_one_environment_serves_one_request_after_the_other(emulated: Any) -> None:
    for _ in range(3):
        head, _, body = emulated(url_event("/nowhere")).partition(b"\0" * 8)
        assert (json.loads(head)["statusCode"], json.loads(body)["error"]["code"]) == (404, "not_found")


def test_a_call_that_is_no_request_is_taken_in_silence(emulated: Any) -> None:
    assert emulated({"streamingComplete": True}) == b"null"
    assert emulated(["anything"]) == b"null"


def test_an_unreadable_request_is_answered(emulated: Any) -> None:
    head, _, body = emulated({"version": "2.0", "requestContext": {}}).partition(b"\0" * 8)
    assert (json.loads(head)["statusCode"], json.loads(body)["error"]["code"]) == (400, "bad_request")


def test_a_rest_apis_event_is_read_too() -> None:
    event = {
        "resource": "/{proxy+}", "path": "/result/t/stream", "httpMethod": "GET", "body": None,
        "isBase64Encoded": False,
        "headers": {"Host": "abc.execute-api.us-east-1.amazonaws.com"},
        "multiValueHeaders": {"Host": ["abc.execute-api.us-east-1.amazonaws.com"], "Last-Event-ID": ["7.2"]},
        "queryStringParameters": {"after": "1"}, "multiValueQueryStringParameters": {"after": ["1"]},
        "requestContext": {"stage": "live", "path": "/live/result/t/stream", "identity": {"sourceIp": "1.2.3.4"}},
    }  # fmt: skip
    scope, body = _request(event, None)
    assert (scope["path"], scope["query_string"], body) == ("/result/t/stream", b"after=1", b"")
    assert dict(scope["headers"])[b"last-event-id"] == b"7.2"


class Front:
    """The local front before an application of the test's own."""

    def __init__(self, folder: Path) -> None:
        (port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        self.log = folder / "log"
        self.go_on = folder / "go-on"
        """Is there when answers in chunks may go on behind their first."""
        program = f"exec {sys.executable} -m tests.unit.api.streaming_app >> {self.log} 2>&1"
        config = {
            "port": port, "command": ["/bin/sh", "-c", program], "processes": 1, "at_once": 4, "seconds": SECONDS,
            "variables": minimal_environment(PYTHONPATH=str(ROOT), GO_ON=str(self.go_on)),
        }  # fmt: skip
        (folder / "config.json").write_text(json.dumps(config))
        command = [sys.executable, "-m", "localstack.front", str(folder / "config.json")]
        self._process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
        try:
            self.await_ready()
        except AssertionError:
            self.stop()
            raise

    def await_ready(self) -> None:
        give_up = time.monotonic() + 60
        while time.monotonic() < give_up:
            if answers(f"{self.url}/_front/health", well=True):
                return
            time.sleep(0.05)
        raise AssertionError("the front does not answer")

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(60)

    def logged(self, text: str, seconds: float = 60) -> bool:
        give_up = time.monotonic() + seconds
        while time.monotonic() < give_up:
            if text in self.log.read_text():
                return True
            time.sleep(0.05)
        return False


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    made = Front(tmp_path_factory.mktemp("front"))
    yield made
    made.stop()


def test_a_request_arrives_whole(front: Front) -> None:
    answer = httpx2.post(f"{front.url}/echo?a=1&b=%20", content=b"\x00\xff body", headers={"x-sent": "yes"})
    assert (answer.status_code, answer.headers["x-twice"]) == (201, "1, 2")
    assert answer.content == b"POST a=1&b=%20 yes \x00\xff body"


def test_chunks_arrive_as_they_are_written(front: Front) -> None:
    with httpx2.stream("GET", f"{front.url}/chunks", timeout=60) as answer:
        lines = answer.iter_lines()
        assert next(lines) == "0"  # what came in one piece would not come before it may go on
        front.go_on.touch()
        assert [*lines] == ["1", "2", "end"]
    front.go_on.unlink()


def test_a_large_answer_is_whole(front: Front) -> None:
    assert httpx2.get(f"{front.url}/large").content == b"y" * 3_000_000


def test_an_error_in_mid_stream_breaks_the_answer_off(front: Front) -> None:
    with httpx2.stream("GET", f"{front.url}/broken") as answer:
        data = answer.iter_bytes()
        assert next(data) == b"so far\n"
        with pytest.raises(httpx2.RemoteProtocolError):
            next(data)


def test_an_error_before_the_answer_is_a_bad_gateway(front: Front) -> None:
    assert httpx2.get(f"{front.url}/early").status_code == 502


def test_an_answer_that_outlasts_the_function_is_broken_off_before_its_time(front: Front) -> None:
    with pytest.raises(httpx2.RemoteProtocolError), httpx2.stream("GET", f"{front.url}/late") as answer:
        list(answer.iter_bytes())
    assert front.logged("told http.disconnect")  # so that the application could clean up, which no ended process can


def test_an_answer_goes_on_when_its_client_has_left(front: Front) -> None:
    with httpx2.stream("GET", f"{front.url}/abandoned") as answer:
        next(answer.iter_bytes())
    assert front.logged("went on to the end")


def test_more_requests_than_environments_take_are_throttled(front: Front) -> None:
    def ask() -> int:
        return httpx2.get(f"{front.url}/chunks", timeout=60).status_code

    before = front.log.read_text().count("wrote a chunk")
    with ThreadPoolExecutor(4) as pool:
        taken = [pool.submit(ask) for _ in range(4)]
        try:
            while front.log.read_text().count("wrote a chunk") < before + 4:
                time.sleep(0.02)
            assert [ask(), ask()] == [429, 429]
        finally:
            front.go_on.touch()
        assert [one.result() for one in taken] == [201] * 4
    front.go_on.unlink()


def test_a_dead_environment_is_replaced(front: Front) -> None:
    assert httpx2.get(f"{front.url}/die").status_code == 502
    front.await_ready()
    assert httpx2.post(f"{front.url}/echo", content=b"again", headers={"x-sent": "yes"}).status_code == 201


def test_a_failed_start_is_reported(tmp_path: Path) -> None:
    reported: list[tuple[str, bytes]] = []

    async def main() -> int:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = int(head.lower().partition("content-length:")[2].split()[0])
            reported.append((head, await reader.readexactly(length)))
            writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        environment = os.environ | {"AWS_LAMBDA_RUNTIME_API": address, "LEASE_SECONDS": "no number"}
        environment["AWS_LAMBDA_FUNCTION_NAME"] = "streaming"
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "functions.api.streaming",
            env=environment,
            cwd=ROOT,
            stderr=asyncio.subprocess.DEVNULL,
        )
        code = await process.wait()
        server.close()
        return code

    assert asyncio.run(main()) == 1
    ((head, body),) = reported
    assert "/2018-06-01/runtime/init/error" in head
    assert "Lambda-Runtime-Function-Error-Type: Sluice.SettingError" in head
    assert "LEASE_SECONDS" in json.loads(body)["errorMessage"]


def test_the_prelude_ends_with_eight_nul_bytes() -> None:
    assert runtime_api.prelude(200, {"a": "b"}) == b'{"statusCode": 200, "headers": {"a": "b"}}' + b"\0" * 8
