"""A neighbour that is as busy as the emulator, for a peer to run beside: ``python -m benchmarks.peers.neighbour 0.45``.

Processors share caches, and often the core itself: the same work takes more processor time beside busy neighbours.
Sluice has MiniStack beside it, the peers nobody; this shows what that alone makes of a peer's figure.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SLICE_SECONDS = 0.02
ITEM = {f"attribute-{n}": {"S": "x" * 40} for n in range(40)}
"""What an emulator of DynamoDB is busy with: items into JSON and out of it."""


def work(share: float) -> None:
    """Keep one processor busy for that share of the time, until the process is ended."""
    while True:
        began = time.monotonic()
        while time.monotonic() - began < SLICE_SECONDS * share:
            json.loads(json.dumps(ITEM))
        time.sleep(SLICE_SECONDS * (1 - share))


@contextmanager
def busy(share: float) -> Iterator[None]:
    """Have such a neighbour for a while."""
    process = subprocess.Popen([sys.executable, "-m", __name__, str(share)])
    try:
        yield
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    work(float(sys.argv[1]))
