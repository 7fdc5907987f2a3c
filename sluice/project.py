"""A project on this machine: where it is, where its local system keeps its things, and its environments.

The system runs on Python 3.13 and packages of its own, which a user's projects share (`sluice.cache`); nothing of it is
installed into the user's environment. ``uv`` makes the environments, and gets that Python where the machine has none.
"""

from __future__ import annotations

import json
import os
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from sluice import cache, environments
from sluice.environments import ProjectError as ProjectError

FACE = Path(__file__).absolute().parent
SYSTEM = FACE / "_system"
"""The system as the wheel brings it; Sluice's own tree has none."""
FOLDER = ".sluice"


class NoSystemError(ProjectError):
    """The system that is meant is not up."""


def root_of(start: Path) -> Path | None:
    """Return the nearest folder from ``start`` upwards whose ``pyproject.toml`` has ``[tool.sluice]``."""
    for folder in (start.resolve(), *start.resolve().parents):
        if table_of(folder) is not None:
            return folder
    return None


def table_of(folder: Path) -> dict[str, Any] | None:
    """Return ``[tool.sluice]`` of a folder's ``pyproject.toml``, if there is one that can be read."""
    try:
        told = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    table = told.get("tool", {}).get("sluice")
    return table if isinstance(table, dict) else None


class Local:
    """The local side of one project."""

    def __init__(self, root: Path) -> None:
        """Take the project at ``root``."""
        self.root = root
        self.work = root / FOLDER
        self.state = self.work / "state"
        self.env = self.work / "env"

    @property
    def python(self) -> Path:
        """The interpreter of the system, which the project's tests run on, too.

        By its real folder, not through the project's link: so packages have the same paths, whichever project runs.
        """
        return self.env.resolve() / "bin" / "python"

    @property
    def outputs(self) -> dict[str, Any] | None:
        """Addresses and keys of the local system, if it is up."""
        try:
            found: dict[str, Any] = json.loads((self.state / "outputs.json").read_text())
        except (OSError, ValueError):
            return None
        return found

    def environment(self, **more: str) -> dict[str, str]:
        """Return the environment variables of the system's processes."""
        drop = ("PYTHONHOME", "PYTHONPYCACHEPREFIX", "PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV", "UV_PYTHON")
        kept = {name: value for name, value in os.environ.items() if name not in drop}
        return kept | {
            "SLUICE_PROJECT": str(self.root),
            "SLUICE_WORK": str(self.work),
            "SLUICE_STATE": str(self.state),
            "PYTHONPATH": str(cache.system(FACE)),
            cache.VARIABLE: str(cache.folder()),
            "UV": environments.uv(),
            **more,
        }

    def command(self, module: str, *arguments: str) -> list[str]:
        """Return the command line of one of the system's modules."""
        return [str(self.python), "-m", f"sluice._system.{module}", *arguments]

    def prepare(self, say: Any = print) -> None:
        """Make the environments, where they are not there or what they are made of has changed.

        Raises:
            ProjectError: a package, or Python itself, is not to be had; with uv's words.
        """
        if not SYSTEM.is_dir():
            raise ProjectError("this Sluice runs from its own tree: use make there, or install the wheel")
        self.work.mkdir(exist_ok=True)
        (self.work / ".gitignore").write_text("*\n")
        pins = SYSTEM / "requirements"
        own = self.own_requirements()
        wanted: tuple[tuple[Path, Path, list[str]], ...] = (
            (self.env, pins / "project.txt", own),
            (self.work / ".tools" / "localaws", pins / "localaws.txt", []),
        )
        try:
            cache.system(FACE)
            with ThreadPoolExecutor(len(wanted)) as pool:
                made = [pool.submit(_environment, folder, file, more, say) for folder, file, more in wanted]
                for each in made:
                    each.result()
        except OSError as error:
            raise ProjectError(f"{error}; {cache.VARIABLE} names another folder for what projects share") from error

    def own_requirements(self) -> list[str]:
        """Return what the project's agents and tests need, as arguments of ``uv pip install``."""
        table = table_of(self.root) or {}
        told = table.get("requirements", [])
        found = ["-r", str(self.root / told)] if isinstance(told, str) else [str(one) for one in told]
        return found + [str(one) for one in table.get("test-requirements", [])]


def _environment(folder: Path, pins: Path, more: list[str], say: Any) -> None:
    """Have an environment: a link to the one that projects share, or the project's own, if it needs ``more``."""
    if more:
        environments.own(folder, pins, more, say)
    else:
        cache.point(folder, environments.shared(folder.name, pins, say))
