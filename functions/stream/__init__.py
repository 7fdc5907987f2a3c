"""The WebSocket API: connect with a ticket, subscribe to tasks, be told their events."""
