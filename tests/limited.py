"""Fails a test that does not end, and shows where its threads stand: it would hold up all others, and say nothing.

It is no measure of how quick a test has to be: a hundred times as long as most take, on a machine that stalls.
"""

from __future__ import annotations

import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import pytest

LIMIT_SECONDS = 1800
"""How long a test may take; as long may take what is begun for it, and what is ended."""
AGAIN_SECONDS = 5
"""How soon it is told so again: a loop of asyncio takes what is raised in its callbacks for its own affair."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take another limit."""
    parser.addoption("--limit", type=float, default=LIMIT_SECONDS, help="seconds that a test may take")


def standing() -> str:
    """Return where all threads stand."""
    names = {one.ident: one.name for one in threading.enumerate()}
    found = sys._current_frames().items()
    return "\n".join(f"{names.get(n, n)}:\n{''.join(traceback.format_stack(frame))}" for n, frame in found)


@contextmanager
def _limited(item: pytest.Item) -> Iterator[None]:
    limit: float = item.config.getoption("--limit")

    def too_long(_number: int, _frame: FrameType | None) -> None:
        pytest.fail(f"it has not ended after {limit:g} s\n{standing()}", pytrace=False)

    before = signal.signal(signal.SIGALRM, too_long)
    signal.setitimer(signal.ITIMER_REAL, limit, AGAIN_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    """Limit what is begun for a test."""
    with _limited(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Limit a test."""
    with _limited(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """Limit what is ended after a test."""
    with _limited(item):
        return (yield)
