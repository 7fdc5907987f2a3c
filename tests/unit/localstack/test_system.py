"""A system goes on with the ports it runs on: at any other port may be somebody else's."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from localstack.environ import AWS_PORT, LocalError
from localstack.processes import Part, minimal_environment, taken
from localstack.system import System
from tests.stack_fixture import free_ports


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[System, int]]:
    """A system of which one part runs, on a port of its own."""
    port, streaming = free_ports(2)
    monkeypatch.setenv("AWS_PORT", str(port))
    monkeypatch.setenv("STREAM_PORT", str(streaming))
    system = System(tmp_path / "state")
    sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]
    system.processes.start(Part("aws", sleeper, minimal_environment(), AWS_PORT, lambda: True))
    yield system, port
    system._free_held()
    system.processes.stop(["aws"])


def test_a_later_command_needs_no_port(running: tuple[System, int], monkeypatch: pytest.MonkeyPatch) -> None:
    system, port = running
    monkeypatch.delenv("AWS_PORT")
    system._keep_ports()
    assert os.environ["AWS_PORT"] == str(port)


def test_another_port_is_refused_before_anything_is_done(
    running: tuple[System, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    system, port = running
    monkeypatch.setenv("AWS_PORT", str(free_ports(1)[0]))
    with pytest.raises(LocalError, match=rf"runs on port {port}: `make down` first"):
        system.up({})
    assert system.processes.running("aws") is not None


def test_what_does_not_run_keeps_no_port(running: tuple[System, int], monkeypatch: pytest.MonkeyPatch) -> None:
    system, _ = running
    system.processes.stop(["aws"])
    monkeypatch.delenv("AWS_PORT")
    system._keep_ports()
    assert "AWS_PORT" not in os.environ


def test_down_without_a_system_makes_nothing(tmp_path: Path) -> None:
    assert System(tmp_path / "none").down() == []
    assert not (tmp_path / "none").exists()


def test_the_streaming_port_is_kept_for_this_system_from_the_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is needed last, and another system that starts meanwhile would find it free, and take it."""
    (port,) = free_ports(1)
    monkeypatch.setenv("STREAM_PORT", str(port))
    first, second = System(tmp_path / "first"), System(tmp_path / "second")
    first._keep_ports()
    assert taken(port)
    with pytest.raises(LocalError, match=rf"port {port} for streaming is taken .* STREAM_PORT="):
        second._keep_ports()
    first._free_held()
    assert not taken(port)


def test_a_start_that_fails_gives_the_port_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (port,) = free_ports(1)
    monkeypatch.setenv("STREAM_PORT", str(port))
    with pytest.raises(LocalError, match="NoSuchParameter"):
        System(tmp_path / "state").up({"NoSuchParameter": "1"}, say=lambda _: None)
    assert not taken(port)
