"""Environments of one bundle share its files: it is unpacked once, and each environment's folder is a link to that.

MiniStack unpacks it for each and keeps the archive beside it, in memory: a hundred megabytes for an environment of the
API, and 0.3 s of a processor. To link each of the worker's 7,000 files, and to remove the links, would take 0.1 s. A
function may not write into its bundle (on Lambda it cannot), so nothing is lost by that.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import threading
import zipfile
from collections import defaultdict
from pathlib import Path
from typing import Any

KEPT = 12
"""Bundles that are kept unpacked, beside those that an environment still has."""


def share(runtime: Any) -> None:
    """Have MiniStack's module for environments, ``runtime``, unpack through `Bundles`.

    Raises:
        RuntimeError: it is of a version that this code does not know.
    """
    if getattr(runtime, "zipfile", None) is not zipfile:
        raise RuntimeError("this MiniStack unpacks bundles otherwise: the strict front does not fit it")
    runtime.zipfile = Bundles(Path(tempfile.gettempdir()) / "bundles")


class Bundles:
    """Stands for the module `zipfile`."""

    def __init__(self, folder: Path) -> None:
        """Keep what is unpacked below ``folder``."""
        self._folder = folder
        self._lock = threading.Lock()
        self._links: defaultdict[Path, list[Path]] = defaultdict(list)
        bundles = self

        class Archive(zipfile.ZipFile):
            def extractall(self, path: Any = None, members: Any = None, pwd: bytes | None = None) -> None:
                if path is None or members is not None or pwd is not None or self.filename is None:
                    super().extractall(path, members, pwd)
                else:
                    bundles.unpack(Path(self.filename), Path(path), self.contents())

            def contents(self) -> str:
                """Return a name for what is in it: its directory has a checksum of each file."""
                file: Any = self.fp
                file.seek(self.start_dir)
                return hashlib.sha256(file.read()).hexdigest()

        self.ZipFile = Archive

    def __getattr__(self, name: str) -> Any:
        """Return what else the module has."""
        return getattr(zipfile, name)

    def unpack(self, archive: Path, target: Path, contents: str) -> None:
        """Put a link to an archive's files in the place of the empty folder ``target``, and remove the archive.

        What has the same ``contents`` is unpacked once. That is no digest of it all, which took longer than the rest.
        """
        with self._lock:
            whole = self._folder / contents
            if whole.is_dir():
                os.utime(whole)
            else:
                self._add(archive, whole)
            target.rmdir()
            target.symlink_to(whole)
            self._links[whole].append(target)
        archive.unlink()  # it would stay in memory, too, as long as the environment lives

    def _add(self, archive: Path, whole: Path) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        for old in sorted(self._folder.iterdir(), key=lambda one: one.stat().st_mtime)[: 1 - KEPT]:
            if not any(link.is_symlink() for link in self._links[old]):  # an environment's ends with it
                shutil.rmtree(old)
                del self._links[old]
        part = whole.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        with zipfile.ZipFile(archive) as opened:
            opened.extractall(part)
        part.rename(whole)
