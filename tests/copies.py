"""Runs test files side by side, in copies of the process that collected them: `-p tests.copies --copies 3`.

pytest-xdist has each of its processes import and collect all tests anew, and a further one to lead them: a tenth of the
unit tests' processor time. A copy has them already, with every file that was read and every model that was built while
they were collected. Whichever copy is free takes the next few tests of a file; those of a file with a fixture of its
own (``scope="module"``) all run in one copy. Tests that are marked ``together(NAME)`` do so, too, whatever file they
stand in: they share a server that takes seconds to start, or what only one of them at a time may change. Those that are
marked ``alone`` run at the end, one after the other, in the last copy that is left: a browser of their own would cost
more than they do.

What is made before the copies are, all of them have: `tests.stack_fixture` so has them use one system.
"""

from __future__ import annotations

import json
import mmap
import os
import selectors
import sys
import tempfile
import time
import traceback
from itertools import count, islice
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import pytest
from _pytest.capture import FDCapture

Files = list[list[pytest.Item]]
INDEX = 2
"""Bytes that a number takes in the pipe of what is left to do."""
PAUSE = 0.05
"""Seconds between looks at what the copies tell: to wake up for each word of theirs took a hundredth of the run."""
AT_ONCE = 16
"""Most tests of a file that a copy takes at once: a file of many seconds, begun last, would keep the others waiting."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take how many copies there are to be."""
    parser.addoption("--copies", type=int, default=1, help="processes that run the tests, copies of this one")


def pytest_configure(config: pytest.Config) -> None:
    """Know the marks."""
    config.addinivalue_line("markers", "together(name): run in one copy with the others of this name")
    config.addinivalue_line("markers", "alone: run when nothing else does")


def _shares(session: pytest.Session, item: pytest.Item) -> bool:
    """Whether a test uses what is made once for its file, or its class."""
    fixtures: Any = session._fixturemanager
    found = (fixtures.getfixturedefs(name, item) for name in getattr(item, "fixturenames", ()))
    return any(one.scope in ("module", "class", "package") for defs in found for one in defs or ())


def _pieces(session: pytest.Session, items: list[pytest.Item]) -> Files:
    """Cut a file's tests into what one copy takes at a time."""
    if any(_shares(session, item) for item in items):
        return [items]
    return [items[n : n + AT_ONCE] for n in range(0, len(items), AT_ONCE)]


def _apart(session: pytest.Session) -> Files:
    """Return what one copy takes at a time: first what is marked, then pieces of files."""
    marked: dict[Any, list[pytest.Item]] = {}
    files: dict[Any, list[pytest.Item]] = {}
    for item in session.items:
        if item.get_closest_marker("alone"):
            continue
        together = item.get_closest_marker("together")
        into, name = (files, item.path) if together is None else (marked, together.args[0])
        into.setdefault(name, []).append(item)
    return [*marked.values(), *(piece for file in files.values() for piece in _pieces(session, file))]


def has_copies(session: pytest.Session) -> bool:
    """Whether copies run this session's tests."""
    config = session.config
    return bool(config.getoption("copies", 1) > 1 and not config.option.collectonly and not session.testsfailed)


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """Have copies run the tests, and tell of them here as if they ran here."""
    if not has_copies(session):
        return None
    stop = mmap.mmap(-1, 1)
    numbers = count()
    alone = [item for item in session.items if item.get_closest_marker("alone")]
    seen = _run(session, _apart(session), alone, list(islice(numbers, session.config.getoption("copies"))), stop)
    if not stop[0] and (left := [item for item in alone if item.nodeid not in seen]):  # a copy died: none was the last
        seen |= _run(session, [left], [], [next(numbers)], stop)
    if session.shouldfail:
        raise session.Failed(session.shouldfail)
    if session.shouldstop:
        raise session.Interrupted(session.shouldstop)
    # A copy that died had taken some.
    for name in sorted({item.nodeid for item in session.items} - seen):
        session.config.hook.pytest_runtest_logreport(report=failed(name, "nobody ran this test"))
    return True


