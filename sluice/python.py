"""Finds the Python that agents run on, 3.13, also where a tool keeps several; uv knows the path and can download it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

VERSION = "3.13"
KEPT = (
    ("PYENV_ROOT", "~/.pyenv", f"versions/{VERSION}*/bin/python{VERSION}"),
    ("MISE_DATA_DIR", "~/.local/share/mise", f"installs/python/{VERSION}*/bin/python{VERSION}"),
    ("ASDF_DATA_DIR", "~/.asdf", f"installs/python/{VERSION}*/bin/python{VERSION}"),
)
"""Variable, default folder and pattern of tools whose commands on the path run another version unless told."""


def find() -> str:
    """Return the path of an interpreter, or the version, for uv to find or get."""
    if f"{sys.version_info[0]}.{sys.version_info[1]}" == VERSION:
        return sys.executable  # uv sees through an environment
    on_path = shutil.which(f"python{VERSION}")
    if on_path and _runs(on_path):
        return on_path
    for variable, default, pattern in KEPT:
        folder = Path(os.environ.get(variable) or default).expanduser()
        for found in sorted(folder.glob(pattern), reverse=True):
            if _runs(str(found)):
                return str(found)
    return VERSION


def _runs(path: str) -> bool:
    """Whether it is an interpreter of that version: a shim may be there, and refuse."""
    try:
        command = [path, "-c", "import sys; print(sys.version)"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return False
    return done.returncode == 0 and done.stdout.startswith(f"{VERSION}.")
