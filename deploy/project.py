"""A project of agents: what ``[tool.sluice]`` in its ``pyproject.toml`` says of it.

[tool.sluice]
agents = "agents"                 # folder of the agents: NAME.py is the agent NAME
requirements = ["markdown>=3"]    # what agents import from PyPI, or the path of a requirements file
include = ["prompts"]             # files and folders that agents read, besides what they import
test-requirements = []            # what the project's tests import besides

[tool.sluice.parameters]          # of the template, for every stage
DefaultModel = "gpt-4o-mini"

[tool.sluice.stages.production]   # for `sluice deploy production`: parameters, and its own stack
stack = "shop"
region = "eu-central-1"
parameters = { MaxReplicas = 40 }
"""

from __future__ import annotations

import keyword
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LOCAL = "local"
"""Name of the stage on this machine."""
KEYS = {"agents", "requirements", "include", "test-requirements", "parameters", "stages"}
STAGE_KEYS = {"stack", "region", "parameters"}


class ProjectError(Exception):
    """Something in a project is wrong; the message names it and says what would be right."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Where a project is deployed to, and with which parameters."""

    stack: str = "sluice"
    region: str | None = None
    parameters: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Project:
    """A user's repository."""

    root: Path
    agents_folder: str = "agents"
    requirements: tuple[str, ...] | Path = ()
    include: tuple[str, ...] = ()
    test_requirements: tuple[str, ...] = ()
    stages: dict[str, Stage] = field(default_factory=dict)
    local: Stage = Stage()

    def stage(self, name: str) -> Stage:
        """Return a stage by its name.

        Raises:
            ProjectError: there is none.
        """
        if name == LOCAL:
            return self.local
        if name not in self.stages:
            known = ", ".join(self.stages) or "none"
            raise ProjectError(f"pyproject.toml has no [tool.sluice.stages.{name}]; it has: {known}")
        return self.stages[name]

    def agents(self) -> dict[str, str]:
        """Return the agents: name -> dotted module.

        Raises:
            ProjectError: there is no such folder, it is empty, or a file's name is no name.
        """
        return agents_in(self.root, self.agents_folder)


def agents_in(root: Path, folder: str) -> dict[str, str]:
    """Return the agents of a folder below ``root``: name -> dotted module. Files that begin with ``_`` are helpers.

    Raises:
        ProjectError: there is no such folder, it is empty, or a file's name is no name.
    """
    place = root / folder
    if not place.is_dir():
        raise ProjectError(f"[tool.sluice] agents: there is no folder {folder!r} in {root}")
    found: dict[str, str] = {}
    for path in sorted(place.glob("*.py")):
        if path.stem.startswith("_"):
            continue
        if not path.stem.isidentifier() or keyword.iskeyword(path.stem):
            raise ProjectError(f"{folder}/{path.name}: an agent's file needs a Python name such as my_agent.py")
        found[path.stem] = ".".join((*Path(folder).parts, path.stem))
    if not found:
        raise ProjectError(f"there is no agent in {folder!r}: put a file NAME.py with `async def run(ctx)` there")
    return found


def load(root: Path) -> Project:
    """Read a project's ``pyproject.toml``.

    Raises:
        ProjectError: it is not there, cannot be read, or has something else in ``[tool.sluice]`` than there may be.
    """
    path = root / "pyproject.toml"
    try:
        text = path.read_text(encoding="utf-8")
        told = tomllib.loads(text).get("tool", {}).get("sluice")
    except OSError as error:
        raise ProjectError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise ProjectError(f"{path}: {error}") from error
    if not isinstance(told, dict):
        raise ProjectError(f"{path} has no [tool.sluice]: `sluice init NAME` makes a project")
    _known(told, KEYS, "[tool.sluice]")
    everywhere = _parameters(told.get("parameters", {}), "[tool.sluice.parameters]")
    stages = {}
    for name, one in _table(told.get("stages", {}), "[tool.sluice.stages]").items():
        stages[name] = _stage(name, one, everywhere)
    requirements = told.get("requirements", [])
    return Project(
        root=root.resolve(),
        agents_folder=_agents_folder(told.get("agents", "agents")),
        requirements=_requirements_file(root, requirements)
        if isinstance(requirements, str)
        else _texts(requirements, "requirements"),
        include=_texts(told.get("include", []), "include"),
        test_requirements=_texts(told.get("test-requirements", []), "test-requirements"),
        local=stages.pop(LOCAL, Stage(parameters=everywhere)),
        stages=stages,
    )


def find(start: Path) -> Path | None:
    """Return the nearest folder, from ``start`` upwards, whose ``pyproject.toml`` has ``[tool.sluice]``."""
    for folder in (start.resolve(), *start.resolve().parents):
        path = folder / "pyproject.toml"
        try:
            if isinstance(tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {}).get("sluice"), dict):
                return folder
        except (OSError, ValueError):
            continue
    return None


def _agents_folder(told: Any) -> str:
    parts = Path(told).parts if isinstance(told, str) else ()
    if not parts or not all(part.isidentifier() for part in parts):
        raise ProjectError(f"[tool.sluice] agents must be a folder whose path is made of Python names, not {told!r}")
    return "/".join(parts)


def _requirements_file(root: Path, told: str) -> Path:
    path = root / told
    if not path.is_file():
        raise ProjectError(
            f"[tool.sluice] requirements: there is no file {told!r} (a list of requirements will do, too)"
        )
    return path


def _stage(name: str, told: Any, everywhere: dict[str, str]) -> Stage:
    where = f"[tool.sluice.stages.{name}]"
    table = _table(told, where)
    _known(table, STAGE_KEYS, where)
    for key in ("stack", "region"):
        if not isinstance(table.get(key, ""), str):
            raise ProjectError(f"{where} {key} must be a text")
    own = _parameters(table.get("parameters", {}), f"{where} parameters")
    return Stage(table.get("stack", "sluice"), table.get("region"), everywhere | own)


def _parameters(told: Any, where: str) -> dict[str, str]:
    found = {}
    for name, value in _table(told, where).items():
        if not isinstance(value, str | int | float):
            raise ProjectError(f"{where}: {name} must be a text, a number, true or false")
        found[name] = str(value).lower() if isinstance(value, bool) else str(value)
    return found


def _table(told: Any, where: str) -> dict[str, Any]:
    if not isinstance(told, dict):
        raise ProjectError(f"{where} must be a table")
    return told


def _texts(told: Any, key: str) -> tuple[str, ...]:
    if not isinstance(told, list) or not all(isinstance(one, str) for one in told):
        raise ProjectError(f"[tool.sluice] {key} must be a list of texts")
    return tuple(told)


def _known(table: dict[str, Any], keys: set[str], where: str) -> None:
    unknown = sorted(set(table) - keys)
    if unknown:
        raise ProjectError(f"{where} has no {', '.join(unknown)}; it has {', '.join(sorted(keys))}")
