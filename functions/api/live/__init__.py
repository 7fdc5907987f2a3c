"""A run's events as they happen: one ear for an environment, one stream for each that listens."""
