"""A second opinion of DynamoDB, SQS and S3: the tests' account in an emulator with an address, in place of moto.

MiniStack runs behind the strict front, in an environment of its own. ``SECOND_OPINION`` names another emulator's
address instead (`make second-opinion`). Each test has an account of its own: an access key of twelve digits is one.
"""

from __future__ import annotations

import itertools
import json
import os
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import boto3
import pytest

from localstack import parts
from localstack.processes import Processes
from shared import aws
from shared.settings import settings
from sluice.testing.account import TABLE, client, make_lanes, make_table
from tests.stack_fixture import free_ports

_accounts = itertools.count(100_000_000_000)


def _next_account() -> int:
    """Return an account of twelve digits that no other process has."""
    return next(_accounts) + os.getpid() % 10_000 * 10_000


@contextmanager
def running(state: Path) -> Iterator[str]:
    """Run MiniStack behind the strict front for a while; yields its address.

    Raises:
        AssertionError: a request went over a limit of AWS.
    """
    patch = pytest.MonkeyPatch()
    patch.setenv("AWS_PORT", str(free_ports(1)[0]))
    processes = Processes(state)
    try:
        processes.start(parts.aws(state))
        endpoint = f"http://127.0.0.1:{os.environ['AWS_PORT']}"
        yield endpoint
        with urllib.request.urlopen(f"{endpoint}/_strict/report") as answer:
            noted = json.load(answer)["violations"]
    finally:
        processes.stop(["aws"])
        for scratch in parts.scratch_dirs(state):
            _remove(scratch)
        patch.undo()
    assert noted == [], "requests went over limits of AWS; see docs/aws-limits.md"


def _remove(folder: Path) -> None:
    import shutil

    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def account(patch: pytest.MonkeyPatch, endpoint: str) -> Iterator[dict[str, str]]:
    """Yield the lanes' URLs of a fresh account there, and point this process' clients at it."""
    values = {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": str(_next_account()),
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "TABLE_NAME": TABLE,
        "BLOB_BUCKET": f"sluice-blobs-{_next_account()}",
        "STAGE": "local",
    }
    for name, value in values.items():
        patch.setenv(name, value)
    with _clients(endpoint, values["AWS_ACCESS_KEY_ID"]):
        make_table()
        lanes = make_lanes()
        client("s3").create_bucket(Bucket=values["BLOB_BUCKET"])
        for lane, url in lanes.items():
            patch.setenv(f"QUEUE_URL_{lane.upper()}", url)
        settings.cache_clear()  # a thread that an earlier test left may have asked for them meanwhile
        yield lanes


@cache
def _session(_endpoint: str) -> boto3.Session:
    """Return the session of an address' clients. They are made once: making them takes longer than most tests."""
    return boto3.Session(aws_access_key_id="-", aws_secret_access_key="testing", region_name="us-east-1")


_kept: dict[str, dict[str, Any]] = {}
"""Clients of ``shared.aws``, by address."""


@contextmanager
def _clients(endpoint: str, account: str) -> Iterator[None]:
    """Have the clients of this address, with the credentials of an account; moto's tests have others."""
    before = boto3.DEFAULT_SESSION
    session = boto3.DEFAULT_SESSION = _session(endpoint)
    credentials = session.get_credentials()
    assert credentials is not None
    credentials.access_key = account  # its clients read it at each request
    settings.cache_clear()
    aws.reset()
    aws._clients.update(_kept.get(endpoint, {}))
    try:
        yield
    finally:
        _kept[endpoint] = {n: one for n, one in aws._clients.items() if one.meta.endpoint_url == endpoint}
        boto3.DEFAULT_SESSION = before
        settings.cache_clear()
        aws.reset()


@cache
def _state() -> Any:
    import tempfile

    return Path(tempfile.mkdtemp(prefix="second-opinion-"))


@pytest.fixture(scope="session")
def emulator() -> Iterator[str]:
    """Yield the address of the emulator."""
    if given := os.environ.get("SECOND_OPINION"):
        yield given
        return
    state = _state()
    try:
        with running(state) as endpoint:
            yield endpoint
    finally:
        _remove(state)
