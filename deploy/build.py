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
from typing import Any

import yaml

from deploy import agents, bundle, paths
from deploy.packages import files_of
from deploy.paths import BUILT
from deploy.project import ProjectError, load
from deploy.stack import read_template

AT_ONCE = 2
"""Each is a process that compiles."""


OF_THE_PROJECT = "WorkerFunction"


def build() -> dict[str, Any]:
    """Build what has changed and return the template that points at all bundles.

    Raises:
        ProjectError: one cannot be built; with what it said.
    """
    # The worker first: a project's mistakes show in its bundle.
    _one(OF_THE_PROJECT)
    files = _files()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        others = [name for name in bundle.FUNCTIONS if name != OF_THE_PROJECT]
        list(pool.map(lambda name: _kept(name, files), others))
    return _template()


def build_anew() -> None:
    """Build all of Sluice's own tree, with the template that points at it, as `sam build` does.

    Raises:
        ProjectError: one cannot be built; with what it said.
    """
    shutil.rmtree(BUILT, ignore_errors=True)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(_one, [OF_THE_PROJECT, *(name for name in bundle.FUNCTIONS if name != OF_THE_PROJECT)]))
    (BUILT / "template.yaml").write_text(yaml.safe_dump(_template(), sort_keys=False))


def _template() -> dict[str, Any]:
    template = read_template(paths.SYSTEM / "template.yaml")
    for name in bundle.FUNCTIONS:
        template["Resources"][name]["Properties"]["CodeUri"] = str(BUILT / name)
    return template


def _kept(function: str, files: str) -> None:
    """Build a bundle that holds nothing of the project but its agents' names, unless it is there already."""
    names = _names() if "api" in bundle.FUNCTIONS[function] else []
    made_from = json.dumps([files, os.environ.get("BUNDLE_PLATFORM"), names])
    note = paths.WORK / ".build" / "made" / function
    if (BUILT / function).is_dir() and note.exists() and note.read_text() == made_from:
        return
    note.unlink(missing_ok=True)  # a build that is broken off leaves none
    _one(function)
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(made_from)


def _names() -> list[str]:
    project = paths.project()
    return sorted(agents.built_in() | (load(project).agents() if project else {}))


def _files() -> str:
    """Digest Sluice's own files, by size and time: which they are is settled when it is installed."""
    digest = hashlib.sha256()
    for top in (paths.FACE,) if paths.INSTALLED else (paths.SYSTEM, paths.FACE):  # the one is in the other, there
        for name, path, about in files_of(top):
            if "__pycache__/" not in name:
                digest.update(f"{path}\0{about.st_mtime_ns}\0{about.st_size}\n".encode())
    return digest.hexdigest()


def _one(function: str) -> None:
    target = BUILT / function
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    command = [sys.executable, "-m", bundle.__name__, function, str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ProjectError((done.stderr or done.stdout).strip())
