"""The Lambda that one would write first, as the peer of `benchmarks.gb_seconds`."""
