"""What goes over the wire by promise: request bodies with their limits, and problems with their codes."""
