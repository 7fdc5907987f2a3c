"""Runs test files side by side, in copies of the process that collected them: `-p tests.copies --copies 3`.

pytest-xdist has each of its processes import and collect all tests anew, and a further one to lead them: a tenth of the
unit tests' processor time. A copy has them already, with every file that was read and every model that was built while
they were collected. A file runs whole in one copy; whichever copy is free takes the next file. Tests that are marked
``together(NAME)`` run in one copy, too, whatever file they stand in: they share a server that takes seconds to start.
"""

from __future__ import annotations

import json
import mmap
import os
import selectors
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any, NoReturn

import pytest
from _pytest.capture import FDCapture

Files = list[list[pytest.Item]]
INDEX = 2
"""Bytes that a file's number takes in the pipe of what is left to do."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take how many copies there are to be."""
    parser.addoption("--copies", type=int, default=1, help="processes that run the tests, copies of this one")


def pytest_configure(config: pytest.Config) -> None:
    """Know the mark."""
    config.addinivalue_line("markers", "together(name): run in one copy with the others of this name")


def _apart(items: list[pytest.Item]) -> Files:
    """Return what one copy takes at a time: first what is marked, then each file's tests."""
    marked: dict[Any, list[pytest.Item]] = {}
    files: dict[Any, list[pytest.Item]] = {}
    for item in items:
        together = item.get_closest_marker("together")
        into, name = (files, item.path) if together is None else (marked, together.args[0])
        into.setdefault(name, []).append(item)
    return [*marked.values(), *files.values()]


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """Have copies run the tests, and tell of them here as if they ran here."""
    copies = session.config.getoption("copies")
    if copies < 2 or session.config.option.collectonly or session.testsfailed:
        return None
    files = _apart(session.items)
    left, todo = os.pipe()
    os.write(todo, b"".join(n.to_bytes(INDEX) for n in range(len(files))))
    os.close(todo)
    stop = mmap.mmap(-1, 1)
    sys.stdout.flush()
    sys.stderr.flush()
    readers = selectors.DefaultSelector()
    for n in range(copies):
        reads, writes = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reads)
            _be(_Copy(session, n, writes, stop), files, left)
        os.close(writes)
        readers.register(reads, selectors.EVENT_READ, _Told(pid))
    seen = _listen(session, readers, stop)
    os.close(left)
    if session.shouldfail:
        raise session.Failed(session.shouldfail)
    if session.shouldstop:
        raise session.Interrupted(session.shouldstop)
    # A copy that died had taken a file, or two.
    for name in sorted({item.nodeid for item in session.items} - seen):
        session.config.hook.pytest_runtest_logreport(report=_failed(name, "nobody ran this test"))
    return True


class _Told:
    """What a copy said so far."""

    def __init__(self, pid: int) -> None:
        self.pid, self.rest, self.running = pid, b"", ""


def _listen(session: pytest.Session, readers: selectors.BaseSelector, stop: mmap.mmap) -> set[str]:
    """Pass on what the copies tell until the last has ended; returns the names of the tests that had an outcome."""
    hook, config = session.config.hook, session.config
    seen: set[str] = set()
    while readers.get_map():
        for key, _ in readers.select():
            told: _Told = key.data
            came = os.read(key.fd, 1 << 20)
            *lines, told.rest = (told.rest + came).split(b"\n")
            for line in lines:
                said = json.loads(line)
                if isinstance(said, str):
                    told.running = said
                    continue
                report = hook.pytest_report_from_serializable(config=config, data=said)
                hook.pytest_runtest_logreport(report=report)
                if report.when == "teardown":
                    told.running = ""
                    seen.add(report.nodeid)
                    hook.pytest_runtest_logfinish(nodeid=report.nodeid, location=report.location)
            if not came:
                readers.unregister(key.fd)
                os.close(key.fd)
                _, status = os.waitpid(told.pid, 0)
                if status or told.running:
                    seen.add(told.running)
                    code = os.waitstatus_to_exitcode(status)
                    name = told.running or "a copy, between its tests"
                    report = _failed(name, f"the process of this test ended with {code}")
                    hook.pytest_runtest_logreport(report=report)
            if session.shouldfail or session.shouldstop:
                stop[0] = 1
    return seen


def _failed(name: str, why: str) -> pytest.TestReport:
    """Tell of a test that could not tell itself."""
    return pytest.TestReport(name, (name, None, name), {}, "failed", why, "call")


class _Copy:
    """A copy: it tells of its tests through a pipe, and of nothing on the terminal."""

    def __init__(self, session: pytest.Session, number: int, pipe: int, stop: mmap.mmap) -> None:
        self.session, self.config, self.number, self.stop = session, session.config, number, stop
        self.pipe = os.fdopen(pipe, "w")

    def say(self, what: Any) -> None:
        self.pipe.write(json.dumps(what, default=str) + "\n")
        self.pipe.flush()

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.say(nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.say(self.config.hook.pytest_report_to_serializable(config=self.config, report=report))

    def settle_in(self) -> None:
        """Have a terminal, captured output and temporary folders of its own."""
        plugins = self.config.pluginmanager
        self.config.get_terminal_writer()._file = Path(os.devnull).open("w")  # noqa: SIM115
        capturing: Any = plugins.getplugin("capturemanager")
        for stream in (capturing._global_capturing.out, capturing._global_capturing.err):
            if isinstance(stream, FDCapture):
                # Another file in its place: handlers of logs, made while tests were collected, hold on to the stream.
                with tempfile.TemporaryFile() as own:
                    os.dup2(own.fileno(), stream.tmpfile.fileno(), inheritable=False)
        folders: Any = self.config._tmp_path_factory  # type: ignore[attr-defined]
        folder = folders.getbasetemp() / f"copy{self.number}"
        folder.mkdir()
        folders._basetemp = folder
        plugins.register(self, "copy")

    def run(self, files: Files, left: int) -> None:
        """Run files as long as there are any."""
        waiting = (item for index in iter(lambda: os.read(left, INDEX), b"") for item in files[int.from_bytes(index)])
        item = next(waiting, None)
        while item is not None and not self.stop[0]:
            following = next(waiting, None)
            self.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            item = following
        self.session._setupstate.teardown_exact(None)


def _be(copy: _Copy, files: Files, left: int) -> NoReturn:
    """Live as a copy, to its end."""
    code = 1
    try:
        copy.settle_in()
        copy.run(files, left)
        copy.config._ensure_unconfigure()  # what was left behind, unclosed, is an error here, too
        code = 0
    except BaseException:
        traceback.print_exc(file=sys.__stderr__)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
