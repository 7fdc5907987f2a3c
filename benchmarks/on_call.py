"""Ten stories of being on call, told to the dashboard in a browser: clicks and seconds to the cause and to the remedy.

    python -m benchmarks.on_call

Starts a system of its own, brings each fault about in it, and does what an operator does
(`tests/e2e/test_ten_stories.py`; needs a Chromium). Seconds are those of the browser and the system, plus so much for
each page that is read (`tests.e2e.on_call.READ_SECONDS`). Fails when a cause or a remedy takes more than a minute.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.e2e.on_call import READ_SECONDS, RESULTS

ROOT = Path(__file__).resolve().parents[1]
STORIES = "tests/e2e/test_ten_stories.py"
MOST_SECONDS = 60.0
KEPT = ROOT / "benchmarks" / "results" / "on_call.json"


def line(row: dict[str, Any]) -> str:
    """Return a story as a row of a table."""
    cause, remedy = row["cause"], row["remedy"]
    cells = [row["number"], row["told"]]
    cells += [text for part in (cause, remedy) for text in (part["clicks"], f"{part['seconds']:.0f}")]
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def main() -> None:
    """Tell the stories, print the table and judge it."""
    RESULTS.unlink(missing_ok=True)
    environment = os.environ | {"SLUICE_REQUIRE_BROWSER": "1"}
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", STORIES], cwd=ROOT, env=environment, check=False)
    rows: list[dict[str, Any]] = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    print("| # | what you are told | clicks to the cause | seconds | clicks to the remedy | seconds |")
    print("|---|---|---|---|---|---|")
    for row in rows:
        print(line(row))
    if done.returncode:
        raise SystemExit(done.returncode)
    KEPT.write_text(json.dumps({"read_seconds": READ_SECONDS, "stories": rows}, indent=2) + "\n")
    slow = [
        (row["number"], name) for row in rows for name in ("cause", "remedy") if row[name]["seconds"] > MOST_SECONDS
    ]
    if slow:
        raise SystemExit(f"over {MOST_SECONDS:.0f} s: {slow}")


if __name__ == "__main__":
    main()
