"""What operators see of the whole system: its state, its dependencies, what it costs."""
