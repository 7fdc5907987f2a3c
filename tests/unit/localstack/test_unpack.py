"""Environments of one bundle share its files, whose memory is taken once."""

from __future__ import annotations

import shutil
import tempfile
import types
import zipfile
from pathlib import Path

import pytest

from localstack.strict import unpack


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> types.SimpleNamespace:
    """MiniStack's module, as far as it is used."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    found = types.SimpleNamespace(zipfile=zipfile)
    unpack.share(found)
    return found


def environment(runtime: types.SimpleNamespace, folder: Path, **files: str) -> Path:
    """Unpack a bundle as MiniStack does; returns the folder with its code."""
    code = folder / "code"
    code.mkdir(parents=True)
    with zipfile.ZipFile(folder / "code.zip", "w") as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(f"package/{name}.py"), text)
    with runtime.zipfile.ZipFile(str(folder / "code.zip")) as archive:
        archive.extractall(str(code))
    return code / "package"


def test_two_environments_of_a_bundle_have_the_same_files(runtime: types.SimpleNamespace, tmp_path: Path) -> None:
    one, two = (environment(runtime, tmp_path / name, a="1", b="2") for name in ("one", "two"))
    assert {path.name: path.read_text() for path in two.iterdir()} == {"a.py": "1", "b.py": "2"}
    assert (one / "a.py").stat().st_ino == (two / "a.py").stat().st_ino
    assert not (tmp_path / "two" / "code.zip").exists()


def test_another_version_has_its_own(runtime: types.SimpleNamespace, tmp_path: Path) -> None:
    one = environment(runtime, tmp_path / "one", a="1")
    two = environment(runtime, tmp_path / "two", a="2")
    assert ((one / "a.py").read_text(), (two / "a.py").read_text()) == ("1", "2")


def test_what_runs_keeps_its_files_when_older_bundles_are_given_up(
    runtime: types.SimpleNamespace, tmp_path: Path
) -> None:
    made = [environment(runtime, tmp_path / str(n), a=str(n)) for n in range(unpack.KEPT + 3)]
    assert [(code / "a.py").read_text() for code in made] == [str(n) for n in range(len(made))]
    for ended in range(1, len(made)):
        shutil.rmtree(tmp_path / str(ended))  # as MiniStack does when an environment has ended
    environment(runtime, tmp_path / "last", a="last")
    assert len(list((tmp_path / "bundles").iterdir())) == unpack.KEPT + 1  # those kept, and the first, which runs
    assert (made[0] / "a.py").read_text() == "0"


def test_the_end_of_an_environment_leaves_the_others_their_files(
    runtime: types.SimpleNamespace, tmp_path: Path
) -> None:
    one, _ = (environment(runtime, tmp_path / name, a="1") for name in ("one", "two"))
    shutil.rmtree(tmp_path / "two")
    assert (one / "a.py").read_text() == "1"


def test_another_ministack_is_refused() -> None:
    with pytest.raises(RuntimeError, match="does not fit"):
        unpack.share(types.SimpleNamespace())
