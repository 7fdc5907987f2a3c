"""Packages of bundles are installed once for each platform, and again only when their pins change."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from deploy import bundle, bytecode, paths

HERE, AWS = "x86_64-manylinux2014", "aarch64-manylinux2014"


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Note for which platform packages are installed; a module stands for them."""
    platforms: list[str] = []

    def install(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        folder = Path(command[command.index("--target") + 1])
        folder.mkdir()
        (folder / "module.py").write_text("x = 1\n")
        platforms.append(command[command.index("--python-platform") + 1])
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(paths, "WORK", tmp_path)
    monkeypatch.setattr(bytecode, "KEPT", tmp_path / "bytecode")
    monkeypatch.setattr(bundle.subprocess, "run", install)
    return platforms


def test_who_builds_for_aws_and_for_this_machine_in_turn_installs_each_once(
    installed: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pins = tmp_path / "worker.txt"
    pins.write_text("module==1\n")
    folders = set()
    for platform in (HERE, AWS, HERE, AWS):
        monkeypatch.setenv("BUNDLE_PLATFORM", platform)
        folders.add(bundle.dependencies(pins))
    assert installed == [HERE, AWS]
    assert len(folders) == 2
    assert all((folder / "module.py").exists() for folder in folders)


def test_packages_of_other_pins_are_not_kept(
    installed: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("BUNDLE_PLATFORM", HERE)
    pins = tmp_path / "worker.txt"
    pins.write_text("module==1\n")
    before = bundle.dependencies(pins)
    pins.write_text("module==2\n")
    after = bundle.dependencies(pins)
    assert installed == [HERE, HERE]
    assert after.exists()
    assert not before.exists()


def test_what_projects_share_is_kept_with_its_newer_and_without_what_was_broken_off(
    installed: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("BUNDLE_PLATFORM", HERE)
    monkeypatch.setattr(paths, "WORK", tmp_path / "project")
    monkeypatch.setattr(paths, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(bundle, "ROOT", tmp_path / "sluice")
    pins = tmp_path / "sluice" / "requirements" / "worker.txt"
    pins.parent.mkdir(parents=True)
    pins.write_text("module==1\n")
    before = bundle.dependencies(pins)
    assert before.parent == tmp_path / "cache" / "deps"
    broken_off = before.with_suffix(".123.tmp")
    broken_off.mkdir()
    pins.write_text("module==2\n")
    after = bundle.dependencies(pins)
    assert before.exists()
    assert after.exists()
    assert not broken_off.exists()
