"""Fixtures for all tests, and their order: the stack's first, together, since they mostly wait."""

import pytest

pytest_plugins = ["tests.unit.aws_fixture", "tests.unit.valkey_fixture", "tests.stack_fixture"]


def needs_system(item: pytest.Item) -> bool:
    """Tell whether a test is one of the deployed system's."""
    return item.path.parent.name in ("stack", "e2e")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Keep all tests of the deployed system in one process, which starts it once.

    Marked as soon as it is collected: xdist reads the groups before other hooks may change them.
    """
    if needs_system(item):
        item.add_marker(pytest.mark.xdist_group("stack"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with the tests that mostly wait."""
    items.sort(key=lambda item: not needs_system(item))
