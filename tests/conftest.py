"""Fixtures for all tests."""

import gc
from functools import cache

import httpcore2
import pytest

pytest_plugins = ["tests.unit.aws_fixture", "tests.unit.valkey_fixture", "tests.stack_fixture"]

# Every client of httpx2 and of openai would read the certificate authorities again: 30 ms each, hundreds of times.
httpcore2.default_ssl_context = cache(httpcore2.default_ssl_context)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Let the collector pass over what collecting made, which stays to the end: a tenth of the unit tests' time."""
    gc.collect()
    gc.freeze()
