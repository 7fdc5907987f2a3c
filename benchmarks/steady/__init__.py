"""Parts of the soak: memory by part, and steady load."""
