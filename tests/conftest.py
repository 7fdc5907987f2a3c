"""Fixtures for all tests."""

pytest_plugins = ["tests.unit.aws_fixture", "tests.unit.valkey_fixture", "tests.stack_fixture"]
