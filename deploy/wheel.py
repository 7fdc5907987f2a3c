"""Makes the wheel: the public face, and the system inside it as ``sluice/_system``.

The system's packages have plain names in their own tree (``shared``, ``functions``, …), which would stand in the way of
others' in a user's environment. In the wheel they are ``sluice._system.shared`` and so on: each ``from shared…`` is
written so, here, once. Hatchling calls this through ``pyproject.toml``.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

TREE = Path(__file__).resolve().parent.parent
INNER = ("functions", "shared", "localstack", "deploy")
PREFIX = "sluice._system."
DATA = ("template.yaml", "requirements")
LEFT_OUT = shutil.ignore_patterns(
    "__pycache__", "*.pyc", "wheel.py", "site.py", "lambda_image.py", "sam_local.py", "compose.yaml"
)


class Hook(BuildHookInterface):  # type: ignore[type-arg,misc]
    """Lays out what the wheel holds in a folder of its own."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Fill the folder and have hatchling take it whole."""
        self._made = Path(tempfile.mkdtemp(prefix="sluice-wheel-"))
        lay_out(self._made)
        build_data["force_include"][str(self._made / "sluice")] = "sluice"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove it."""
        shutil.rmtree(self._made, ignore_errors=True)


def lay_out(target: Path) -> None:
    """Write the package ``sluice`` below a folder."""
    package = target / "sluice"
    shutil.copytree(TREE / "sluice", package, ignore=LEFT_OUT)
    system = package / "_system"
    system.mkdir()
    (system / "__init__.py").write_text('"""Sluice itself. Private: its names change without notice."""\n')
    for name in INNER:
        shutil.copytree(TREE / name, system / name, ignore=LEFT_OUT)
    for name in DATA:
        source = TREE / name
        shutil.copytree(source, system / name) if source.is_dir() else shutil.copy2(source, system / name)
    for path in package.rglob("*.py"):
        path.write_text(renamed(path.read_text(), str(path.relative_to(package))))
    template = system / "template.yaml"
    text = re.sub(r"(?m)^(\s+Handler: )functions\.", rf"\g<1>{PREFIX}functions.", template.read_text())
    template.write_text(text.replace("/var/task/functions/", f"/var/task/{PREFIX.replace('.', '/')}functions/"))


def renamed(source: str, name: str) -> str:
    """Return a module's source with the imports of the system's packages as they are in the wheel.

    Raises:
        ValueError: it imports one as a whole (``import shared.x``), which cannot be renamed in place.
    """
    if whole := re.search(rf"(?m)^\s*import ({'|'.join(INNER)})\b", source):
        line = source.count("\n", 0, whole.start()) + 1
        raise ValueError(f"{name}:{line}: write `from … import …` for Sluice's own packages")
    return re.sub(rf"(?m)^(\s*from )({'|'.join(INNER)})(?=[.\s])", rf"\g<1>{PREFIX}\g<2>", source)
