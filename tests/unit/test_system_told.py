"""What is shown of a system's log where a test fails."""

from types import SimpleNamespace

import pytest

from tests.system_told import MOST_CHARACTERS, MOST_LINES, loud


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ('{"timestamp":"t","level":"WARNING","message":"lane not asked"}', True),
        ('{"timestamp": "t", "level": "ERROR", "message": "run given up"}', True),
        ('{"timestamp":"t","level":"INFO","message":"WARNING"}', False),
        ("2026-11-30 13:00:00,000 WARNING ESM: Lambda f failed processing SQS batch", True),
        ("2026-11-30 13:00:00,000 INFO ESM: Lambda f processed 1 SQS messages", False),
        ("Traceback (most recent call last):", True),
        ("RuntimeError: Worker process exited immediately", True),
    ],
)
def test_what_should_not_be_is_shown(line: str, shown: bool) -> None:
    assert loud([line]) == [line] * shown


def test_of_much_the_end_is_shown() -> None:
    lines = [f"{n} WARNING {'x' * MOST_CHARACTERS}" for n in range(MOST_LINES + 1)]
    assert len(loud(lines[1:])) == MOST_LINES
    first, *rest = loud(lines)
    assert first == "... and 1 before"
    assert [line[:2].strip() for line in rest] == [str(n) for n in range(1, MOST_LINES + 1)]
    assert {len(line) for line in rest} == {MOST_CHARACTERS}


@pytest.fixture
def stack() -> SimpleNamespace:
    """Something else of the name of the deployed system's fixture."""
    return SimpleNamespace(outputs=[])


def test_what_is_called_like_the_system_and_is_none_is_left_alone(stack: SimpleNamespace) -> None:
    assert stack.outputs == []  # noting the length of its logs would have failed
