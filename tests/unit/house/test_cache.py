"""What projects share is made once, whole or not at all, by one at a time; what differs has its own."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sluice import cache, environments, project

ROOT = Path(__file__).parents[3]


class Maker:
    """Stands for uv: makes an environment's interpreter, and counts how often."""

    def __init__(self) -> None:
        self.made = 0
        self.fails = False

    def __call__(self, place: Path, lock: int) -> None:
        assert not place.exists()  # nothing of an earlier one is left
        self.made += 1
        (place / "bin").mkdir(parents=True)
        if self.fails:
            raise KeyboardInterrupt
        (place / "bin" / "python").touch()


@pytest.fixture
def maker() -> Maker:
    return Maker()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_it_is_in_the_users_cache_folder_unless_another_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv(cache.VARIABLE, "~/there")
    assert cache.folder() == Path("/home/ann/there")
    monkeypatch.setenv(cache.VARIABLE, "")
    assert cache.folder() == Path("/home/ann/.cache/sluice")
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")  # to be ignored, says the convention
    assert cache.folder() == Path("/home/ann/.cache/sluice")
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/caches")
    assert cache.folder() == Path("/var/caches/sluice")


def test_an_environment_is_made_once(tmp_path: Path, maker: Maker) -> None:
    for _ in range(2):
        cache.make(tmp_path / "env", "a", maker)
    assert maker.made == 1
    cache.make(tmp_path / "env", "b", maker)
    assert maker.made == 2


def test_one_that_was_broken_off_is_never_used(tmp_path: Path, maker: Maker) -> None:
    maker.fails = True
    with pytest.raises(KeyboardInterrupt):
        cache.make(tmp_path / "env", "a", maker)
    assert not cache.is_ready(tmp_path / "env", "a")
    maker.fails = False
    cache.make(tmp_path / "env", "a", maker)
    assert maker.made == 2
    assert cache.is_ready(tmp_path / "env", "a")


def test_one_whose_interpreter_is_gone_is_made_again(tmp_path: Path, maker: Maker) -> None:
    cache.make(tmp_path / "env", "a", maker)
    (tmp_path / "env" / "bin" / "python").unlink()
    cache.make(tmp_path / "env", "a", maker)
    assert maker.made == 2


def test_of_several_at_once_one_makes_it(tmp_path: Path, maker: Maker) -> None:
    begun, go = threading.Event(), threading.Event()

    def fill(place: Path, lock: int) -> None:
        begun.set()
        assert go.wait(60)
        maker(place, lock)

    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(cache.make, tmp_path / "env", "a", fill)
        assert begun.wait(60)
        others = [pool.submit(cache.make, tmp_path / "env", "a", fill) for _ in range(3)]
        assert not any(one.done() for one in others)
        go.set()
        for one in (first, *others):
            one.result()
    assert maker.made == 1


def test_what_a_killed_maker_left_running_is_waited_for(tmp_path: Path, maker: Maker) -> None:
    def killed(place: Path, lock: int) -> None:
        left.append(subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=(lock,)))  # until it is told to end
        raise KeyboardInterrupt

    left: list[subprocess.Popen[bytes]] = []
    with pytest.raises(KeyboardInterrupt):
        cache.make(tmp_path / "env", "a", killed)
    with ThreadPoolExecutor(1) as pool:
        try:
            with (tmp_path / "env.lock").open("w") as lock, pytest.raises(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            later = pool.submit(cache.make, tmp_path / "env", "a", maker)
        finally:
            left[0].communicate()
        later.result()
    assert maker.made == 1


def test_a_link_takes_the_place_of_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "env" / "bin").mkdir(parents=True)
    for name in ("one", "two", "two"):
        cache.point(tmp_path / "env", tmp_path / name)
        assert (tmp_path / "env").readlink() == tmp_path / name
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".tmp")] == []


def installed(folder: Path, text: str = "x = 1\n") -> Path:
    face = folder / "sluice"
    (face / "_system" / "__pycache__").mkdir(parents=True)
    (face / "__init__.py").write_text(text)
    (face / "_system" / "__pycache__" / "old.pyc").touch()
    return face


