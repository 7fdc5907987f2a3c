"""Checkouts of this repository with environments of their own, and a process that measures inside each."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.against.probe import MARK

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent.parent
PROBE = Path(__file__).with_name("probe.py")
FOREIGN = ("PYTHONPATH", "VIRTUAL_ENV", "SLUICE_STATE", "AWS_PORT", "REDIS_PORT", "LLM_PORT", "STREAM_PORT")
"""Variables that would lead one checkout to another's files or ports."""


class ProbeError(Exception):
    """A measurement failed; the message is the probe's."""


@contextlib.contextmanager
def checkout(commit: str) -> Iterator[Path]:
    """Check a commit out into a temporary folder, with its own environments made by its own ``make setup``.

    Raises:
        subprocess.CalledProcessError: the commit is unknown here, or its environments could not be made.
    """
    with tempfile.TemporaryDirectory(prefix="sluice-before-") as folder:
        tree = Path(folder) / "tree"
        subprocess.run(["git", "worktree", "add", "--detach", "--quiet", str(tree), commit], cwd=ROOT, check=True)
        try:
            subprocess.run(["make", "setup"], cwd=tree, env=_environment(), check=True, stdout=sys.stderr)
            yield tree
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(tree)], cwd=ROOT, check=True)


def _environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in FOREIGN and not name.startswith("MAKE")}
    return kept | more


class Probe:
    """A process inside a checkout that measures it."""

    def __init__(self, tree: Path) -> None:
        """Start it; the local system follows with the first measurement that needs one."""
        self.tree = tree
        self._process = subprocess.Popen(
            [str(tree / ".venv" / "bin" / "python"), str(PROBE)],
            cwd=tree,
            env=_environment(PYTHONPATH=str(tree), STRICT="false"),  # no front: the build before has none
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, *command: Any) -> Any:
        """Have something measured.

        Raises:
            ProbeError: it failed, or the process is gone.
        """
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            if line.startswith(MARK):
                answer = json.loads(line.removeprefix(MARK))
                if isinstance(answer, dict) and "error" in answer:
                    raise ProbeError(f"{command}: {answer['error']}")
                return answer
            print(line, end="", file=sys.stderr)
        raise ProbeError(f"{command}: the process ended with {self._process.wait()}")

    def close(self) -> None:
        """End it, and its local system with it."""
        assert self._process.stdin
        self._process.stdin.close()
        try:
            self._process.wait(timeout=90)
        except subprocess.TimeoutExpired:
            self._process.terminate()
            self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()
