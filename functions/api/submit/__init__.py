"""The way in: from what a client wants run to a task that is written and sent."""
