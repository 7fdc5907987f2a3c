"""Everything that exists only for local runs of Sluice."""
