"""What the fault campaign inflicts, and how it is judged."""
