"""Arranges the tests' account: the table, its indexes and the lanes, as in template.yaml."""

from sluice.testing.account import TABLE, client, make_lanes, make_table

__all__ = ["TABLE", "client", "make_lanes", "make_table"]
