"""What pytest makes of a test file is kept for other checkouts, and is what it would make there."""

from __future__ import annotations

import os
from importlib.util import source_hash
from pathlib import Path
from types import CodeType
from typing import Any

import pytest
from _pytest.assertion import rewrite

from sluice import cache
from tests import rewritten

SOURCE = "def test_a():\n    three = lambda: 3\n    assert three() == 4\n"


class Rewriting:
    """Pytest's own work, counted, and what it makes of it for a file of some checkout."""

    def __init__(self, folder: Path, config: pytest.Config) -> None:
        self.times, self._folder, self._config = 0, folder, config
        self.meanwhile = b""

    def _make(self, fn: Path, config: pytest.Config) -> tuple[bytes, CodeType]:
        self.times += 1
        if self.meanwhile:
            fn.write_bytes(self.meanwhile)
        source = fn.read_bytes()
        tree = rewrite.ast.parse(source)
        rewrite.rewrite_asserts(tree, source, str(fn), config)
        return source_hash(source), compile(tree, str(fn), "exec", dont_inherit=True)

    def file(self, checkout: str, text: str = SOURCE) -> Path:
        path = self._folder / checkout / "test_it.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    def of(self, path: Path) -> CodeType:
        found, code = rewritten.rewriting(self._make)(path, self._config)
        assert found == source_hash(path.read_bytes())
        return code


@pytest.fixture
def rewriting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Rewriting:
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    return Rewriting(tmp_path, request.config)


def kept(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache" / "rewritten").iterdir())


def test_another_checkout_has_it_with_its_own_path(rewriting: Rewriting) -> None:
    first = rewriting.of(rewriting.file("one"))
    there = rewriting.file("other")
    code = rewriting.of(there)
    assert rewriting.times == 1
    assert code == rewritten.at(first, str(there))
    names: dict[str, Any] = {}
    exec(code, names)
    with pytest.raises(AssertionError, match="where 3 = ") as failed:  # it is still one that explains itself
        names["test_a"]()
    assert [Path(at.path) for at in failed.traceback][-1] == there
    inner = next(part for part in names["test_a"].__code__.co_consts if isinstance(part, CodeType))
    assert inner.co_filename == str(there)


def test_another_text_is_made_by_itself(rewriting: Rewriting, tmp_path: Path) -> None:
    rewriting.of(rewriting.file("one"))
    code = rewriting.of(rewriting.file("other", "other = 1\n"))
    assert rewriting.times == 2
    assert "other" in code.co_names
    assert len(kept(tmp_path)) == 2


@pytest.mark.parametrize("broken", [b"", b"no code", b"N", None])
def test_what_cannot_be_read_is_made_anew(rewriting: Rewriting, tmp_path: Path, broken: bytes | None) -> None:
    code = rewriting.of(rewriting.file("one"))
    (file,) = kept(tmp_path)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2] if broken is None else broken)
    assert rewriting.of(rewriting.file("one")) == code
    assert rewriting.times == 2
    assert file.read_bytes() == whole


def test_a_cache_that_cannot_be_written_is_no_error(rewriting: Rewriting, tmp_path: Path) -> None:
    (tmp_path / "cache").touch()
    rewriting.of(rewriting.file("one"))
    rewriting.of(rewriting.file("one"))
    assert rewriting.times == 2


def test_a_file_that_is_edited_meanwhile_is_not_kept_as_what_it_was(rewriting: Rewriting, tmp_path: Path) -> None:
    rewriting.meanwhile = b"later = 1\n"
    rewriting.of(rewriting.file("one"))
    assert not (tmp_path / "cache").exists()


def test_what_is_old_is_forgotten_when_something_is_made(rewriting: Rewriting, tmp_path: Path) -> None:
    rewriting.of(rewriting.file("one"))
    (old,) = kept(tmp_path)
    young = old.with_name("young")
    young.touch()
    for file, age in ((old, rewritten.OLDER_SECONDS + 60), (young, rewritten.OLDER_SECONDS - 60)):
        then = file.stat().st_mtime - age
        os.utime(file, (then, then))
    rewritten._forget_what_is_old.cache_clear()
    rewriting.of(rewriting.file("other", "other = 1\n"))
    assert old not in kept(tmp_path)
    assert young in kept(tmp_path)


def test_another_python_pytest_or_setting_makes_its_own(
    rewriting: Rewriting, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    class Config:
        @staticmethod
        def getini(name: str) -> object:
            return name == "enable_assertion_pass_hook"

    here: Any = request.config
    places = [rewritten.place(b"x", here), rewritten.place(b"x", Config)]  # type: ignore[arg-type]
    for of, name in ((rewritten.sys, "version"), (rewritten.pytest, "__version__")):
        with monkeypatch.context() as patch:
            patch.setattr(of, name, "0")
            places.append(rewritten.place(b"x", here))
    assert len(set(places)) == 4