def test_the_system_is_copied_once_for_all_who_installed_the_same(tmp_path: Path, folder: Path) -> None:
    places = {cache.system(installed(tmp_path / name)) for name in ("one", "two")}
    assert len(places) == 1
    (place,) = places
    assert (place / "sluice" / "__init__.py").read_text() == "x = 1\n"
    assert [path.name for path in place.iterdir()] == ["sluice"]  # nothing of what is installed beside it
    assert list(place.rglob("*.pyc")) == []
    assert cache.system(installed(tmp_path / "three", "x = 2\n")) != place
    assert [path.name for path in (folder / "systems").iterdir() if path.name.startswith("part-")] == []


def test_a_projects_environment_is_shared_unless_it_needs_more(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, ...]] = []

    def uv(*arguments: str, lock: int) -> None:
        calls.append(arguments)
        if arguments[0] == "venv":
            (Path(arguments[-1]) / "bin").mkdir(parents=True)
            (Path(arguments[-1]) / "bin" / "python").touch()

    system = tmp_path / "system"
    (system / "requirements").mkdir(parents=True)
    for name in ("project", "localaws"):
        (system / "requirements" / f"{name}.txt").write_text(name)
    monkeypatch.setattr(project, "SYSTEM", system)
    monkeypatch.setattr(project, "FACE", installed(tmp_path / "site"))
    monkeypatch.setattr(environments, "_uv", uv)

    def prepared(name: str, table: str = "") -> project.Local:
        root = tmp_path / name
        root.mkdir(exist_ok=True)
        (root / "pyproject.toml").write_text(f"[tool.sluice]\n{table}")
        here = project.Local(root)
        here.prepare(say=lambda _: None)
        assert here.python.exists()
        return here

    one, two = prepared("one"), prepared("two")
    assert one.python == two.python
    assert one.python.is_relative_to(folder)
    assert [call[0] for call in calls].count("venv") == 2  # one for each file of pins
    own = prepared("two", "test-requirements = ['more']\n")
    assert own.python == tmp_path / "two" / ".sluice" / "env" / "bin" / "python"
    assert any("more" in call for call in calls)
    assert prepared("two").python == one.python
    (system / "requirements" / "project.txt").write_text("newer")
    assert prepared("two").python != one.python
    assert one.python.exists()  # whose project has not met the newer yet


def test_a_cache_that_cannot_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "file" / "cache"))
    monkeypatch.setattr(project, "SYSTEM", tmp_path)
    monkeypatch.setattr(project, "FACE", installed(tmp_path / "site"))
    with pytest.raises(project.ProjectError, match=f"{cache.VARIABLE} names another folder"):
        project.Local(tmp_path).prepare()


def environment(place: Path) -> Path:
    for part in ("bin", "lib"):
        (place / part).mkdir(parents=True)
    (place / "bin" / "python").touch()
    return place


def test_a_checkouts_environment_leads_to_the_shared_one_and_holds_a_file_of_its_own(tmp_path: Path) -> None:
    checkout = environment(tmp_path / "checkout" / ".venv")  # one of its own, from before
    for name in ("one", "two", "two"):
        place = environment(tmp_path / name) if not (tmp_path / name).exists() else tmp_path / name
        environments.lead(checkout, place)
        assert (checkout / "bin").resolve() == place / "bin"
        assert (checkout / "lib").resolve() == place / "lib"
        (checkout / ".ready").touch()  # as make does
        assert not (place / ".ready").exists()
    cache.remove(checkout)
    assert (tmp_path / "two" / "bin" / "python").exists()


def test_what_an_earlier_environment_had_is_gone(tmp_path: Path) -> None:
    checkout = tmp_path / ".venv"
    environments.lead(checkout, environment(tmp_path / "one"))
    (checkout / ".ready").touch()
    environments.lead(checkout, environment(tmp_path / "two"))
    assert not (checkout / ".ready").exists()  # make would take it for made


def test_an_environment_that_cannot_be_made_is_told_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "pins.txt").write_text("no-such-package-of-sluice==1.0 --hash=sha256:" + "0" * 64)
    command = [sys.executable, "-m", "sluice.environments", str(tmp_path / ".venv"), str(tmp_path / "pins.txt")]
    uv = os.environ.get("UV") or shutil.which("uv") or str(ROOT / ".tools/uv/bin/uv")
    offline = dict(os.environ) | {"UV": uv, "UV_OFFLINE": "1", "UV_NO_CACHE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=offline, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: uv pip install failed:\n")
    assert "no-such-package-of-sluice" in done.stderr
    assert not (tmp_path / ".venv").exists()
