"""Everything that exists only for local runs. ``python -m localstack up`` starts the whole system on this machine."""
