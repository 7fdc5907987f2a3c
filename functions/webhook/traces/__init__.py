"""An ended run as a trace: built from what is recorded of it, and sent to the operator's collector."""
