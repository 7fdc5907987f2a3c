"""The local system's log for people: followed from now on, a line a record, a traceback as a traceback.

The functions write JSON, one object a line (`shared.logs`). The local AWS mixes lines of its own in, which say what
it does and not what Sluice does.
"""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
STYLES = {"DEBUG": "dim", "INFO": "cyan", "WARNING": "yellow", "ERROR": "bold red", "CRITICAL": "bold red"}
LOOK_SECONDS = 0.3
"""How often files are looked at for more."""
FIELD_CHARACTERS = 300
"""Longest value of a field in one line; `--json` has all of it."""
_HEAD = frozenset({"timestamp", "level", "message", "logger", "exception"})
_OF_AWS = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:,\d+)? (?:DEBUG|INFO) |(?:START|END|REPORT|INIT_START) ")
"""Lines of the local AWS, and of Lambda, about themselves."""


class Reader:
    """Turns lines into what is shown; None: nothing."""

    def __init__(self, *, run: str | None = None, level: str = "INFO", raw: bool = False) -> None:
        """Show records of a level and above, of one run only if its id is given; ``raw``: as they were written."""
        self._run = run
        self._least = LEVELS.index(level)
        self._raw = raw

    def show(self, line: str) -> str | Text | None:
        """Return what is to be shown of a line."""
        line = line.rstrip("\r\n")
        found = _record(line)
        if found is None:
            return None if self._run or self._raw or not line.strip() or _OF_AWS.match(line) else Text(line)
        if self._run is not None and not _mentions(found, self._run):
            return None
        level = str(found.get("level", "DEBUG"))  # metrics alone have none
        if (LEVELS.index(level) if level in LEVELS else len(LEVELS)) < self._least:
            return None
        return line if self._raw else _pretty(found, level, whose=self._run is None)


def _record(line: str) -> dict[str, Any] | None:
    """Read a record; some stand behind a word of the local AWS."""
    start = line.find("{")
    if start < 0:
        return None
    try:
        found = json.loads(line[start:])
    except ValueError:
        return None
    known = isinstance(found, dict) and ("message" in found or "_aws" in found)
    return found if known else None


def _mentions(found: dict[str, Any], run: str) -> bool:
    return found.get("task_id") == run or any(isinstance(value, str) and run in value for value in found.values())


def _pretty(found: dict[str, Any], level: str, *, whose: bool) -> Text:
    at = str(found.get("timestamp", ""))[11:23]
    made = Text.assemble(
        (f"{at:12} ", "dim"), (f"{level:7} ", STYLES.get(level, "")), (str(found.get("message", "metrics")), "bold")
    )
    made.append(f"  {str(found.get('logger', '')).removeprefix('sluice.')}", "dim")
    directive = found.get("_aws")
    metrics = set() if not isinstance(directive, dict) else {"_aws"}
    for name, value in found.items():
        if name in _HEAD or name in metrics or value is None or (name == "task_id" and not whose):
            continue
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        cut = text if len(text) <= FIELD_CHARACTERS else text[:FIELD_CHARACTERS] + "…"
        made.append(f"  {name}=", "dim")
        made.append(cut.replace("\n", " "))
    if exception := found.get("exception"):
        for line in str(exception).splitlines():
            made.append(f"\n    {line}", "red" if line[:1].strip() and not line.startswith("Traceback") else "")
    return made


def follow(files: Iterable[Path], *, from_start: bool, stop: Callable[[], bool] = lambda: False) -> Iterator[str]:
    """Yield the lines of files: those that come from now on, or with ``from_start`` those that are there, too.

    A file that is cut or made anew, as a new start of the system does, is read from its beginning.
    """
    places: dict[Path, tuple[int, int]] = {}
    halves: dict[Path, bytes] = {}
    for file in (known := list(files)):
        if file.exists() and not from_start:
            found = file.stat()
            places[file] = found.st_ino, found.st_size
    while True:
        came = False
        for file in known:
            if not file.exists():
                continue
            found = file.stat()
            inode, offset = places.get(file, (found.st_ino, 0))
            if inode != found.st_ino or found.st_size < offset:
                offset = 0
                halves.pop(file, None)
            with file.open("rb") as opened:
                opened.seek(offset)
                data = opened.read()
            places[file] = found.st_ino, offset + len(data)
            *whole, halves[file] = (halves.get(file, b"") + data).split(b"\n")
            for line in whole:
                came = True
                yield line.decode(errors="replace")
        if stop():
            return
        if not came:
            time.sleep(LOOK_SECONDS)


def print_lines(lines: Iterable[str], reader: Reader, console: Console) -> None:
    """Print what a reader shows of lines, until they end or somebody interrupts."""
    try:
        for line in lines:
            shown = reader.show(line)
            if isinstance(shown, Text):
                console.print(shown, soft_wrap=True, highlight=False)
            elif shown is not None:
                console.out(shown, highlight=False)
    except KeyboardInterrupt:
        return
