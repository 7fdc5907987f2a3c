"""Ends a local system when the process that wanted it is gone, however that ended: tests and benchmarks use it.

``python -m localstack.guard STATE`` waits for the end of its standard input, whose other end the caller holds: the
kernel closes that, even after a SIGKILL.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localstack.system import System


@contextlib.contextmanager
def guarded(state: Path) -> Iterator[System]:
    """Yield a system that is ended afterwards, or when this process dies."""
    from deploy.paths import IMPORTED_FROM
    from localstack.system import System

    command = [sys.executable, "-m", f"{__package__}.guard", str(state)]
    with subprocess.Popen(
        command, cwd=IMPORTED_FROM, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True
    ):
        system = System(state)
        try:
            yield system
        finally:
            system.down()


def main() -> None:
    """Wait, then end what runs."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.stdin.read()
    state = Path(sys.argv[1])
    if any((state / "pids").glob("*")):  # else it was ended, and what would end it takes half a second to load
        from localstack.system import System

        System(state).down()


if __name__ == "__main__":
    main()
