"""Servers that tests start are gone when the tests are, however these end."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from localstack.environ import ROOT

BEGINS = """
import sys, time
from tests.unit.simulator_fixture import launch
from tests.unit.valkey_fixture import start_server
print(start_server().process.pid, start_server(cluster=True).process.pid, launch()[0].pid, flush=True)
time.sleep(600)
"""
GONE_SECONDS = 30


@pytest.fixture
def tests() -> Iterator[tuple[subprocess.Popen[str], list[psutil.Process]]]:
    """A process that stands for tests, and the servers that it began."""
    with subprocess.Popen([sys.executable, "-c", BEGINS], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        begun = [psutil.Process(int(pid)) for pid in process.stdout.readline().split()]
        yield process, begun
        for one in begun:
            if one.is_running():
                one.kill()


def test_none_is_left_when_its_tests_are_killed(tests: tuple[subprocess.Popen[str], list[psutil.Process]]) -> None:
    process, begun = tests
    assert [Path(one.exe()).name for one in begun[:2]] == ["valkey-server"] * 2
    assert len(begun) == 3
    process.kill()
    _, left = psutil.wait_procs(begun, timeout=GONE_SECONDS)
    assert left == []
