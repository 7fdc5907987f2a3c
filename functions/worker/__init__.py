"""Runs agents. Reading order: handler, batch, runner, context, model_step, eventlog, heartbeat."""
