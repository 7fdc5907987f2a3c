"""Which event loop a worker runs on."""

from __future__ import annotations

import asyncio
import sys

import pytest

from functions.worker import handler
from functions.worker.environment import loop


def test_a_worker_runs_on_libuvs_loop() -> None:
    made = handler._runner.get_loop()
    assert type(made).__module__.startswith("uvloop")


def test_without_it_a_worker_runs_on_asyncios(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    made = loop.new()
    assert isinstance(made, asyncio.BaseEventLoop)
    made.close()
