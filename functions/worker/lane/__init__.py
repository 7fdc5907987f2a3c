"""From a lane's messages to runs that have a slot: one invocation's batch, and what refills it."""
