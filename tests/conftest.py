"""Fixtures for all tests, and their order: the stack's first, together, since they mostly wait."""

import pytest

pytest_plugins = ["tests.unit.aws_fixture", "tests.unit.valkey_fixture", "tests.stack_fixture"]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep all tests of the deployed system in one process, which starts it once."""
    deployed = [item for item in items if item.path.parent.name in ("stack", "e2e")]
    for item in deployed:
        item.add_marker(pytest.mark.xdist_group("stack"))
    others = [item for item in items if item not in set(deployed)]
    items[:] = deployed + others
