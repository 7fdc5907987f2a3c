"""What the built-in agents may call."""
