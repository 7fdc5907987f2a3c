"""What a story of being on call takes: its clicks and seconds, to the cause and to the remedy.

Clicks are clicks, choices and fields filled in, from the signed-in page. Seconds are those of the browser and of the
system, plus ``READ_SECONDS`` for each page that is read: that is longer than it takes to find a coloured line.
"""

from __future__ import annotations

import fcntl
import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Locator

READ_SECONDS = 5.0
"""What a page that is read counts as."""
COMMAND_CLICKS = 1
"""What a command that is typed counts as."""
RESULTS = Path(__file__).resolve().parents[2] / ".artifacts" / "on-call.json"
"""Where the figures are kept; git ignores it."""


@dataclass
class Part:
    """From what is told to the cause, or from there to the remedy."""

    clicks: int = 0
    reads: int = 0
    machine_s: float = 0.0

    @property
    def seconds(self) -> float:
        """All that it took."""
        return self.machine_s + self.reads * READ_SECONDS


@dataclass
class Story:
    """One story, while it is told."""

    number: int
    told: str
    cause: Part = field(default_factory=Part)
    remedy: Part = field(default_factory=Part)
    _began: float = field(default_factory=time.monotonic)
    _found: bool = False

    @property
    def _part(self) -> Part:
        return self.remedy if self._found else self.cause

    def begins(self) -> None:
        """Start the clock: somebody is told."""
        self._began = time.monotonic()

    def click(self, place: Locator) -> None:
        """Click."""
        self._part.clicks += 1
        place.click()

    def fill(self, place: Locator, text: str) -> None:
        """Fill a field in."""
        self._part.clicks += 1
        place.fill(text)

    def choose(self, place: Locator, what: str) -> None:
        """Choose from a list."""
        self._part.clicks += 1
        place.select_option(what)

    def command(self) -> None:
        """Count a command that is typed."""
        self._part.clicks += COMMAND_CLICKS

    def reads(self) -> None:
        """Count a page that is read."""
        self._part.reads += 1

    def finds(self) -> None:
        """The cause is seen."""
        self._ends()
        self._found = True

    def ends(self) -> None:
        """The remedy has been seen to work; its figures are kept."""
        self._ends()
        row = {"number": self.number, "told": self.told} | {
            name: asdict(part) | {"seconds": round(part.seconds, 1)}
            for name, part in (("cause", self.cause), ("remedy", self.remedy))
        }
        RESULTS.parent.mkdir(parents=True, exist_ok=True)
        with RESULTS.open("a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # another story may end at the same time, in another process
            file.seek(0)
            rows = {one["number"]: one for one in json.loads(file.read() or "[]")} | {self.number: row}
            file.truncate(0)
            file.write(json.dumps([rows[number] for number in sorted(rows)], indent=2) + "\n")

    def _ends(self) -> None:
        at = time.monotonic()
        self._part.machine_s = round(at - self._began, 2)
        self._began = at
