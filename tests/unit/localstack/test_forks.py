"""Environments that are copies of a process: as good as any, and never in the way of one that starts as ever."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from localstack.strict import forks

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="there are copies on Linux only")

SCRIPT = """
import importlib, json, os, sys
def run():
    out, sys.stdout = sys.stdout, sys.stderr
    init = json.loads(sys.stdin.readline())
    sys.path.insert(0, init["code_dir"])
    try:
        handler = importlib.import_module("function").handler
    except Exception as error:
        out.write(json.dumps({"status": "error", "error": str(error)}) + "\\n"); out.flush()
        return
    out.write(json.dumps({"status": "ready"}) + "\\n"); out.flush()
    for line in sys.stdin:
        out.write(json.dumps({"status": "ok", "result": handler(json.loads(line))}) + "\\n"); out.flush()
run()
"""
"""What MiniStack's script of an environment does."""
PACKAGE = """
import os
made_in, read = os.getpid(), os.environ.get("PACKAGE_SETTING")
"""
FUNCTION = """
import logging, os, random, sys
import own_settings, package
def handler(event):
    return eval(event)
"""


class World:
    """A function with a package, and an emulator that starts environments of it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tempfile, "tempdir", str(folder))
        self.folder, self.code, self.number = folder, folder / "bundle", 0
        self.write("package", PACKAGE)
        self.write("own_settings", 'import os\nmade_in, read = os.getpid(), os.environ["OWN"]\n')
        self.write("function", FUNCTION)
        (self.code / "package-1.dist-info").mkdir()
        (self.code / "package-1.dist-info" / "RECORD").write_text("package.py,,\npackage-1.dist-info/RECORD,,\n")
        self.runtime = types.SimpleNamespace(subprocess=subprocess)
        self.forks = forks.fork(self.runtime)
        self.started: list[Any] = []

    def write(self, module: str, text: str) -> None:
        self.code.mkdir(exist_ok=True)
        (self.code / f"{module}.py").write_text(text)

    def begin(self, **variables: str) -> Any:
        """Start an environment."""
        self.number += 1
        home = self.folder / f"ministack-lambda-shop-{self.number}"
        home.mkdir()
        (home / "_worker.py").write_text(SCRIPT)
        (home / "code").symlink_to(self.code)
        environment = {"PATH": os.environ["PATH"], "OWN": "1", "WORLD": str(self.folder), **variables}
        environment |= {"AWS_LAMBDA_FUNCTION_NAME": "shop", "AWS_LAMBDA_LOG_STREAM_NAME": str(self.number)}
        pipe = subprocess.PIPE
        process = self.runtime.subprocess.Popen(
            [sys.executable, str(home / "_worker.py")], cwd=str(home / "code"), stdin=pipe, stdout=pipe, stderr=pipe,
            text=True, bufsize=1, env=environment,
        )  # fmt: skip
        process.stdin.write(json.dumps({"code_dir": str(home / "code")}) + "\n")
        process.stdin.flush()
        self.started.append(process)
        return process

    def start(self, **variables: str) -> Any:
        """Start one that gets ready, and works on an event: what it imported is noted by then."""
        process = self.begin(**variables)
        assert '"ready"' in (line := process.stdout.readline()), line + process.stderr.read()
        assert ask(process, "6 * 7") == 42
        return process

    def makers(self) -> list[psutil.Process]:
        """Return the processes that make copies, by when they were started."""
        mine = []
        for one in psutil.Process().children():
            with contextlib.suppress(psutil.Error):  # another test's, and gone
                if "serve" in one.cmdline() and one.environ().get("WORLD") == str(self.folder):
                    mine.append(one)
        return sorted(mine, key=lambda one: one.create_time())

    def end(self) -> None:
        if self.forks:
            self.forks.close()
        for process in self.started:
            process.kill()
            process.wait()
            for file in (process.stdin, process.stdout, process.stderr):
                with contextlib.suppress(BrokenPipeError):
                    file.close()


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    made = World(tmp_path, monkeypatch)
    yield made
    made.end()


def ask(process: Any, expression: str) -> Any:
    """Have an environment say what an expression is in its function."""
    process.stdin.write(json.dumps(expression) + "\n")
    process.stdin.flush()
    return json.loads(process.stdout.readline())["result"]


def test_the_second_is_a_copy_that_finds_its_packages_imported_and_its_own_modules_not(world: World) -> None:
    first, second, third = (world.start() for _ in range(3))
    maker = ask(second, "package.made_in")
    assert ask(first, "package.made_in == own_settings.made_in == os.getpid()")
    assert maker == ask(third, "package.made_in") == world.makers()[0].pid
    assert [ask(one, "own_settings.made_in") for one in (second, third)] == [second.pid, third.pid]


def test_what_the_first_event_imports_is_imported_too(world: World) -> None:
    first = world.begin()
    first.stdout.readline()
    ask(first, "__import__('fractions').__name__")
    assert ask(first, "1") == 1  # it has asked for another event: what it imported is noted
    assert ask(world.start(), "'fractions' in sys.modules")


def test_a_module_that_is_said_not_to_be_there_stays_away(world: World) -> None:
    world.write("own_settings", "import sys\nmade_in = sys.modules.setdefault('package.v1', None)\n")
    world.start()
    assert ask(world.start(), "sys.modules['package.v1'] is None and package.made_in != os.getpid()")


def test_each_has_its_own_variables_folder_and_arguments(world: World) -> None:
    world.start()
    second, third = world.start(), world.start()
    for number, one in ((2, second), (3, third)):
        home = world.folder / f"ministack-lambda-shop-{number}"
        assert ask(one, "os.environ['AWS_LAMBDA_LOG_STREAM_NAME']") == str(number)
        assert ask(one, "os.popen('echo $AWS_LAMBDA_LOG_STREAM_NAME').read()") == f"{number}\n"
        assert ask(one, "sorted(os.environ)") == ask(world.started[0], "sorted(os.environ)")
        assert ask(one, "sys.argv") == [str(home / "_worker.py")]
        assert ask(one, "sys.path[:2]") == [str(home / "code"), str(home)]
        assert ask(one, "os.getcwd()") == str(world.code)
        assert ask(one, "sys.modules['__main__'].__file__") == str(home / "_worker.py")
    assert ask(second, "sys.path[2:]") == ask(world.started[0], "sys.path[2:]")


def test_other_variables_make_other_environments(world: World) -> None:
    for _ in range(2):
        for value in ("a", "b"):
            one = world.start(PACKAGE_SETTING=value, OWN=value)
            assert ask(one, "package.read + own_settings.read") == value * 2
    assert len(world.makers()) == 2


def test_it_shares_no_open_file_no_chance_and_no_log_with_another(world: World) -> None:
    world.start()
    copies = [world.start() for _ in range(3)]
    for one in copies:
        files = ask(one, "{n: os.readlink('/proc/self/fd/' + n) for n in os.listdir('/proc/self/fd') if int(n) < 3}")
        assert len(set(files.values())) == 3
        assert all(value.startswith("pipe:") for value in files.values())
        assert ask(one, "len(os.listdir('/proc/self/fd'))") == 4  # and the one that lists them
        assert ask(one, "logging.root.handlers") == []
    assert len({ask(one, "random.random()") for one in copies}) == 3


def test_it_is_found_among_the_emulators_children_by_its_command_and_its_maker_is_not(world: World) -> None:
    world.start()
    second = world.start()
    (maker,) = world.makers()
    children = {one.pid: one for one in psutil.Process().children()}
    assert "ministack-lambda-shop-2/_worker.py" in " ".join(children[second.pid].cmdline())
    assert "ministack-lambda" not in " ".join(children[maker.pid].cmdline())
    assert "AWS_LAMBDA_FUNCTION_NAME" not in maker.environ()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGTERM, -15)])
def test_one_that_is_killed_is_known_to_have_ended_and_the_others_go_on(world: World, number: int, code: int) -> None:
    world.start()
    second, third = world.start(), world.start()
    os.kill(second.pid, number)
    assert second.stdout.readline() == ""
    assert second.wait(60) == second.poll() == second.returncode == code
    assert not psutil.pid_exists(second.pid)
    second.terminate()  # its number may be another's by now
    assert (third.poll(), ask(third, "1 + 1"), ask(world.start(), "2 + 2")) == (None, 2, 4)
    with pytest.raises(subprocess.TimeoutExpired):
        third.wait(0.01)


def test_one_ends_with_its_input(world: World) -> None:
    world.start()
    second = world.start()
    second.stdin.close()
    assert second.wait(60) == 0


def test_what_it_says_of_an_error_can_be_read(world: World) -> None:
    world.start()
    second = world.start()
    second.stdin.write('"1 / 0"\n')
    assert "ZeroDivisionError" in second.stderr.read()
    assert second.wait(60) == 1


def test_many_at_once(world: World) -> None:
    world.start()
    made: list[int] = []
    threads = [threading.Thread(target=lambda: made.append(ask(world.start(), "os.getpid()"))) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 12
    assert len(world.makers()) == 1


# ---- where there are none, environments start as ever


def starts_alone(one: Any) -> bool:
    """Whether an environment imported its packages itself."""
    return bool(ask(one, "package.made_in == os.getpid()"))


def test_after_its_maker_died(world: World) -> None:
    world.start()
    copy = world.start()
    (maker,) = world.makers()
    maker.kill()
    maker.wait(60)
    assert starts_alone(world.start())
    assert starts_alone(world.start())
    assert ask(copy, "1") == 1


@pytest.mark.parametrize(
    "at_import",
    [
        "import threading, time; threading.Thread(target=time.sleep, args=(60,), daemon=True).start()",
        "kept = open('/dev/null')",
        "import own_settings, shared",
        "import sys; assert 'serve' not in sys.orig_argv",
    ],
    ids=["a thread", "a file", "own modules", "an error"],
)
def test_a_package_that_cannot_be_shared(world: World, at_import: str) -> None:
    world.write("shared", "")
    world.write("package", f"{PACKAGE}\n{at_import}\n")
    assert all(starts_alone(world.start()) for _ in range(3))
    assert world.makers() == []


def test_one_that_ended_before_its_function_was_there_is_the_last_copy(world: World) -> None:
    world.write("own_settings", "import sys; assert 'serve' not in sys.orig_argv\nmade_in = 0\n")
    world.start()
    failed = world.begin()
    assert '"error"' in failed.stdout.readline()
    assert starts_alone(world.start())


def test_a_list_that_cannot_be_read(world: World) -> None:
    assert ask(world.start(), "1") == 1  # it notes nothing any more
    for noted in world.folder.glob("imports-*.json"):
        noted.write_text("[")
    assert starts_alone(world.start())


def test_makers_are_kept_for_few(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forks, "SERVERS", 2)
    for value in ("a", "b", "b", "a"):
        world.start(OWN=value)
    both = world.makers()
    assert len(both) == 2
    world.start(OWN="c")
    assert world.makers() == both[1:]  # of b's, which was made first, there is none any more


def test_what_is_no_environment_in_python_is_started_as_it_is(world: World) -> None:
    with world.runtime.subprocess.Popen([sys.executable, "-c", "print(1)"], stdout=subprocess.PIPE) as other:
        assert isinstance(other, subprocess.Popen)
        assert other.stdout is not None
        assert other.stdout.read() == b"1\n"
    assert world.runtime.subprocess.TimeoutExpired is subprocess.TimeoutExpired


def test_it_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = types.SimpleNamespace(subprocess=subprocess)
    monkeypatch.setenv(forks.SWITCH, "false")
    assert forks.fork(runtime) is None
    assert runtime.subprocess is subprocess


def test_it_fits_the_version_it_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RuntimeError, match="does not fit"):
        forks.fork(types.SimpleNamespace())


def test_makers_and_copies_end_with_a_killed_emulator(tmp_path: Path) -> None:
    """The kernel closes what it held: their inputs."""
    program = f"""
import sys, time
from pathlib import Path
import pytest
from tests.unit.localstack.test_forks import World
world = World(Path({str(tmp_path)!r}), pytest.MonkeyPatch())
world.start(); copy = world.start()
print(copy.pid, *(one.pid for one in world.makers()), flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as emulator:
        assert emulator.stdout is not None
        begun = [psutil.Process(int(pid)) for pid in emulator.stdout.readline().split()]
        emulator.kill()
    assert len(begun) == 2
    _, left = psutil.wait_procs(begun, timeout=20)
    assert [one for one in left if one.status() != psutil.STATUS_ZOMBIE] == []
