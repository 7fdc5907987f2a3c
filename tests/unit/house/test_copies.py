"""Copies of a process run every test once, and tell of each as if there were one process."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from localstack.environ import ROOT
from tests import stack_fixture

KEPT = "import os, pathlib, socket, sys\nimport pytest\nkept = sys.stdout\n"
NOTE = KEPT + "note = lambda n: pathlib.Path('ran').open('a').write(f'{n}\\n')\n"
FILES = {
    "test_a.py": """
def test_passes(tmp_path, capfd):
    note('a1'); print('said'); assert capfd.readouterr().out == 'said\\n'
def test_fails():
    note('a2'); print('seen at a failure', file=kept); print('seen, too'); assert 1 == 2
""",
    "test_b.py": """
@pytest.fixture(scope='session')
def whole():
    yield os.getpid()
    note('end')
def test_has_a_fixture(whole): note('b1')
@pytest.mark.skip
def test_is_skipped(): note('b2')
""",
    "test_c.py": "def test_dies(): note('c1'); os._exit(3)\n",
    "test_d.py": "def test_after(): note('d1')\n",
}


def run(folder: Path, files: dict[str, str], *more: str) -> tuple[int, str, Counter[str]]:
    """Run tests in two copies; returns the exit code, what was printed, and how often each test ran."""
    for name, text in files.items():
        (folder / name).write_text(NOTE + text)
    command = [sys.executable, "-m", "pytest", "-p", "tests.copies", "--copies", "2", "-p", "no:cacheprovider", *more]
    # Without the plugins that happen to be installed: one alone takes a second to load.
    path = {"PYTHONPATH": str(ROOT), "PATH": "", "HOME": str(folder), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run([*command, "."], cwd=folder, env=path, capture_output=True, text=True, check=False)
    ran = (folder / "ran").read_text().split() if (folder / "ran").exists() else []
    return done.returncode, done.stdout + done.stderr, Counter(ran)


def test_every_test_is_run_once_and_told_of_whatever_becomes_of_its_copy(tmp_path: Path) -> None:
    code, said, ran = run(tmp_path, FILES)
    assert code == 1
    assert {"a1", "a2", "b1", "c1"} <= set(ran)
    assert set(ran.values()) == {1}
    assert "seen at a failure\nseen, too\n" in said
    assert "test_dies - the process of this test ended with 3" in said
    assert "d1" in ran


def test_files_that_nobody_is_left_to_run_are_no_success(tmp_path: Path) -> None:
    dies = {f"test_{n}.py": f"def test_dies(): note({n}); os._exit(0)\n" for n in range(3)}
    code, said, ran = run(tmp_path, dies)
    assert code == 1, said
    assert set(ran.values()) == {1}
    assert "3 failed" in said


def test_fixtures_of_all_tests_end_with_their_copy(tmp_path: Path) -> None:
    code, said, ran = run(tmp_path, {name: FILES[name] for name in ("test_b.py", "test_d.py")})
    assert (code, ran) == (0, Counter(["b1", "end", "d1"])), said
    assert "2 passed, 1 skipped" in said


def test_tests_that_are_marked_share_one_copy_whatever_file_they_stand_in(tmp_path: Path) -> None:
    marked = """
@pytest.fixture(scope='session')
def server():
    note('begun')
@pytest.mark.together('a server')
def test_a(server): note(f'of {os.getpid()}'.replace(' ', ''))
def test_b(): note(n)
"""
    code, said, ran = run(tmp_path, {f"test_{n}.py": f"n = {n}\n{marked}" for n in range(4)})
    assert code == 0, said
    of = [count for name, count in ran.items() if name.startswith("of")]
    assert (ran["begun"], of) == (4, [4])
    assert {f"{n}" for n in range(4)} <= set(ran)


def test_a_long_file_is_shared_out_unless_its_tests_share_a_fixture(tmp_path: Path) -> None:
    long = """
