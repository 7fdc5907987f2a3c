"""The test world of a project's agents; see `sluice.testing.plugin`, which pytest finds by itself."""
