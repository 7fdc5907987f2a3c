"""Repairs, every minute, what deaths and outages left half done."""
