"""Bytecode of what bundles hold: compiled once, though eight bundles and each next version hold the same files.

It is trusted without a look at the source (unchecked hashes), for quicker cold starts. The path that is compiled into
it does not matter: Python puts the one it was loaded from in its place.
"""

import contextlib
import hashlib
import importlib.util
import os
import py_compile
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from deploy import paths

KEPT = paths.CACHE / "bytecode"
"""Compiled files by their place in the bundle and what they were made from."""
OLDER_SECONDS = 86_400.0
"""How old what was made from another text must be to go: another checkout, with its own version, may be at work."""


def compile_own(folder: Path, artifacts: Path) -> None:
    """Put the bytecode of all of Sluice's files below a folder of a bundle beside them.

    Raises:
        py_compile.PyCompileError: a file is no Python.
    """
    compile_files(sorted(folder.rglob("*.py")), artifacts, strict=True)


def compile_files(files: Iterable[Path], artifacts: Path, *, strict: bool = False) -> None:
    """Put the bytecode of files of a bundle beside them, from what is kept where that is the same.

    Raises:
        py_compile.PyCompileError: a file is no Python, and it is to be (``strict``): packages hold templates, too.
    """
    for source in files:
        kept, target = _kept(source, source.relative_to(artifacts)), _beside(source)
        target.parent.mkdir(exist_ok=True)
        target.unlink(missing_ok=True)
        try:
            os.link(kept, target)  # nothing that stands in a bundle is written into
            continue
        except OSError:
            pass  # it is not there yet, or on another file system
        try:
            target.write_bytes(bytecode(source, kept))
        except py_compile.PyCompileError:
            if strict:
                raise


def _kept(source: Path, place: Path) -> Path:
    """Return where a file's bytecode is kept; ``place`` is its path in the bundle."""
    made_from = hashlib.sha256(sys.version.encode() + b"\0" + source.read_bytes()).hexdigest()[:32]
    return KEPT / place.with_suffix("") / f"{made_from}.pyc"


def bytecode(source: Path, kept: Path) -> bytes:
    """Return a file's bytecode, from where it is kept or made now and kept there.

    Raises:
        py_compile.PyCompileError: it is no Python.
    """
    with contextlib.suppress(FileNotFoundError):
        return kept.read_bytes()
    for older in kept.parent.glob("*.pyc"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - older.stat().st_mtime > OLDER_SECONDS:
                older.unlink()
    kept.parent.mkdir(parents=True, exist_ok=True)
    work = kept.with_suffix(f".{os.getpid()}.tmp")  # bundles are built in parallel
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    py_compile.compile(str(source), str(work), doraise=True, invalidation_mode=mode)
    made = work.read_bytes()
    try:
        os.link(work, kept)
    except FileExistsError:  # the first that was made is everybody's: this one names another path
        with contextlib.suppress(FileNotFoundError):  # and the file was edited since
            made = kept.read_bytes()
    except OSError:  # a file system without links
        work.replace(kept)
    work.unlink(missing_ok=True)
    return made


def _beside(source: Path) -> Path:
    """Return where Python looks for a file's bytecode, wherever ``PYTHONPYCACHEPREFIX`` puts this process' own."""
    prefix, sys.pycache_prefix = sys.pycache_prefix, None
    try:
        return Path(importlib.util.cache_from_source(str(source)))
    finally:
        sys.pycache_prefix = prefix
