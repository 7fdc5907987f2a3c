"""What an entry of the table of limits is."""

from __future__ import annotations

from dataclasses import dataclass

CHECKED = "2026-11-29"
"""Day of which the figures are."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One limit. ``by`` says who enforces it: locally the ``front``, or ``MiniStack`` itself; or the test."""

    name: str
    service: str
    limit: str
    source: str
    where: str
    test: str
    most: float = 0
    by: str = "front"
    checked: str = CHECKED
