"""Builds every bundle without SAM's CLI: the same bundles, in the same places.

A project changes its agents, so the worker's bundle is built each time, and the API's when an agent's name is new. The
others hold nothing of the project: they are built again when Sluice itself has changed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml

from deploy import agents, bundle, paths
from deploy.packages import files_of
from deploy.paths import BUILT
from deploy.project import ProjectError, load
from deploy.stack import read_template

AT_ONCE = 2
"""Processes that make bundles: to start one takes as long as to make a bundle of what is compiled."""


OF_THE_PROJECT = "WorkerFunction"


def build() -> dict[str, Any]:
    """Build what has changed and return the template that points at all bundles.

    Raises:
        ProjectError: one cannot be built; with what it said.
    """
    # The worker first: a project's mistakes show in its bundle.
    _make([OF_THE_PROJECT])
    files = _files()
    stale = [name for name in bundle.FUNCTIONS if name != OF_THE_PROJECT and not _kept(name, files)]
    _make(stale)
    for name in stale:
        note = _note(name)
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(_made_from(name, files))
    return _template()


def build_anew() -> None:
    """Build all of Sluice's own tree, with the template that points at it, as `sam build` does.

    Raises:
        ProjectError: one cannot be built; with what it said.
    """
    shutil.rmtree(BUILT, ignore_errors=True)
    _make([OF_THE_PROJECT, *(name for name in bundle.FUNCTIONS if name != OF_THE_PROJECT)])
    (BUILT / "template.yaml").write_text(yaml.safe_dump(_template(), sort_keys=False))


def _template() -> dict[str, Any]:
    template = read_template(paths.SYSTEM / "template.yaml")
    for name in bundle.FUNCTIONS:
        template["Resources"][name]["Properties"]["CodeUri"] = str(BUILT / name)
    return template


def _kept(function: str, files: str) -> bool:
    """Whether a bundle that holds nothing of the project but its agents' names is there; else it is to be made."""
    note = _note(function)
    if (BUILT / function).is_dir() and note.exists() and note.read_text() == _made_from(function, files):
        return True
    note.unlink(missing_ok=True)  # a build that is broken off leaves none
    return False


def _note(function: str) -> Path:
    return paths.WORK / ".build" / "made" / function


def _made_from(function: str, files: str) -> str:
    names = _names() if "api" in bundle.FUNCTIONS[function] else []
    return json.dumps([files, os.environ.get("BUNDLE_PLATFORM"), names])


def _names() -> list[str]:
    project = paths.project()
    return sorted(agents.built_in() | (load(project).agents() if project else {}))


def _files() -> str:
    """Digest Sluice's own files, by size and time: which they are is settled when it is installed."""
    digest = hashlib.sha256()
    for top in (paths.FACE,) if paths.INSTALLED else (paths.SYSTEM, paths.FACE):  # the one is in the other, there
        for _, path, about in files_of(top, bytecode=False):
            digest.update(f"{path}\0{about.st_mtime_ns}\0{about.st_size}\n".encode())
    return digest.hexdigest()


def _make(functions: list[str]) -> None:
    """Make bundles, in as many processes as there may be."""
    shares = [share for n in range(AT_ONCE) if (share := functions[n::AT_ONCE])]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(_in_one_process, shares))


def _in_one_process(functions: list[str]) -> None:
    asked: list[str] = []
    for function in functions:
        target = BUILT / function
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        asked += [function, str(target)]
    command = [sys.executable, "-m", bundle.__name__, *asked]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ProjectError((done.stderr or done.stdout).strip())
