"""Where Sluice's own files are, and where what is built from them goes.

In Sluice's own tree both are the tree. In a user's project Sluice is installed as a package, which nothing writes into:
``SLUICE_WORK`` names a folder of the project, and Sluice's packages have the prefix ``sluice._system``.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from sluice import cache

SYSTEM = Path(__file__).resolve().parent.parent
"""Holds ``functions``, ``shared``, ``requirements`` and ``template.yaml``."""
PREFIX = __name__.removesuffix("deploy.paths")
"""What the names of Sluice's own packages begin with: nothing in its own tree."""
INSTALLED = bool(PREFIX)
WORK = Path(os.environ.get("SLUICE_WORK") or SYSTEM).resolve()
"""Holds ``.tools``, ``.build`` and what else is made."""
CACHE = cache.folder().resolve()
"""Holds what does not depend on the project: packages of bundles, bytecode. Projects and checkouts share it."""
BUILT = WORK / ".aws-sam" / "build"
"""Holds the bundles and the template that points at them."""
FACE = SYSTEM.parent if INSTALLED else SYSTEM / "sluice"
"""The public package."""
IMPORTED_FROM = Path(__file__).absolute().parents[PREFIX.count(".") + 1]
"""The folder on Python's path that Sluice is imported from."""


def project() -> Path | None:
    """Return the user's project, named by ``SLUICE_PROJECT``; None in Sluice's own tree."""
    named = os.environ.get("SLUICE_PROJECT")
    return Path(named).resolve() if named else None


def link(source: str, target: str) -> None:
    """Give a file another name, or copy it where that cannot be (`shutil.copytree` takes this as `copy_function`)."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
