"""Processes that never outlive the one that began them, however that ends: by an error, ctrl-C, or a kill."""

from __future__ import annotations

import subprocess
from typing import Any

# A watcher reads from a pipe whose other end the beginner alone holds; the kernel closes that when it dies. The shell
# then becomes the program itself, so that `Popen` knows the program's own number.
_WITH_A_WATCHER = """
exec 3<&0
(read -r _; kill -9 $$) <&3 >/dev/null 2>&1 &
exec 3<&-
exec "$@" </dev/null
"""


def begin(command: list[str], **more: Any) -> subprocess.Popen[str]:
    """Start a program; ``more`` is what ``Popen`` takes. Ctrl-C does not reach it: whoever began it ends it."""
    return subprocess.Popen(
        ["/bin/sh", "-c", _WITH_A_WATCHER, "sh", *command],
        stdin=subprocess.PIPE, text=True, start_new_session=True, **more,
    )  # fmt: skip


def end(process: subprocess.Popen[str]) -> None:
    """Have its watcher kill it, since it might wait for what hangs on purpose, and return when it is gone."""
    for end_of_pipe in (process.stdin, process.stdout):
        if end_of_pipe is not None:
            end_of_pipe.close()
    process.wait()
