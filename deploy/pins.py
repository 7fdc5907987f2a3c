"""Pins what a project's agents need from PyPI, with hashes, beside what the worker has pinned already."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

from deploy import paths
from deploy.project import Project, ProjectError

HOW = ("--universal", "--python-version", "3.13", "--generate-hashes", "--no-header", "--no-annotate", "--quiet")


def worker_requirements(project: Project) -> Path:
    """Return the file with the worker's pins and the project's, made anew when either changed.

    Raises:
        ProjectError: they do not go together, or a package is not to be had; with uv's words.
    """
    ours = paths.SYSTEM / "requirements"
    own = _text_of(project)
    pinned = (ours / "worker.txt").read_text()
    digest = hashlib.sha256((own + pinned).encode()).hexdigest()[:16]
    folder = paths.WORK / ".build" / "pins"
    folder.mkdir(parents=True, exist_ok=True)
    made = folder / digest / "worker.txt"
    if made.exists():
        return made
    wanted = folder / f"project.{os.getpid()}.in"
    wanted.write_text(own)
    uv = os.environ.get("UV", "uv")
    part = folder / f"{digest}.{os.getpid()}.txt"
    files = [str(wanted), str(ours / "worker.in"), "--constraint", str(ours / "worker.txt"), "--output-file", str(part)]
    done = subprocess.run([uv, "pip", "compile", *HOW, *files], capture_output=True, text=True, check=False)
    wanted.unlink()
    if done.returncode:
        raise ProjectError(f"[tool.sluice] requirements cannot be met:\n{done.stderr.strip()}")
    made.parent.mkdir(exist_ok=True)
    part.rename(made)
    return made


def _text_of(project: Project) -> str:
    told = project.requirements
    return told.read_text() if isinstance(told, Path) else "\n".join(told) + "\n"
