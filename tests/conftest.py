"""Fixtures for all tests."""

import gc

import pytest

pytest_plugins = ["tests.unit.aws_fixture", "tests.unit.valkey_fixture", "tests.stack_fixture"]


def pytest_collection_finish(session: pytest.Session) -> None:
    """Let the collector pass over what collecting made, which stays to the end: a tenth of the unit tests' time."""
    gc.collect()
    gc.freeze()
