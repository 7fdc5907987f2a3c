"""What is logged, as it would be written."""

import io
import logging
from collections.abc import Iterator

import pytest

from shared.logs import JsonFormatter, get_logger


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """Collect the log's text. (The logger's own handler may hold the standard output of an earlier test.)"""
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    handler.setFormatter(JsonFormatter())
    root = get_logger("x").parent
    assert root is not None
    root.addHandler(handler)
    yield text
    root.removeHandler(handler)
