"""This build beside an older one: what each measures in itself, and how both are put together."""
