"""A test that hangs fails, says where, and lets the others run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from localstack.environ import ROOT

HANGS = """
import asyncio, pytest, threading
def test_waits_for_an_event(): threading.Event().wait()
def test_waits_in_a_loop():
    async def for_ever():
        while True:
            await asyncio.sleep(0.001)
    asyncio.run(for_ever())
def test_waits_for_a_thread():
    over = threading.Event()
    thread = threading.Thread(target=over.wait, name='the one that hangs', daemon=True)
    thread.start(); thread.join()
@pytest.fixture
def hanging():
    yield
    threading.Event().wait()
def test_ends_with_something_that_hangs(hanging): pass
def test_goes_on(): assert 1 == 1
"""


@pytest.mark.parametrize("more", [[], ["-p", "tests.copies", "--copies", "2"]], ids=["alone", "in copies"])
def test_what_does_not_end_fails_and_says_where(tmp_path: Path, more: list[str]) -> None:
    (tmp_path / "test_hangs.py").write_text(HANGS)
    command = [sys.executable, "-m", "pytest", "-p", "tests.limited", "--limit", "1", "-p", "no:cacheprovider", *more]
    path = {"PYTHONPATH": str(ROOT), "PATH": "", "HOME": str(tmp_path), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run([*command, "."], cwd=tmp_path, env=path, capture_output=True, text=True, check=False)
    assert "3 failed, 2 passed, 1 error" in done.stdout, done.stdout + done.stderr
    assert done.stdout.count("it has not ended after 1 s\n") >= 4
    assert "the one that hangs:" in done.stdout
    assert "in test_waits_for_an_event" in done.stdout
