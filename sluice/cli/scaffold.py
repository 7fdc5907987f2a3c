"""`sluice init NAME`: a repository with one agent, one test, a workflow and a README."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Annotated

import typer

from sluice.cli.console import out, show_json, told
from sluice.cli.origin import WHEELS, noted, origin
from sluice.cli.runs import Json
from sluice.project import ProjectError

NEW = Path(__file__).parent / "new"
"""The files as they are written; ``NAME`` and ``REQUIREMENT`` in them are replaced."""
FILES = {
    "pyproject.toml.txt": "pyproject.toml",
    "README.md": "README.md",
    "gitignore": ".gitignore",
    "agents/hello.py.txt": "agents/hello.py",
    "tests/test_hello.py.txt": "tests/test_hello.py",
    "github/test.yml": ".github/workflows/test.yml",
}


def init(
    name: Annotated[str, typer.Argument(help="The new folder: letters, digits, `-` and `_`.")], as_json: Json = False
) -> None:
    """Write a new repository with one agent, one test, a GitHub workflow and a README."""
    with told(as_json):
        made = write(Path.cwd(), name)
    if as_json:
        show_json({"folder": str(made), "files": sorted(FILES.values())})
        return
    out.print(f'made {name}. Next:\n\n  cd {name}\n  sluice up\n  sluice run hello "Say hello"\n  python -m pytest')


def write(where: Path, name: str) -> Path:
    """Write the repository and return its folder.

    Raises:
        ProjectError: the name will not do, or there is such a folder and it is not empty.
    """
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,63}", name):
        raise ProjectError(f"{name!r}: a name begins with a letter and has letters, digits, `-` and `_`")
    folder = where / name
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ProjectError(f"there is a {name!r} already, and it is not empty")
    found = origin(noted())
    for source, target in FILES.items():
        text = (NEW / source).read_text(encoding="utf-8")
        path = folder / target
        path.parent.mkdir(parents=True, exist_ok=True)
        text = text.replace("NAME", name).replace("REQUIREMENT", found.requirement)
        path.write_text(text, encoding="utf-8")
    if found.wheel is not None:
        (folder / WHEELS).mkdir()
        shutil.copy2(found.wheel, folder / WHEELS)
    return folder
