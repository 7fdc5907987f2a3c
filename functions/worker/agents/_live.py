"""Agents that are edited while a local system runs: each saved version of a project is a folder of its own.

`sluice up --watch` writes ``version.json`` when a version is whole: ``{"folder": "…", "agents": {name: module}}``. A
run that begins afterwards has that version; runs under way go on with the modules that they hold.
"""

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType

_folder: str | None = None


def module_of(live: Path, name: str) -> ModuleType | None:
    """Return the newest version of an agent's module; None if the project has no agent of that name."""
    try:
        version = json.loads((live / "version.json").read_text())
    except FileNotFoundError:
        return None
    if name not in version["agents"]:
        return None
    _turn_to(version["folder"])
    return importlib.import_module(version["agents"][name])


def _turn_to(folder: str) -> None:
    """Forget the modules of another version, and find those of this one first."""
    global _folder  # noqa: PLW0603 - what this process has imported is one thing
    if folder == _folder:
        return
    tops = {path.stem for path in Path(folder).iterdir()}
    if _folder is not None:
        tops |= {path.stem for path in Path(_folder).iterdir()} if Path(_folder).is_dir() else set()
        sys.path.remove(_folder)
    for name in [name for name in sys.modules if name.partition(".")[0] in tops]:
        del sys.modules[name]
    sys.path.insert(0, folder)
    importlib.invalidate_caches()
    _folder = folder
