"""The parts of the local system: started once, ended exactly, never confused with what belongs to others."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from localstack.environ import LocalError, Port
from localstack.processes import Part, Processes, minimal_environment
from tests.stack_fixture import free_ports

SLEEPER = "import time; time.sleep(600)"
# A parent whose child ignores the parent's death, as an environment in the middle of a run does.
PARENT = f"""
import subprocess, sys, time, pathlib
child = subprocess.Popen([sys.executable, "-c", {SLEEPER!r}])
pathlib.Path(sys.argv[1]).write_text(str(child.pid))
time.sleep(600)
"""


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    made = Processes(tmp_path / "state")
    yield made
    made.stop(["part"])


def part(
    code: str = SLEEPER, *arguments: str, ready: Callable[[], bool] = lambda: True, port: Port | None = None
) -> Part:
    return Part("part", [sys.executable, "-c", code, *arguments], minimal_environment(), port, ready, start_seconds=60)


def pid_of(processes: Processes) -> int:
    process = processes.running("part")
    assert process is not None
    return process.pid


def until(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.02)


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_part_is_started_once_and_ended(processes: Processes) -> None:
    assert processes.start(part())
    pid = pid_of(processes)
    assert not processes.start(part())
    assert pid_of(processes) == pid
    assert processes.stop(["part"]) == ["part"]
    assert gone(pid)
    assert processes.stop(["part"]) == []


def test_another_command_ends_what_this_one_started(processes: Processes, tmp_path: Path) -> None:
    processes.start(part())
    pid = pid_of(processes)
    assert Processes(tmp_path / "state").stop(["part"]) == ["part"]
    until(lambda: gone(pid))


def test_a_taken_port_is_named_with_its_variable(processes: Processes, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        monkeypatch.setenv("PART_PORT", str(number))
        with pytest.raises(LocalError, match=rf"port {number} for part is taken .* PART_PORT="):
            processes.start(part(port=Port("PART_PORT", 1)))
    assert processes.running("part") is None


def test_a_part_that_dies_shows_the_end_of_its_log(processes: Processes) -> None:
    with pytest.raises(LocalError, match=r"ended with code 3\n.*part\.log\nno such luck"):
        processes.start(part("import sys; print('no such luck', flush=True); sys.exit(3)", ready=lambda: False))


def test_a_part_that_never_answers_is_ended(processes: Processes) -> None:
    silent = Part("part", [sys.executable, "-c", SLEEPER], minimal_environment(), None, lambda: False, 0.5)
    with pytest.raises(LocalError, match="did not answer"):
        processes.start(silent)
    assert processes.running("part") is None


def test_a_pid_that_belongs_to_another_process_now_is_left_alone(processes: Processes, tmp_path: Path) -> None:
    foreign = subprocess.Popen([sys.executable, "-c", SLEEPER])
    try:
        note = tmp_path / "state" / "pids" / "part.json"
        note.parent.mkdir(parents=True)
        started = psutil.Process(foreign.pid).create_time() - 60
        note.write_text(json.dumps({"mark": "part-of-long-ago", "pid": foreign.pid, "started": started}))
        assert processes.running("part") is None
        assert processes.stop(["part"]) == []
        assert foreign.poll() is None
    finally:
        foreign.kill()
        foreign.wait()


def test_orphans_of_a_part_that_was_killed_are_ended(processes: Processes, tmp_path: Path) -> None:
    child_note = tmp_path / "child"
    processes.start(part(PARENT, str(child_note), ready=lambda: child_note.exists() and child_note.read_text() != ""))
    pid, child = pid_of(processes), int(child_note.read_text())
    os.kill(pid, 9)
    until(lambda: gone(pid))
    assert not gone(child)
    assert Processes(tmp_path / "state").stop(["part"]) == ["part"]
    until(lambda: gone(child))


def test_a_part_that_was_killed_is_started_again(processes: Processes) -> None:
    processes.start(part())
    pid = pid_of(processes)
    os.kill(pid, 9)
    until(lambda: processes.running("part") is None)
    assert processes.start(part())
    assert pid_of(processes) != pid


def test_damaged_notes_are_no_process(processes: Processes, tmp_path: Path) -> None:
    pids = tmp_path / "state" / "pids"
    pids.mkdir(parents=True)
    for text in ("", "{", "[]", "{}", '{"pid": "x", "started": 1}'):
        (pids / "part.json").write_text(text)
        assert processes.running("part") is None
        assert processes.stop(["part"]) == []


def test_parts_do_not_see_the_developers_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "PYTHONPATH", "OPENAI_API_KEY", "VIRTUAL_ENV"):
        monkeypatch.setenv(name, "leaked")
    assert "leaked" not in minimal_environment().values()


def test_free_ports_are_not_called_taken(processes: Processes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PART_PORT", str(free_ports(1)[0]))
    assert processes.start(part(port=Port("PART_PORT", 1)))
