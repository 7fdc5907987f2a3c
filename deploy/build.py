"""Builds every bundle without SAM's CLI, for a user's project: the same bundles, in the same places."""

from __future__ import annotations

import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from deploy import bundle, paths
from deploy.packages import BUILT
from deploy.project import ProjectError
from deploy.stack import read_template

AT_ONCE = 2
"""Each is a process that compiles."""


def build() -> dict[str, Any]:
    """Build all bundles and return the template that points at them.

    Raises:
        ProjectError: one cannot be built; with what it said.
    """
    shutil.rmtree(BUILT, ignore_errors=True)
    # The worker first: a project's mistakes show in its bundle.
    _one("WorkerFunction")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(_one, [name for name in bundle.FUNCTIONS if name != "WorkerFunction"]))
    template = read_template(paths.SYSTEM / "template.yaml")
    for name in bundle.FUNCTIONS:
        template["Resources"][name]["Properties"]["CodeUri"] = str(BUILT / name)
    return template


def _one(function: str) -> None:
    target = BUILT / function
    target.mkdir(parents=True)
    command = [sys.executable, "-m", bundle.__name__, function, str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ProjectError((done.stderr or done.stdout).strip())
