"""Write units of DynamoDB for each phase of a run, of this version or of an older one beside it.

    python -m benchmarks.write_meter [--json] [--tree FOLDER]

FOLDER is the checkout of another version (`git worktree add FOLDER dd766a9`); rules and runs are this version's.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FILES = ("write_units.py", "write_phases.py")
LABELS = {
    "submit": "submit",
    "claim": "claim",
    "heartbeat": "heartbeat",
    "recorded_call": "recorded model call, streamed, nobody watching",
    "recorded_call_unstreamed": "recorded model call, unstreamed",
    "text_batch_watched": "each batch of text that somebody watches (at most five a second)",
    "settle": "a last call and the run's end",
    "run": "run of one call, from submit to end",
    "run_recorded_call": "the same, its call recorded before the end",
}


def measure(tree: Path = ROOT) -> dict[str, int]:
    """Return the phases of the version in a folder.

    Raises:
        subprocess.CalledProcessError: they could not be measured; what was printed tells why.
    """
    with tempfile.TemporaryDirectory() as folder:
        for name in FILES:
            shutil.copy(ROOT / "benchmarks" / name, folder)
        told = Path(folder) / "phases.json"
        options = ["-c", str(tree / "pyproject.toml"), "--rootdir", str(tree), "--import-mode=importlib"]
        subprocess.run(
            [sys.executable, "-m", "pytest", *options, str(Path(folder) / FILES[1])],
            cwd=tree,
            env={**os.environ, "PYTHONPATH": f"{tree}{os.pathsep}{folder}", "WRITE_PHASES": str(told)},
            stdout=sys.stderr,
            check=True,
        )
        found: dict[str, int] = json.loads(told.read_text())
        return found


def figures(found: dict[str, int]) -> dict[str, object]:
    """Return what comparisons ask for, with the phases."""
    return {
        "write_units_per_call": found["recorded_call"],
        "write_units_per_run": found["run"],
        "write_units_per_heartbeat": found["heartbeat"],
        "phases": found,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print figures for other programs")
    parser.add_argument("--tree", type=Path, default=ROOT, help="the checkout of another version")
    given = parser.parse_args()
    found = measure(given.tree.resolve())
    if given.json:
        print(json.dumps(figures(found), indent=2))
        return
    for name, label in LABELS.items():
        print(f"{found[name]:4}  {label}")


if __name__ == "__main__":
    main()
