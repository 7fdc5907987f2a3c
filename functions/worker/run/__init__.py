"""One run's life: claimed, its agent's code under way, and how it ends."""
