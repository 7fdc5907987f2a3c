"""What pytest makes of test files, kept in the user's cache: the next checkout has not to make it anew.

Pytest puts the bytecode of each file that it has rewritten beside the file, so a fresh clone rewrites all of them: a
tenth of a processor's minute. What it makes depends on the file's bytes, on its own version and Python's, and on the
path, which is put into it here.
"""

from __future__ import annotations

import contextlib
import importlib.util
import marshal
import os
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import CodeType

import pytest
from _pytest.assertion import rewrite

from sluice import cache as shared

OLDER_SECONDS = 7 * 86_400.0
"""How old what is kept becomes; a checkout that wants it after that makes it once more."""

Make = Callable[[Path, pytest.Config], tuple[bytes, CodeType]]


def place(source: bytes, config: pytest.Config) -> Path:
    """Return where the code of a file with these bytes is kept."""
    told = str(config.getini("enable_assertion_pass_hook"))  # the one setting that it depends on
    made_by = f"{pytest.__version__} {sys.version} {told}".encode()
    return shared.folder() / "rewritten" / shared.digest(made_by, str(len(source)).encode(), source)


def at(code: CodeType, path: str) -> CodeType:
    """Return code as if it had been compiled at a path."""
    parts = tuple(at(part, path) if isinstance(part, CodeType) else part for part in code.co_consts)
    return code.replace(co_filename=path, co_consts=parts)


def keep(code: CodeType, kept: Path) -> None:
    """Keep code for other checkouts, or do not: the cache cannot be written."""
    work = kept.with_name(f"{kept.name}.{os.getpid()}.tmp")
    with contextlib.suppress(OSError):
        kept.parent.mkdir(parents=True, exist_ok=True)
        _forget_what_is_old(kept.parent)
        work.write_bytes(marshal.dumps(code))
        work.replace(kept)


@cache
def _forget_what_is_old(folder: Path) -> None:
    for older in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):
            if time.time() - older.stat().st_mtime > OLDER_SECONDS:
                older.unlink()


def rewriting(make: Make) -> Make:
    """Return what does pytest's work from what is kept, and else has ``make`` do it."""

    def rewrite_test(fn: Path, config: pytest.Config) -> tuple[bytes, CodeType]:
        source = fn.read_bytes()
        kept = place(source, config)
        with contextlib.suppress(OSError, ValueError, EOFError, TypeError):
            code = marshal.loads(kept.read_bytes())
            if isinstance(code, CodeType):
                return importlib.util.source_hash(source), at(code, str(fn))
        of, made = make(fn, config)
        if of == importlib.util.source_hash(source):  # else it was edited meanwhile
            keep(made, kept)
        return of, made

    return rewrite_test


def install() -> None:
    """Have pytest do so from now on."""
    rewrite._rewrite_test = rewriting(rewrite._rewrite_test)
