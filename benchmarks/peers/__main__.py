"""Queues runs from a peer's own environment: ``python -m benchmarks.peers celery 1000 KEY``."""

from __future__ import annotations

import sys
from importlib import import_module


def main() -> None:
    """Read the command line and queue."""
    peer, number, key = sys.argv[1:4]
    import_module(f"benchmarks.peers.{peer}_app").submit([f"[[sim key={key}]] {n}" for n in range(int(number))])


if __name__ == "__main__":
    main()
