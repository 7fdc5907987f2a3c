"""Runs a check unless it was content with the same files before: ``python -m deploy.unchanged FILE… -- COMMAND…``.

For a check that looks at nothing but these files and its own program, and says nothing when it is content. Its pins are
one of the files. Another checkout of the user need not hold the same template against every region again.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

from sluice import cache


def mark(files: list[str], command: list[str]) -> Path:
    """Return the file that is there if a command was content with these files as they are.

    The interpreter that runs it counts by its version, not by its place: each checkout has a name of its own for it.
    """
    names = [one.encode() for one in (sys.version, *files, "--", *command)]
    contents = [Path(one).read_bytes() if Path(one).exists() else b"" for one in files]
    lengths = [str(len(one)).encode() for one in contents]
    return cache.folder() / "checks" / cache.digest(*names, *lengths, *contents)


def main(arguments: list[str]) -> int:
    """Run the command, or do not; returns its exit status."""
    end = arguments.index("--")
    files, command = arguments[:end], arguments[end + 1 :]
    content = mark(files, command)
    if content.exists():
        return 0
    status = subprocess.call(command)
    if status == 0 and mark(files, command) == content:  # else it may have looked at what was written meanwhile
        with contextlib.suppress(OSError):  # a cache that cannot be written costs the next one its time
            content.parent.mkdir(parents=True, exist_ok=True)
            content.touch()
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
