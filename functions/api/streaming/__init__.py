"""The API behind a streaming address: a runtime loop of our own that sends answers as they are written."""
