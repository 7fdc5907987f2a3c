"""From a project to what the worker's bundle holds of it, and what the API's says of it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from deploy.paths import PREFIX, SYSTEM
from deploy.project import Project, ProjectError, agents_in
from deploy.reached import reached

LEFT_OUT = ("__pycache__", ".git", ".venv", ".sluice")
BUILT_IN = "functions/worker/agents"


@dataclass(frozen=True, slots=True)
class Agents:
    """What a bundle gets of a project."""

    registered: dict[str, str]
    """Name -> dotted module, Sluice's own among them: a project's agent of the same name goes before one."""
    files: tuple[Path, ...] = ()
    """The project's files, relative to its root."""


def built_in() -> dict[str, str]:
    """Return Sluice's own agents."""
    return {name: PREFIX + module for name, module in agents_in(SYSTEM, BUILT_IN).items()}


def gather(project: Project | None, packages: Path) -> Agents:
    """Find a project's agents and what they import. ``packages``: folder with what the bundle has from elsewhere.

    Raises:
        ProjectError: an import has no source, or the project has a name that the bundle needs; all are named.
    """
    if project is None:
        return Agents(built_in())
    own = project.agents()
    tops = {entry.name.partition(".")[0] for entry in packages.iterdir()}
    found = reached(project.root, list(own.values()), tops)
    files = {path.relative_to(project.root): None for path in found.files} | _beside(project, list(found.files))
    taken = sorted({path.parts[0].removesuffix(".py") for path in files} & (tops | {"sluice"}))
    found.missing += [f"{name}: the bundle has a package of that name; call yours otherwise" for name in taken]
    if found.missing:
        raise ProjectError("\n".join(found.missing))
    return Agents(built_in() | own, tuple(files))


def _beside(project: Project, modules: list[Path]) -> dict[Path, None]:
    """Return the files that are no Python and lie with the modules, and what is to be included besides."""
    found: dict[Path, None] = {}
    for folder in {path.parent for path in modules} - {project.root}:
        found |= {path.relative_to(project.root): None for path in folder.iterdir() if _is_data(path)}
    for named in project.include:
        place = (project.root / named).resolve()
        if not place.exists() or not place.is_relative_to(project.root):
            raise ProjectError(f"[tool.sluice] include: {named!r} is not in the project")
        inside = [place] if place.is_file() else place.rglob("*")
        found |= {
            path.relative_to(project.root): None
            for path in inside
            if path.is_file() and not any(part in LEFT_OUT for part in path.parts)
        }
    return dict(sorted(found.items()))


def _is_data(path: Path) -> bool:
    return path.is_file() and path.suffix not in (".py", ".pyc") and not path.name.startswith(".")


def copy(project: Project, agents: Agents, target: Path) -> None:
    """Copy a project's files to where the bundle is made."""
    for path in agents.files:
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(project.root / path, target / path)
