"""At which parts of a day's ceiling somebody is told (`shared.alerts`)."""

THRESHOLDS = (50, 80, 100)
"""Percent."""
