"""`make lint`: SAM's own command holds a template against every region, once; mypy's notes go to the next checkout."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from deploy import template_lint, typecheck, unchanged
from sluice import cache

REGIONS = ["us-east-1", "cn-north-1"]


class Sam:
    """Stands for both packages: cfn-lint's function, and SAM's command, which asks it for ``regions``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, regions: list[str]) -> None:
        self.asked: list[dict[str, Any]] = []
        self.given: list[str] = []
        self.regions = regions
        self.api = SimpleNamespace(lint=lambda text, config: self.asked.append(config) or ["a finding"])
        monkeypatch.setenv("AWS_DEFAULT_REGION", "")
        monkeypatch.setitem(sys.modules, "cfnlint", SimpleNamespace(api=self.api))
        for name in ("samcli", "samcli.cli", "samcli.cli.main"):
            monkeypatch.setitem(sys.modules, name, SimpleNamespace(cli=self.cli))

    def cli(self, arguments: list[str]) -> None:
        self.given = arguments
        found = self.api.lint("text", config={"regions": self.regions})
        sys.exit(len(found))


def test_sam_asks_cfn_lint_for_all_regions(monkeypatch: pytest.MonkeyPatch) -> None:
    sam = Sam(monkeypatch, ["us-east-1"])
    with pytest.raises(SystemExit) as end:
        template_lint.main("t.yaml", REGIONS)
    assert end.value.code == 1  # as many as were found
    assert sam.asked == [{"regions": REGIONS}]
    assert sam.given == ["validate", "--lint", "--region", "us-east-1", "--template", "t.yaml"]


def test_a_sam_that_asks_otherwise_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    sam = Sam(monkeypatch, ["eu-central-1"])
    with pytest.raises(RuntimeError, match="eu-central-1"):
        template_lint.main("t.yaml", REGIONS)
    assert sam.asked == []


class Checkout:
    """A checkout in which mypy notes ``notes``, and ends with ``status``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self._monkeypatch = monkeypatch
        folder.mkdir()
        self.notes = folder / typecheck.NOTES

    def check(self, notes: str = "", status: int = 0) -> list[str]:
        """Run it; returns what mypy found there."""
        found: list[str] = []

        def mypy(command: list[str]) -> int:
            assert command[1:] == ["-m", "mypy", "--cache-dir", ".mypy_cache", "shared"]
            found.extend(sorted(path.name for path in self.notes.glob("*")))
            self.notes.mkdir(exist_ok=True)
            (self.notes / notes).touch()
            return status

        with self._monkeypatch.context() as patched:
            patched.chdir(self.notes.parent)
            patched.setattr(subprocess, "call", mypy)
            assert typecheck.main(["shared"]) == status
        return found


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    return typecheck.archive()


def test_a_checkout_begins_with_the_notes_of_another(
    tmp_path: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other, third = (Checkout(monkeypatch, tmp_path / name) for name in "abc")
    assert one.check("first") == []
    assert one.check("second") == ["first"]  # its own from now on
    assert other.check("third") == ["first"]
    assert third.check("fourth") == ["first", "third"]
    assert [path.name for path in kept.parent.iterdir()] == [kept.name]
    assert [path.name for path in other.notes.parent.iterdir()] == [other.notes.name]


def test_notes_of_a_check_that_failed_are_not_shared(
    tmp_path: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Checkout(monkeypatch, tmp_path / "a").check("first", status=1)
    assert not kept.exists()


@pytest.mark.parametrize("broken", [b"", b"no archive", None])
def test_an_archive_that_cannot_be_read_is_made_anew(
    tmp_path: Path, kept: Path, broken: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    Checkout(monkeypatch, tmp_path / "a").check("first")
    whole = kept.read_bytes()
    kept.write_bytes(whole[: len(whole) // 20] if broken is None else broken)
    assert Checkout(monkeypatch, tmp_path / "b").check("second") == []
    with tarfile.open(kept) as packed:
        assert {Path(name).name for name in packed.getnames()} == {"", "second"}


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "file"))
    assert Checkout(monkeypatch, tmp_path / "a").check("first") == []


# ---- a check that was content with the same files before


class Check:
    """A check that ends with ``status``, in a checkout that has a template."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.times, self.status = 0, 0
        self.meanwhile = ""
        self.template = folder / "t.yaml"
        self.template.write_text("a")
        monkeypatch.setenv(cache.VARIABLE, str(folder / "cache"))
        monkeypatch.chdir(folder)
        monkeypatch.setattr(subprocess, "call", self.call)

    def call(self, command: list[str]) -> int:
        assert command[0] == "check"
        self.times += 1
        if self.meanwhile:
            self.template.write_text(self.meanwhile)
        return self.status

    def run(self, files: str = "t.yaml none.toml", command: str = "check t.yaml") -> int:
        assert unchanged.main([*files.split(), "--", *command.split()]) == self.status
        return self.times


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Check:
    return Check(monkeypatch, tmp_path)


def test_a_check_that_was_content_is_not_run_again_for_the_same_files(check: Check) -> None:
    assert [check.run(), check.run()] == [1, 1]


def test_it_is_run_again_for_another_text_another_file_or_another_command(check: Check) -> None:
    check.run()
    check.template.write_text("b")
    assert check.run() == 2
    Path("none.toml").write_text("c")
    assert check.run() == 3
    assert check.run(command="check t.yaml everywhere") == 4
    assert check.run(files="t.yaml none.toml more.txt") == 5
    check.template.write_text("bc")
    Path("none.toml").write_text("")  # the same bytes, otherwise divided
    assert check.run() == 6


def test_a_check_that_complains_does_so_every_time(check: Check) -> None:
    check.status = 3
    assert [check.run(), check.run()] == [1, 2]
    check.status = 0
    assert [check.run(), check.run()] == [3, 3]


def test_a_file_that_changes_while_it_is_checked_is_checked_again_as_it_was(check: Check) -> None:
    """The check may have been content with the new text only."""
    check.meanwhile = "mended"
    check.run()
    check.meanwhile = ""
    check.template.write_text("a")
    assert check.run() == 2


def test_where_nothing_can_be_kept_it_is_run_every_time(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache.VARIABLE, str(check.template))
    assert [check.run(), check.run()] == [1, 2]
