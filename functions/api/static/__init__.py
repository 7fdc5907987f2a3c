"""What the dashboard is made of: its files, and how its modules become two scripts."""
