"""What a user's projects share: environments, the system itself, packages of bundles, all with their bytecode.

It is in the user's cache folder, ``SLUICE_CACHE`` names another. Each thing's name holds a digest of what it is made
from, and nothing that stands there is changed: projects with other pins, or another Sluice, have others beside it. The
folder may be removed whenever no system is up; what is missing is made again.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

VARIABLE = "SLUICE_CACHE"
READY = ".ready"
"""File of a folder that is whole: written last, with the digest of what it was made from."""


def folder() -> Path:
    """Return the folder, which need not be there."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if Path(base).is_absolute() else Path("~/.cache").expanduser()) / "sluice"


def digest(*parts: bytes) -> str:
    """Digest what something is made from, on this kind of machine."""
    machine = f"{sys.platform} {platform.machine()}".encode()
    return hashlib.sha256(b"\0".join((machine, *parts))).hexdigest()[:16]


def is_ready(place: Path, made_from: str) -> bool:
    """Whether an environment is there, whole, and made from that; one whose interpreter is gone is not."""
    try:
        return (place / READY).read_text() == made_from and (place / "bin" / "python").exists()
    except OSError:
        return False


def make(place: Path, made_from: str, fill: Callable[[Path, int], None]) -> None:
    """Have an environment in a folder, made now unless it is there; by one process at a time.

    It is made in its place, for its files name that; until it is whole nobody takes it for one. ``fill`` gets the place
    and the lock's descriptor, for its processes to have, too: one that outlives a killed maker still writes there.
    """
    if is_ready(place, made_from):
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.with_name(f"{place.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # which ends with the processes that have it, however they end
        if is_ready(place, made_from):
            return
        remove(place)
        fill(place, lock.fileno())
        (place / READY).write_text(made_from)


def remove(place: Path) -> None:
    """Remove a folder, or the link in its place, if there is one."""
    if place.is_symlink():
        place.unlink()
    else:
        shutil.rmtree(place, ignore_errors=True)


def point(link: Path, target: Path) -> None:
    """Have a link to a folder, in place of what else is there."""
    if link.is_symlink() and link.readlink() == target:
        return
    link.parent.mkdir(parents=True, exist_ok=True)
    work = link.with_name(f"{link.name}.{os.getpid()}.tmp")
    work.symlink_to(target)
    if not link.is_symlink():
        remove(link)
    work.replace(link)


def system(face: Path) -> Path:
    """Return the folder to import the package `sluice` from: a copy of what is installed, without what is beside it.

    Nothing is written into what a user has installed, and an upgrade there does not change what runs.
    """
    place = folder() / "systems" / digest(_contents(face))
    if place.is_dir():
        return place
    place.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(dir=place.parent, prefix="part-"))
    try:
        shutil.copytree(face, work / "sluice", ignore=shutil.ignore_patterns("__pycache__"))
        work.chmod(0o755)
        work.rename(place)
    except OSError:
        if not place.is_dir():  # nor has another made it meanwhile
            raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return place


def _contents(face: Path) -> bytes:
    """Digest every file of an installed Sluice."""
    found = hashlib.sha256()
    for place, folders, names in os.walk(face):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        for name in sorted(names):
            path = Path(place) / name
            found.update(f"{path.relative_to(face)}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return found.digest()