def _run(
    session: pytest.Session, files: Files, alone: list[pytest.Item], numbers: list[int], stop: mmap.mmap
) -> set[str]:
    """Have copies of these numbers run files, and the last of them what runs alone.

    Returns the names of the tests that had an outcome.
    """
    left = _filled(b"".join(n.to_bytes(INDEX) for n in range(len(files))))
    ends = _filled(bytes(len(numbers) - 1))  # who finds nothing more to do takes one, and ends; who finds none is last
    others, tell = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    readers = selectors.DefaultSelector()
    for n in numbers:
        reads, writes = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reads)
            _be(_Copy(session, n, writes, stop), files, left, _Last(alone, ends, others))
        os.close(writes)
        readers.register(reads, selectors.EVENT_READ, _Told(pid))
    seen = _listen(session, readers, stop, tell)
    for pipe in (left, ends, others, tell):
        os.close(pipe)
    return seen


def _filled(content: bytes) -> int:
    """Return a pipe that holds something, and no more."""
    reads, writes = os.pipe()
    os.write(writes, content)
    os.close(writes)
    return reads


class _Last(NamedTuple):
    """What the last copy runs, where it learns that it is the last, and that the others have ended."""

    items: list[pytest.Item]
    ends: int
    others: int

    def mine(self) -> bool:
        """Whether this copy is to run them; returns when it may."""
        return bool(self.items) and not os.read(self.ends, 1) and bool(os.read(self.others, 1))


class _Told:
    """What a copy said so far."""

    def __init__(self, pid: int) -> None:
        self.pid, self.rest, self.running = pid, b"", ""


def _listen(session: pytest.Session, readers: selectors.BaseSelector, stop: mmap.mmap, tell: int) -> set[str]:
    """Pass on what the copies tell until the last has ended; returns the names of the tests that had an outcome.

    It is told when it is the last, through a pipe.
    """
    hook, config = session.config.hook, session.config
    seen: set[str] = set()
    while left := len(readers.get_map()):
        if left == 1 and tell >= 0:
            os.write(tell, b"!")
            tell = -1
        time.sleep(PAUSE)
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
                    report = failed(name, f"the process of this test ended with {code}")
                    hook.pytest_runtest_logreport(report=report)
            if session.shouldfail or session.shouldstop:
                stop[0] = 1
    return seen


def failed(name: str, why: str) -> pytest.TestReport:
    """Tell of a test that could not tell itself."""
    return pytest.TestReport(name, (name, None, name), {}, "failed", why, "call")


class _Copy:
    """A copy: it tells of its tests through a pipe, and of nothing on the terminal."""

    def __init__(self, session: pytest.Session, number: int, pipe: int, stop: mmap.mmap) -> None:
        self.session, self.config, self.number, self.stop = session, session.config, number, stop
        self.pipe = os.fdopen(pipe, "w", 1 << 20)
        self.shows_passed = bool({*"pPA"} & {*self.config.option.reportchars})

    def say(self, what: Any) -> None:
        self.pipe.write(json.dumps(what, default=str) + "\n")

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Tell what runs now, should it be the last, and with it what became of the test before."""
        self.say(nodeid)
        self.pipe.flush()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.passed and not self.shows_passed:
            report.sections = []  # as many bytes again as all the rest, and nobody reads them
        self.say(self.config.hook.pytest_report_to_serializable(config=self.config, report=report))
        if report.failed:
            self.pipe.flush()

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

    def run(self, files: Files, left: int, last: _Last) -> None:
        """Run pieces of files as long as there are any, and then, if no other copy is left, what runs alone."""
        while (index := os.read(left, INDEX)) and not self.stop[0]:
            self.run_piece(files[int.from_bytes(index)])
        if last.mine():
            self.run_piece(last.items)
        self.pipe.flush()
        self.session._setupstate.teardown_exact(None)

    def run_piece(self, items: list[pytest.Item]) -> None:
        """Run tests one after the other."""
        # After the last only what the whole session has stays: the next piece, of whatever file, is not taken yet.
        for item, following in zip(items, [*items[1:], self.session], strict=True):
            if not self.stop[0]:
                self.config.hook.pytest_runtest_protocol(item=item, nextitem=following)


def _be(copy: _Copy, files: Files, left: int, last: _Last) -> NoReturn:
    """Live as a copy, to its end."""
    code = 1
    try:
        copy.settle_in()
        copy.run(files, left, last)
        copy.config._ensure_unconfigure()  # what was left behind, unclosed, is an error here, too
        code = 0
    except BaseException:
        traceback.print_exc(file=sys.__stderr__)
    finally:
        for stream in (copy.pipe, sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)
