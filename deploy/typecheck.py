"""Runs mypy in a new checkout with what it found out in another: ``python -m deploy.typecheck FOLDER…``.

mypy takes what it noted of a module if the file's contents are the same, whatever its time and place, and its own
version and options. But it reads its notes while it works: two checkouts that used one folder at once could each get
the other's. So each checkout has a folder of its own, and in the user's cache is an archive, which is replaced whole.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from importlib.metadata import version
from pathlib import Path

from sluice import cache

NOTES = ".mypy_cache"


def archive() -> Path:
    """Return where the notes of this version of mypy are kept for other checkouts."""
    return cache.folder() / "mypy" / f"{version('mypy')}.tar"


def take(kept: Path, notes: Path) -> None:
    """Unpack what is kept as the folder ``notes``, or do nothing: there is none, or it cannot be read."""
    work = Path(tempfile.mkdtemp(dir=notes.parent, prefix=f"{NOTES}-"))
    try:
        with contextlib.suppress(OSError, tarfile.TarError), tarfile.open(kept) as packed:
            packed.extractall(work, filter="data")
            work.rename(notes)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def keep(notes: Path, kept: Path) -> None:
    """Put the folder ``notes`` in the place of what is kept, whole, or do nothing: the cache cannot be written."""
    work = kept.with_name(f"{kept.name}.{os.getpid()}.tmp")
    try:
        with contextlib.suppress(OSError):
            kept.parent.mkdir(parents=True, exist_ok=True)
            with tarfile.open(work, "w") as packed:
                packed.add(notes, ".")
            work.rename(kept)
    finally:
        with contextlib.suppress(OSError):
            work.unlink()


def main(folders: list[str]) -> int:
    """Run mypy; returns its exit status. Only a checkout's first run shares what it found, and only if all is well."""
    notes = Path(NOTES).absolute()
    first = not notes.exists()
    if first:
        take(archive(), notes)
    status = subprocess.call([sys.executable, "-m", "mypy", "--cache-dir", NOTES, *folders])
    if first and status == 0:
        keep(notes, archive())
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
