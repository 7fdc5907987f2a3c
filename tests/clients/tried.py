"""What each try of a client has in common: where the local system is, what the model is told, and the table's line.

The model is the simulator, which is told by directives what to do.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

STATE = Path(os.environ.get("SLUICE_STATE", ".local"))
OUTPUTS: dict[str, Any] = json.loads((STATE / "outputs.json").read_text())
BASE, KEY, MODEL = OUTPUTS["openai_base_url"], OUTPUTS["api_keys"]["load"], "gpt-4o-mini"
HELLO = "[[sim words=4]] hello"
LONG = "[[sim words=40 latency=2]] hello"
SLOW = "[[sim latency=40 words=3]] hello"
TOOL = '[[sim tool=lookup args={"word":"sky"}]] look it up'
LIVE = '[[sim tool=lookup parallel=2 ttft=0.2 latency=3 args={"word":"one two three four five six seven eight"}]] look'
"""Two calls whose arguments are written slowly."""
STRUCTURED = '[[sim say="{\\"number\\":7}"]] which number?'
SECRET = "forty-two"
"""What the tool says. The simulator repeats it: whoever says it has been through the loop."""

type Tries = dict[str, Callable[[], Any]]


def tried(package: str, words: str, tries: Tries) -> int:
    """Make a client's tries and print a line of each; returns how many failed."""
    failed = 0
    name = f"{package} {version(package)}{words and ', '}{words}"
    for what, attempt in tries.items():
        began = time.monotonic()
        try:
            answer = str(attempt())
            good = _good(what, answer)
            told = "works" if good else f"WRONG {answer[:60]!r}"
        except Exception as error:
            good, told = False, f"FAILS {type(error).__name__}: {str(error)[:160]}"
            if "-v" in sys.argv:
                traceback.print_exc()
        failed += not good
        print(f"{name:32} {what:11} {told} ({time.monotonic() - began:.1f} s)", flush=True)
    return failed


def are_pieces(count: int) -> None:
    """Check that a call's arguments came while they were written.

    Raises:
        AssertionError: they came in one piece, or nearly.
    """
    assert count > 3, f"arguments in {count} pieces"


def _good(what: str, answer: str) -> bool:
    if what in ("tools", "live calls"):
        return SECRET in answer
    return "7" in answer if what == "structured" else bool(answer.strip())
