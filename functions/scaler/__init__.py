"""The scaler: every minute, from backlog to worker concurrency."""
