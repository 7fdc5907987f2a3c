"""Fixture: the model simulator as a process on a free port, begun once for all tests that work with it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sluice.testing import bound

ROOT = Path(__file__).resolve().parents[2]


def launch(*arguments: str) -> tuple[subprocess.Popen[str], str]:
    """Start a simulator, which `bound.end` ends; returns its process and its address."""
    process = bound.begin(
        [sys.executable, "-m", "localstack.llm", "--port", "0", *arguments], cwd=ROOT, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert "http://" in line, "the simulator did not start"
    return process, line.split()[-1]


@pytest.fixture(scope="session")
def simulator() -> Iterator[str]:
    """Address of a simulator that answers at once."""
    process, url = launch("--latency", "0")
    yield url
    bound.end(process)