import time
{fixture}
@pytest.mark.parametrize('n', range(60))
def test_a(n{name}): note(f'{file}-{{n}}-of-{{os.getpid()}}'); time.sleep(0.02)
"""
    made = "@pytest.fixture(scope='module')\ndef made(): note('made')"
    files = {
        "test_a.py": long.format(fixture="", name="", file="a"),
        "test_b.py": long.format(fixture=made, name=", made", file="b"),
    }
    code, said, ran = run(tmp_path, files)
    assert (code, set(ran.values()), len(ran)) == (0, {1}, 121), said
    copies = {file: {name.rpartition("-")[2] for name in ran if name.startswith(file)} for file in ("a-", "b-")}
    assert (len(copies["a-"]), len(copies["b-"])) == (2, 1)


def test_a_fixture_of_all_tests_is_made_once_in_a_copy(tmp_path: Path) -> None:
    made = "@pytest.fixture(scope='session')\ndef whole(): note(f'made-{os.getpid()}')\n"
    mark = "@pytest.mark.alone\n"
    tests = "".join(f"{mark * (n == 1)}def test_{n}(whole): note(f'of-{{os.getpid()}}')\n" for n in range(20))
    (tmp_path / "conftest.py").write_text(NOTE + made)
    code, said, ran = run(tmp_path, {f"test_{name}.py": tests for name in "abc"})
    assert code == 0, said
    of = {name for name in ran if name.startswith("of-")}
    assert {name: n for name, n in ran.items() if name not in of} == {f"made-{name[3:]}": 1 for name in of}
    assert sum(ran[name] for name in of) == 60


def test_the_first_failure_ends_all_copies(tmp_path: Path) -> None:
    more = {f"test_z{n}.py": f"import time\ndef test_slow(): note({n}); time.sleep(0.2)\n" for n in range(30)}
    code, said, ran = run(tmp_path, FILES | more, "-x", "--ignore", "test_c.py")
    assert code == 1, said
    assert "stopping after 1 failures" in said
    assert len(ran) < 20


def test_what_is_left_unclosed_is_an_error(tmp_path: Path) -> None:
    left = "def test_leaves():\n    note(1)\n    kept = [socket.socket()]; kept.append(kept)\n"
    code, said, ran = run(tmp_path, {"test_e.py": left, "test_f.py": "def test_ok(): note(2)\n"}, "-W", "error")
    assert ran == Counter(["1", "2"])
    assert code == 1, said
    assert "unclosed" in said


def test_what_is_marked_alone_runs_when_all_others_have_ended(tmp_path: Path) -> None:
    alone = """
@pytest.mark.alone
def test_alone(): note(len([*pathlib.Path('.').glob('ended*')])); note(f'of{os.getpid()}')
"""
    others = (
        "import time\ndef test_b(): note(f'of{{os.getpid()}}'); time.sleep(0.5); pathlib.Path('ended{n}').touch()\n"
    )
    files = {"test_a.py": alone} | {f"test_b{n}.py": others.format(n=n) for n in range(2)}
    code, said, ran = run(tmp_path, files)
    assert code == 0, said
    assert "3 passed" in said
    assert ran["2"] == 1
    assert sorted(n for name, n in ran.items() if name.startswith("of")) == [1, 2]  # it is one of theirs
    (tmp_path / "ran").unlink()
    code, said, ran = run(tmp_path, {"test_b0.py": "def test_fails(): note('b'); assert 0\n"}, "-x")
    assert (code, "2" in ran) == (1, False), said


def test_what_is_marked_alone_runs_although_a_copy_died(tmp_path: Path) -> None:
    files = {
        "test_a.py": "@pytest.mark.alone\ndef test_alone(): note('alone')\n",
        "test_b.py": "import os\ndef test_b(): os._exit(3)\n",
        "test_c.py": "def test_c(): note('c')\n",
    }
    code, said, ran = run(tmp_path, files)
    assert (code, ran) == (1, Counter(["alone", "c"])), said
    assert "1 failed, 2 passed" in said


def test_no_unit_test_asks_for_a_deployed_system(request: pytest.FixtureRequest) -> None:
    """Whoever has a fixture or a parameter of that name does not: it would be started for all of them."""
    session = request.session
    unit = [item for item in session.items if "unit" in item.path.parts]
    assert [item.nodeid for item in unit if stack_fixture.asks(session, item)] == []


def test_nothing_that_is_made_for_all_tests_is_made_for_a_module_besides(request: pytest.FixtureRequest) -> None:
    """A module that imports a session's fixture has one of its own: a further server, in each copy."""
    fixtures: Any = request.session._fixturemanager
    for name, places in fixtures._arg2node2fixturedefs.items():
        functions = [one.func for found in places.values() for one in found if one.scope == "session"]
        assert len(functions) == len(set(functions)), name
