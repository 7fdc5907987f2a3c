"""What is logged on AWS, where Lambda's own handler stands at the root logger, at the function's level."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import httpx2
import pytest

from shared.logs import LIBRARIES, get_logger


@pytest.fixture(params=[logging.INFO, logging.DEBUG])
def lambdas_log(request: pytest.FixtureRequest) -> Iterator[io.StringIO]:
    root, sluice = logging.getLogger(), logging.getLogger("sluice")
    found, kept, before = io.StringIO(), sluice.handlers[:], root.level
    handler = logging.StreamHandler(found)
    root.addHandler(handler)
    root.setLevel(request.param)
    levels = {name: logging.getLogger(name).level for name in LIBRARIES}
    for name in LIBRARIES:
        logging.getLogger(name).setLevel(logging.NOTSET)
    yield found
    root.removeHandler(handler)
    root.setLevel(before)
    sluice.handlers[:] = kept
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def test_no_address_of_a_webhook_or_a_page_is_logged(lambdas_log: io.StringIO) -> None:
    transport = httpx2.MockTransport(lambda _: httpx2.Response(200))
    httpx2.Client(transport=transport).post("https://hooks.example/T0/secret-token")
    assert "secret-token" in lambdas_log.getvalue()  # so it would be
    lambdas_log.truncate(0)
    logging.getLogger("sluice").handlers.clear()  # as in a new environment
    get_logger("webhook")
    httpx2.Client(transport=transport).post("https://hooks.example/T0/secret-token")
    assert "secret-token" not in lambdas_log.getvalue()
