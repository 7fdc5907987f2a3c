"""Bytecode of bundles: compiled once for all of them, made anew with its source, trusted without a look at it."""

from __future__ import annotations

import importlib.util
import os
import py_compile
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deploy import bytecode


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(bytecode, "KEPT", tmp_path / "kept")
    return tmp_path / "kept"


def bundle(folder: Path, text: str) -> Path:
    """Make a bundle of one module and return that module's path."""
    source = folder / "shared" / "one.py"
    source.parent.mkdir(parents=True, exist_ok=True)
    source.write_text(text)
    bytecode.compile_own(folder / "shared", folder)
    return source


def beside(source: Path) -> Path:
    return Path(importlib.util.cache_from_source(str(source)))


def test_two_bundles_have_what_was_compiled_once(tmp_path: Path, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = bundle(tmp_path / "a", "ONE = 1\n")
    monkeypatch.setattr(py_compile, "compile", None)
    second = bundle(tmp_path / "b", "ONE = 1\n")
    assert beside(first).read_bytes() == beside(second).read_bytes()


def test_bundles_share_one_file_where_the_file_system_lets_them(
    tmp_path: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle(tmp_path / "a", "ONE = 1\n")
    second, third = (beside(bundle(tmp_path / name, "ONE = 1\n")) for name in "bc")
    (one,) = kept.rglob("*.pyc")
    assert second.samefile(one)
    assert third.samefile(one)
    changed = beside(bundle(tmp_path / "b", "ONE = 2\n"))
    assert changed.read_bytes() != third.read_bytes()

    def refuse(*_: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    copied = [beside(bundle(tmp_path / name, "ONE = 2\n")) for name in "bd"]
    assert [one.read_bytes() for one in copied] == [changed.read_bytes()] * 2
    assert not copied[1].samefile(copied[0])


def test_two_bundles_that_are_built_at_once_have_the_same(
    tmp_path: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second is built while the first compiles; its bytecode names another path."""
    text, real, others = "def one():\n    return 1\n", py_compile.compile, []

    def compile_slowly(*arguments: object, **more: object) -> None:
        monkeypatch.setattr(py_compile, "compile", real)
        if arguments[0] == str(tmp_path / "a" / "shared" / "one.py"):
            others.append(bundle(tmp_path / "b", text))
        real(*arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(py_compile, "compile", compile_slowly)
    first = bundle(tmp_path / "a", text)
    third = bundle(tmp_path / "c", text)
    assert len({beside(one).read_bytes() for one in (first, *others, third)}) == 1
    assert len(others) == 1
    assert not list(kept.rglob("*.tmp"))
    assert len(list(kept.rglob("*.pyc"))) == 1


@pytest.mark.parametrize(("aged", "goes"), [(-60, False), (60, True)])
def test_a_changed_source_is_compiled_anew_and_an_older_one_goes_in_time(
    tmp_path: Path, kept: Path, aged: int, goes: bool
) -> None:
    """Not at once: two checkouts with versions of their own would undo each other's work."""
    before = beside(bundle(tmp_path / "a", "ONE = 1\n")).read_bytes()
    (older,) = kept.rglob("*.pyc")
    at = time.time() - bytecode.OLDER_SECONDS - aged
    os.utime(older, (at, at))
    after = beside(bundle(tmp_path / "b", "ONE = 2\n")).read_bytes()
    assert before != after
    assert {path.read_bytes() for path in kept.rglob("*.pyc")} == ({after} if goes else {before, after})
    assert older.exists() is not goes


def test_python_takes_it_without_a_look_and_names_the_files_own_place(tmp_path: Path) -> None:
    bundle(tmp_path / "a", "def where():\n    return where.__code__.co_filename\n")
    shutil.rmtree(tmp_path / "a")
    source = bundle(tmp_path / "b", "def where():\n    return where.__code__.co_filename\n")
    source.write_text("raise SystemExit('the source was read')\n")
    code = "import shared.one; print(shared.one.where())"
    told = subprocess.run([sys.executable, "-c", code], cwd=tmp_path / "b", capture_output=True, text=True, check=True)
    assert told.stdout.strip() == str(source)


def test_a_file_that_is_no_python_ends_the_build(tmp_path: Path, kept: Path) -> None:
    with pytest.raises(py_compile.PyCompileError):
        bundle(tmp_path / "a", "def :\n")
    assert list(kept.rglob("*.pyc")) == []


def test_a_package_may_hold_what_is_no_python(tmp_path: Path) -> None:
    good, template = tmp_path / "good.py", tmp_path / "template.py"
    good.write_text("ONE = 1\n")
    template.write_text("def {{ name }}():\n")
    bytecode.compile_files([template, good], tmp_path)
    assert beside(good).exists()
    assert not beside(template).exists()
