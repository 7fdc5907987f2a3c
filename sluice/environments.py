"""Environments that several projects, or several checkouts of Sluice, share: made once for the same pins.

``python -m sluice.environments FOLDER PINS`` has one in a folder of Sluice's own tree; its Makefile asks for that.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sluice import cache, python

Say = Callable[[str], Any]

PARTS = ("bin", "include", "lib", "lib64", "pyvenv.cfg")
"""What an environment is of; another folder has the same packages if these lead to it."""


class ProjectError(Exception):
    """Something that the person at the keyboard can mend; the message says how."""


def shared(name: str, pins: Path, say: Say) -> Path:
    """Return the environment of these pins, made now unless it is there.

    Raises:
        ProjectError: a package, or Python itself, is not to be had; with uv's words.
    """
    made_from = _digest(pins)
    place = cache.folder() / "environments" / f"{name}-{made_from}"
    _make(place, made_from, pins, [], say, name)
    return place


def own(folder: Path, pins: Path, more: list[str], say: Say) -> None:
    """Have an environment that nobody shares: what is pinned, and ``more``, arguments of ``uv pip install``.

    Raises:
        ProjectError: a package, or Python itself, is not to be had; with uv's words.
    """
    named = [Path(one).read_bytes() for one in more if Path(one).is_file()]
    if folder.is_symlink():
        folder.unlink()
    _make(folder, _digest(pins, "\0".join(more).encode(), *named), pins, more, say, folder.name)


def _digest(pins: Path, *more: bytes) -> str:
    return cache.digest(pins.read_bytes(), Path(__file__).read_bytes(), *more)


def _make(place: Path, made_from: str, pins: Path, more: list[str], say: Say, name: str) -> None:
    def fill(place: Path, lock: int) -> None:
        say(f"setting up: {name}")
        _uv("venv", "--python", python.find(), str(place), lock=lock)
        into = ["--python", str(place / "bin" / "python")]
        _uv("pip", "install", *into, "--require-hashes", "-r", str(pins), lock=lock)
        if more:
            _uv("pip", "install", *into, "--constraint", str(pins), *more, lock=lock)

    cache.make(place, made_from, fill)


def lead(folder: Path, place: Path) -> None:
    """Have a folder whose parts lead to an environment's. Unlike a link in its place, it may hold files of its own."""
    if not folder.is_dir() or folder.is_symlink() or (folder / "bin").resolve() != (place / "bin").resolve():
        cache.remove(folder)
        folder.mkdir(parents=True)
    for part in PARTS:
        if (place / part).exists():
            cache.point(folder / part, place / part)


def _uv(*arguments: str, lock: int) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "UV_PYTHON")}
    command = [uv(), *arguments[:1], "--quiet", *arguments[1:]]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, pass_fds=(lock,))
    if done.returncode:
        raise ProjectError(f"uv {' '.join(arguments[:2])} failed:\n{done.stderr.strip()}")


def uv() -> str:
    """Return the path of uv: the one that was installed with Sluice, else the machine's.

    Raises:
        ProjectError: there is none.
    """
    beside = Path(sys.executable).parent / "uv"
    if beside.exists():
        return str(beside)
    try:
        from uv import find_uv_bin

        return str(find_uv_bin())
    except (ImportError, FileNotFoundError):
        found = os.environ.get("UV") or shutil.which("uv")
    if not found:
        raise ProjectError("uv is not there: `pip install uv`")
    return found


if __name__ == "__main__":
    try:
        lead(Path(sys.argv[1]), shared(Path(sys.argv[1]).name.lstrip("."), Path(sys.argv[2]), print))
    except ProjectError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        sys.exit(f"error: {error}; {cache.VARIABLE} names another folder for what checkouts share")
