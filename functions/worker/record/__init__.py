"""What a run leaves behind: steps, events, costs, each written while its lease holds."""
